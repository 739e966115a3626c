//! The catalog of a real PostgreSQL: what is proven to be a read, why not, and what a write may change.

use banyan_pgproxy::catalog::{Catalog, Effect, Tables, load};
use banyan_pgproxy::parse::{Grammar as _, PostgresGrammar};
use banyan_testkit::Postgres;

const SCHEMA: &str = include_str!("proven/schema.sql");

async fn connect(postgres: &Postgres) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&postgres.url(), tokio_postgres::NoTls)
        .await
        .expect("it connects");
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's connection ends with the test's runtime"
    )]
    tokio::spawn(connection);
    client
}

async fn catalog(client: &mut tokio_postgres::Client) -> Catalog {
    let rows = load::load(client).await.expect("the catalog loads");
    Catalog::build(1, rows, &PostgresGrammar)
}

fn names(catalog: &Catalog, tables: &Tables) -> String {
    let Tables::Some(tables) = tables else {
        return "all tables".to_owned();
    };
    let mut names: Vec<String> = tables
        .iter()
        .map(|table| catalog.table_name(*table).expect("known").name.into())
        .collect();
    names.sort();
    if names.is_empty() {
        "no table".to_owned()
    } else {
        names.join(" ")
    }
}

fn describe(catalog: &Catalog, sql: &str) -> String {
    let facts = PostgresGrammar.parse(sql).expect("it parses").remove(0);
    let read = match catalog.proven_read(&facts) {
        Ok(tables) => format!("reads {}", names(catalog, &tables)),
        Err(reason) => format!("no read: {reason}"),
    };
    let Effect { tables, definitions } = catalog.effect(&facts);
    let definitions = if definitions { " and definitions" } else { "" };
    format!(
        "{sql}\n    {read}; may change {}{definitions}\n",
        names(catalog, &tables)
    )
}

#[tokio::test]
async fn what_is_proven_and_what_is_bounded() {
    let postgres = Postgres::start().expect("PostgreSQL starts");
    let mut client = connect(&postgres).await;
    client.batch_execute(SCHEMA).await.expect("the schema is made");
    let catalog = catalog(&mut client).await;
    let statements = include_str!("proven/statements.sql");
    let mut text = String::new();
    for line in statements.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with("--") {
            text += &format!("\n{line}\n");
        } else {
            text += &describe(&catalog, line);
        }
    }
    expect_test::expect_file!["proven/statements.txt"].assert_eq(&text);
}

/// What an ORM asks of the system catalogs at start must not be doubtful for lack of understanding.
#[tokio::test]
async fn the_views_of_the_system_catalogs_are_understood() {
    let postgres = Postgres::start().expect("PostgreSQL starts");
    let mut client = connect(&postgres).await;
    let catalog = catalog(&mut client).await;
    let views = client
        .query(
            "SELECT format('%I.%I', schemaname, viewname) FROM pg_views ORDER BY 1",
            &[],
        )
        .await
        .expect("views");
    let mut text = String::new();
    for row in views {
        let view: &str = row.get(0);
        let facts = PostgresGrammar
            .parse(&format!("TABLE {view}"))
            .expect("it parses")
            .remove(0);
        if let Err(reason) = catalog.proven_read(&facts) {
            text += &format!("{view}: {reason}\n");
        }
    }
    expect_test::expect_file!["proven/system_views.txt"].assert_eq(&text);
}

/// The rule that a replica's silence proves nothing (it accepts these without an error): they must go to the primary.
#[tokio::test]
async fn what_a_replica_silently_accepts_is_never_a_read() {
    let postgres = Postgres::start().expect("PostgreSQL starts");
    let mut client = connect(&postgres).await;
    client.batch_execute(SCHEMA).await.expect("the schema is made");
    let catalog = catalog(&mut client).await;
    for sql in [
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock_shared(1)",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT setseed(0.5)",
        "SELECT set_config('a.b', 'c', false)",
        "DO 'begin end'",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "LOCK TABLE t IN ACCESS SHARE MODE",
        "SELECT pg_export_snapshot()",
        "SELECT pg_terminate_backend(1)",
        "SELECT pg_cancel_backend(1)",
        "SELECT * FROM pg_stat_activity",
        "SELECT pg_notify('a', 'b')",
        "SELECT pg_is_in_recovery()",
        "SELECT pg_current_wal_lsn()",
        "SELECT txid_current()",
        "SELECT lo_put(1, 0, '')",
        "SELECT query_to_xml('DELETE FROM t', true, true, '')",
        "SELECT currval('t_id_seq'), lastval()",
        "SELECT pg_reload_conf()",
        "SELECT pg_stat_reset()",
        "SELECT pg_switch_wal()",
    ] {
        let facts = PostgresGrammar.parse(sql).expect("it parses").remove(0);
        assert!(catalog.proven_read(&facts).is_err(), "{sql}");
    }
}
