//! Text and session in, route out.

use std::sync::Arc;
use std::time::Duration;

use banyan_topology::snapshot::pgproxy::Reads;

use super::{Planner, SessionView, Target, decide, explain};
use crate::catalog::rows::{
    FunctionKind, FunctionRow, OperatorRow, RelationKind, RelationRow, Rows, Volatility,
};
use crate::catalog::{Catalog, Tables};
use crate::parse::PostgresGrammar;

const FREE: SessionView = SessionView {
    in_transaction: false,
    pinned: false,
    lexable: true,
};

fn relation(oid: u32, name: &str) -> RelationRow {
    RelationRow {
        oid,
        schema: "public".into(),
        name: name.into(),
        kind: RelationKind::Table,
        unlogged: false,
        guarded: false,
        rewritten: false,
        view: None,
    }
}

fn function(oid: u32, name: &str, volatility: Volatility) -> FunctionRow {
    FunctionRow {
        oid,
        schema: "pg_catalog".into(),
        name: name.into(),
        kind: FunctionKind::Function,
        volatility,
        language: "internal".into(),
        body: "".into(),
        library: "".into(),
        parts: Vec::new(),
        takes_row: false,
    }
}

fn catalog(generation: u64) -> Arc<Catalog> {
    let rows = Rows {
        functions: vec![
            function(1, "eq", Volatility::Immutable),
            function(2, "now", Volatility::Stable),
            function(3, "nextval", Volatility::Volatile),
        ],
        operators: vec![OperatorRow {
            schema: "pg_catalog".into(),
            name: "=".into(),
            function: 1,
        }],
        relations: vec![relation(20_000, "t"), relation(20_001, "u")],
        ..Rows::default()
    };
    Arc::new(Catalog::build(generation, rows, &PostgresGrammar))
}

fn planner() -> Planner<PostgresGrammar> {
    let mut planner = Planner::new(PostgresGrammar);
    planner.follow(Some(catalog(1)));
    planner
}

fn route(sql: &str, session: SessionView, reads: Reads) -> String {
    let mut planner = planner();
    let plan = planner.plan(sql.as_bytes());
    let route = decide([&*plan], session, &reads);
    let rows = explain(&plan, &route, planner.catalog().map(|catalog| &**catalog));
    rows.iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn routes_say_why() {
    let statements = [
        "SELECT * FROM t WHERE id = 1",
        "/* app */ SELECT now() FROM t, u",
        "/* banyan: fresh=off */ SELECT * FROM t",
        "SELECT * FROM t /* banyan: fresh=primary */",
        "/* banyan: fresh=index */ TABLE t",
        "SELECT 1; SELECT * FROM u",
        "SELECT 1; UPDATE t SET id = 2",
        "SELECT nextval('s')",
        "UPDATE /* url */ \"t\" SET id = 1",
        "BEGIN",
        "BEGIN; SELECT 1",
        "COMMIT",
        "",
        "SELEC 1",
        "SELECT * FROM t OPTION newer",
        "CREATE TABLE x (id int)",
        "SELECT 'open",
    ];
    let all: Vec<String> = statements
        .iter()
        .map(|sql| format!("{sql}\n    {}\n", route(sql, FREE, Reads::Fresh)))
        .collect();
    expect_test::expect_file!["routes.txt"].assert_eq(&all.concat());
}

#[test]
fn a_session_that_is_not_free_stays_with_the_primary() {
    for session in [
        SessionView {
            in_transaction: true,
            ..FREE
        },
        SessionView { pinned: true, ..FREE },
        SessionView {
            lexable: false,
            ..FREE
        },
    ] {
        assert!(
            route("SELECT * FROM t", session, Reads::Fresh).contains("the primary; because"),
            "{session:?}"
        );
    }
}

#[test]
fn modes_choose_the_freshness() {
    let bounded = Reads::Bounded {
        lag: Duration::from_millis(500),
    };
    for (reads, wanted) in [
        (Reads::Fresh, "fresh"),
        (Reads::Session, "session"),
        (bounded, "bounded: at most 500ms"),
        (Reads::Primary, "reads = \"primary\""),
    ] {
        assert!(
            route("SELECT * FROM t", FREE, reads).contains(wanted),
            "{reads:?}"
        );
    }
}

/// A batch with one late write is a write as a whole.
#[test]
fn a_unit_is_routed_whole() {
    let mut planner = planner();
    let read = planner.plan(b"SELECT * FROM t");
    let write = planner.plan(b"INSERT INTO u VALUES (1)");
    let both = decide([&*read, &*read, &*write], FREE, &Reads::Fresh);
    assert!(matches!(both.target, Target::Primary(_)));
    assert!(!both.effect.is_none());
    let reads = decide([&*read, &*read], FREE, &Reads::Fresh);
    assert!(matches!(reads.target, Target::Replica { .. }));
}

#[test]
fn templates_are_parsed_once_and_forgotten_with_their_generation() {
    let mut planner = planner();
    for id in 0..100 {
        planner.plan(format!("SELECT * FROM t WHERE id = {id} -- {id}").as_bytes());
    }
    assert_eq!(planner.misses(), 1);
    planner.follow(Some(catalog(2)));
    planner.plan(b"SELECT * FROM t WHERE id = 1");
    assert_eq!(planner.misses(), 2);
}

#[test]
fn without_a_catalog_nothing_is_proven_and_writes_have_no_bound() {
    let mut planner = Planner::new(PostgresGrammar);
    let read = planner.plan(b"SELECT * FROM t");
    assert!(read.read.is_err());
    let write = planner.plan(b"INSERT INTO t VALUES (1)");
    assert_eq!(write.effect.tables, Tables::All);
    assert!(planner.plan(b"COMMIT").effect.is_none());
}
