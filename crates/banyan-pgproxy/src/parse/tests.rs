//! Statements in, facts out.

use super::{Doubt, Grammar as _, Name, PostgresGrammar};

fn describe(sql: &str) -> String {
    let statements = match PostgresGrammar.parse(sql) {
        Ok(statements) => statements,
        Err(doubt) => return doubt.to_string(),
    };
    let join = |names: &[Name]| {
        let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
        names.sort();
        names.join(" ")
    };
    let mut lines = Vec::new();
    for facts in statements {
        let mut line = format!("{:?}", facts.kind);
        for (label, names) in [
            ("reads", join(&facts.reads)),
            ("writes", join(&facts.writes)),
            ("calls", join(&facts.functions)),
            ("operators", join(&facts.operators)),
            ("with", facts.with.join(" ")),
            ("attributes", facts.attributes.join(" ")),
        ] {
            if !names.is_empty() {
                line += &format!("; {label} {names}");
            }
        }
        for (label, set) in [("locks", facts.locks), ("into", facts.into)] {
            if set {
                line += &format!("; {label}");
            }
        }
        if let Some(doubt) = facts.doubt {
            line += &format!("; doubt: {doubt}");
        }
        lines.push(line);
    }
    lines.join("\n")
}

#[test]
fn facts_of_statements() {
    let statements = [
        "SELECT a, t.b, lower(c) FROM t JOIN s.u USING (id) WHERE t.x = 1 AND EXISTS (SELECT 1 FROM v) ORDER BY 1 LIMIT 5",
        "WITH w AS (SELECT * FROM t) SELECT * FROM w",
        "WITH gone AS (DELETE FROM t RETURNING *) SELECT count(*) FROM gone",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM (SELECT * FROM t FOR SHARE) x",
        "SELECT 1 INTO n",
        "VALUES (1),(nextval('s'))",
        "TABLE t",
        "SELECT rank() OVER (PARTITION BY f(a) ORDER BY g(b)) FROM t",
        "SELECT count(*) FILTER (WHERE h(a)), array_agg(a ORDER BY k(b)) FROM t GROUP BY GROUPING SETS ((a), (m(b)))",
        "SELECT CASE WHEN a IS NULL THEN p(1) ELSE ARRAY[q(2)] END, (r(3)).s, a[t(4)], ROW(u(5)), x::int + y::text COLLATE \"C\" FROM t",
        "INSERT INTO t(a) SELECT f(b) FROM u ON CONFLICT (a) DO UPDATE SET a = g(1) RETURNING h(a)",
        "UPDATE t SET (a, b) = (SELECT c, f(d) FROM u) FROM v WHERE t.id = v.id",
        "DELETE FROM ONLY s.t USING u WHERE f(a)",
        "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET a = f(1) WHEN NOT MATCHED THEN INSERT VALUES (g(2))",
        "COPY t FROM STDIN",
        "COPY (SELECT f(a) FROM t) TO STDOUT",
        "TRUNCATE a, b CASCADE",
        "EXPLAIN ANALYZE DELETE FROM t",
        "SELECT a <-> b, a OPERATOR(x.<#>) b FROM t ORDER BY a USING <",
        "SELECT * FROM pg_temp.t",
        "SELECT xmlelement(name a)",
        "SELECT * FROM t TABLESAMPLE own(1)",
        "SELECT current_date, now(), extract(year from a) FROM t",
    ];
    let all: Vec<String> = statements
        .iter()
        .map(|sql| format!("{sql}\n    {}", describe(sql)))
        .collect();
    expect_test::expect_file!["facts.txt"].assert_eq(&(all.join("\n") + "\n"));
}

#[test]
fn kinds_of_statements() {
    let statements = [
        "BEGIN",
        "START TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
        "COMMIT AND CHAIN",
        "END",
        "ROLLBACK",
        "ABORT",
        "SAVEPOINT a",
        "RELEASE a",
        "ROLLBACK TO a",
        "PREPARE TRANSACTION 'x'",
        "COMMIT PREPARED 'x'",
        "SET a = 1",
        "SET LOCAL A.B TO 'c'",
        "SET ROLE x",
        "SET SESSION AUTHORIZATION x",
        "SET TIME ZONE 'UTC'",
        "SET NAMES 'utf8'",
        "SET TRANSACTION READ ONLY",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "RESET a",
        "RESET ALL",
        "RESET ROLE",
        "SHOW a",
        "LISTEN c",
        "UNLISTEN *",
        "UNLISTEN c",
        "NOTIFY c, 'x'",
        "PREPARE p AS SELECT * FROM t",
        "EXECUTE p(1)",
        "DEALLOCATE ALL",
        "DEALLOCATE p",
        "DISCARD ALL",
        "DISCARD TEMP",
        "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t",
        "DECLARE c CURSOR FOR SELECT 1",
        "FETCH 1 FROM c",
        "MOVE c",
        "CLOSE c",
        "CLOSE ALL",
        "LOCK t",
        "SET CONSTRAINTS ALL DEFERRED",
        "LOAD 'x'",
        "DO 'begin end'",
        "CALL p(1)",
        "CREATE TEMP TABLE t(a int)",
        "CREATE TEMP VIEW v AS SELECT 1",
        "CREATE TEMP SEQUENCE s",
        "CREATE TEMP TABLE t AS SELECT 1",
        "CREATE TABLE pg_temp.t(a int)",
        "VACUUM t",
        "ANALYZE",
        "CREATE TABLE t(a int)",
        "GRANT SELECT ON t TO x",
        "",
        "SELECT 1; UPDATE t SET a = 1",
        "SELEC 1",
    ];
    let all: Vec<String> = statements
        .iter()
        .map(|sql| format!("{sql}\n    {}", describe(sql)))
        .collect();
    expect_test::expect_file!["kinds.txt"].assert_eq(&(all.join("\n") + "\n"));
}

#[test]
fn depth_is_an_error_and_not_a_crash() {
    let chain = format!("SELECT 1{}", "+1".repeat(30_000));
    let facts = PostgresGrammar.parse(&chain).expect("it parses");
    assert_eq!(facts[0].doubt, Some(Doubt::TooLarge));
    let nested = format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    drop(PostgresGrammar.parse(&nested));
    let selects = format!(
        "SELECT * FROM {}t{}",
        "(SELECT * FROM ".repeat(3_000),
        ") x".repeat(3_000)
    );
    drop(PostgresGrammar.parse(&selects));
    assert_eq!(
        PostgresGrammar.parse(&format!("SELECT '{}'", "x".repeat(70_000))),
        Err(Doubt::TooLarge)
    );
}

proptest::proptest! {
    #[test]
    fn any_text_ends(words in proptest::collection::vec(proptest::sample::select(vec!["SELECT", "FROM", "t", "(", ")", ",", "'a'", "1", "WHERE", "=", "UPDATE", "SET", "WITH", "AS", "x.y", "*", "$1", ";", "INTO", "UNION", "/*", "*/", "::", "int", "ORDER BY", "[", "]", "NOT", "NULL", "CASE", "END", "é"]), 0..40)) {
        let text = words.join(" ");
        drop(PostgresGrammar.parse(&text));
    }
}
