//! What statements mean for their session, as text.

use expect_test::expect;

use super::*;

fn show(texts: &[&str]) -> String {
    let mut out = String::new();
    for text in texts {
        let scan = Scan::of(text.as_bytes());
        let references: Vec<_> = scan
            .references
            .iter()
            .map(|r| format!("{}@{}", String::from_utf8_lossy(&r.name), &text[r.start..r.end]))
            .collect();
        out.push_str(&format!(
            "{text} -> {:#x} {:?} {references:?} {:?}\n",
            scan.marks.0,
            scan.touched
                .iter()
                .map(|t| format!("{}{}", t.name, if t.reset { "!" } else { "" }))
                .collect::<Vec<_>>(),
            scan.effects
                .iter()
                .map(|e| format!("{e:?}").split('(').next().unwrap_or_default().to_owned())
                .collect::<Vec<_>>(),
        ));
    }
    out
}

#[test]
fn what_leaves_nothing_behind_has_no_marks() {
    for text in [
        "SELECT 1",
        " /* a /* b */ */ select * from t where a = 'SET x'",
        "BEGIN",
        "(SELECT 1) UNION SELECT 2;",
        "SET LOCAL work_mem = '1MB'",
        "SET TRANSACTION READ ONLY",
        "SELECT 1; SELECT 'set_config'; COMMIT",
        "SELECT temperature FROM attempts",
        "",
        "GRANT EXECUTE ON FUNCTION f TO x",
    ] {
        assert_eq!(Scan::of(text.as_bytes()), Scan::default(), "{text}");
    }
}

#[test]
fn what_stays_in_the_session_is_named() {
    let found = show(&[
        "SET search_path TO a, b",
        "set session statement_timeout = 5",
        "SET my.tenant = '4'",
        "/* x */ SET TIME ZONE 'UTC'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET ROLE bob",
        "SET SESSION AUTHORIZATION bob",
        "SELECT set_config('a.b', 'x', false)",
        "SELECT set_config(name, 'x', false) FROM t",
        "BEGIN; SET work_mem = '1MB'; SELECT 1",
        "RESET ALL",
        "RESET role",
        "DISCARD ALL",
        "DEALLOCATE PREPARE \"Ab\"",
        "DEALLOCATE ALL",
        "EXPLAIN EXECUTE foo(1)",
        "PREPARE foo AS SELECT 1",
        "PREPARE TRANSACTION 'x'",
        "CREATE TEMP TABLE x (a int)",
        "SELECT 1 INTO TEMPORARY y",
        "SELECT pg_try_advisory_lock(1)",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "LISTEN x",
        "LOAD 'auto_explain'",
        "SELECT lastval()",
        "INSERT INTO t VALUES (nextval('s'))",
        "DO $$ begin set work_mem = '1MB'; update t set a = 1; end $$",
        "DO $$ begin execute what; end $$",
        "DO LANGUAGE plpython3u $$ plpy.execute(q) $$",
        "CREATE TABLE t (a int)",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ begin set my.x = 1; end $$",
        "SELECT set_config('a.b', concat('x', y), true), set_config('a.c', 'x', a)",
        "SELECT query_to_xml($1, true, true, '')",
        "SELECT 'unterminated; SET x = 1",
    ]);
    expect![[r#"
        SET search_path TO a, b -> 0x1 ["search_path"] [] []
        set session statement_timeout = 5 -> 0x1 ["statement_timeout"] [] []
        SET my.tenant = '4' -> 0x1 ["my.tenant"] [] []
        /* x */ SET TIME ZONE 'UTC' -> 0x1 ["timezone"] [] []
        SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY -> 0x1 ["default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable"] [] []
        SET ROLE bob -> 0x1 ["role"] [] []
        SET SESSION AUTHORIZATION bob -> 0x1 ["session_authorization", "role"] [] []
        SELECT set_config('a.b', 'x', false) -> 0x1 ["a.b"] [] []
        SELECT set_config(name, 'x', false) FROM t -> 0x80 [] [] []
        BEGIN; SET work_mem = '1MB'; SELECT 1 -> 0x1 ["work_mem"] [] []
        RESET ALL -> 0x1 [] [] ["ResetAll"]
        RESET role -> 0x1 ["role!"] [] []
        DISCARD ALL -> 0x3f [] [] ["DiscardAll"]
        DEALLOCATE PREPARE "Ab" -> 0x10 [] ["Ab@\"Ab\""] ["Deallocate"]
        DEALLOCATE ALL -> 0x10 [] [] ["DeallocateAll"]
        EXPLAIN EXECUTE foo(1) -> 0x200 [] ["foo@foo"] []
        PREPARE foo AS SELECT 1 -> 0x10 [] [] []
        PREPARE TRANSACTION 'x' -> 0x0 [] [] []
        CREATE TEMP TABLE x (a int) -> 0x2 [] [] []
        SELECT 1 INTO TEMPORARY y -> 0x2 [] [] []
        SELECT pg_try_advisory_lock(1) -> 0x4 [] [] []
        DECLARE c CURSOR WITH HOLD FOR SELECT 1 -> 0x8 [] [] []
        LISTEN x -> 0x20 [] [] []
        LOAD 'auto_explain' -> 0x40 [] [] []
        SELECT lastval() -> 0x100 [] [] []
        INSERT INTO t VALUES (nextval('s')) -> 0x200 [] [] []
        DO $$ begin set work_mem = '1MB'; update t set a = 1; end $$ -> 0x201 ["work_mem"] [] []
        DO $$ begin execute what; end $$ -> 0x1200 [] [] []
        DO LANGUAGE plpython3u $$ plpy.execute(q) $$ -> 0x1200 [] [] []
        CREATE TABLE t (a int) -> 0x2000 [] [] []
        CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ begin set my.x = 1; end $$ -> 0x2001 ["my.x"] [] []
        SELECT set_config('a.b', concat('x', y), true), set_config('a.c', 'x', a) -> 0x1 ["a.c"] [] []
        SELECT query_to_xml($1, true, true, '') -> 0x1000 [] [] []
        SELECT 'unterminated; SET x = 1 -> 0x80 [] [] []
    "#]]
    .assert_eq(&found);
}
