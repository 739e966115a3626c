//! What a text means depends on its session and its transaction: it is told right, and shared with nobody for whom it means something else.

use tokio_postgres::Client;

use crate::world::{World, one, pool};

async fn world(connections: u32) -> (World, Client, Client) {
    let world = World::start(pool(connections)).await;
    let (a, b) = (world.client().await, world.client().await);
    (world, a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_schema_follows_its_client() {
    let (world, a, b) = world(1).await;
    world.charted().await;
    for (sql, expected) in [
        ("SET SCHEMA 'mine'", "mine"),
        ("SET SESSION SCHEMA 'other'", "other"),
        ("SET LOCAL SCHEMA 'nobody''s'", "other"),
    ] {
        a.batch_execute(sql).await.unwrap();
        assert_eq!(one(&b, "SHOW search_path").await, "\"$user\", public", "{sql}");
        assert_eq!(one(&a, "SHOW search_path").await, expected, "{sql}");
    }
}

/// A database of old: a backslash in a plain string escapes, by default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_behind_an_escaped_quote_follows_its_client() {
    let world = World::start(pool(2)).await;
    let old = "ALTER DATABASE app SET standard_conforming_strings = off";
    world.admin().await.batch_execute(old).await.unwrap();
    let a = world.client().await;
    let hidden = r"SELECT '\'', set_config('my.tenant', 'a', false), '\''";
    a.batch_execute(hidden).await.unwrap();
    let tenant = "SELECT coalesce(current_setting('my.tenant', true), '')";
    for _ in 0..2 {
        let b = world.client().await;
        assert_eq!(one(&b, tenant).await, "");
        assert_eq!(one(&a, tenant).await, "a");
    }
}

/// Without a backslash a text is the same in both: no connection is kept for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_old_shares_its_connections() {
    let world = World::start(pool(1)).await;
    let old = "ALTER DATABASE app SET standard_conforming_strings = off";
    world.admin().await.batch_execute(old).await.unwrap();
    let (a, b) = (world.client().await, world.client().await);
    for _ in 0..3 {
        assert_eq!(one(&a, "SELECT 'it''s a'").await, "it's a");
        assert_eq!(one(&b, "SELECT 'it''s b'").await, "it's b");
    }
}

/// The connection has had temporary objects before, so PostgreSQL itself does not look anew at what it has prepared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_table_is_read_and_not_the_one_that_it_hides() {
    let (_world, a, b) = world(1).await;
    a.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    b.batch_execute("CREATE TEMP TABLE x (a int); DROP TABLE x")
        .await
        .unwrap();
    let sql = "SELECT a FROM t";
    let theirs = b.prepare(sql).await.unwrap();
    assert_eq!(b.query_one(&theirs, &[]).await.unwrap().get::<_, i32>(0), 1);
    a.batch_execute("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (2)")
        .await
        .unwrap();
    let mine = a.prepare(sql).await.unwrap();
    assert_eq!(a.query_one(&mine, &[]).await.unwrap().get::<_, i32>(0), 2);
    a.batch_execute("DROP TABLE t").await.unwrap();
    assert_eq!(b.query_one(&theirs, &[]).await.unwrap().get::<_, i32>(0), 1);
}

/// One text on one connection, twice; the tables have the same name and other columns.
async fn prepared_for_both(a: &Client, b: &Client, begin: [&str; 2]) {
    const SQL: &str = "SELECT a FROM t WHERE a = $1";
    for _ in 0..2 {
        a.batch_execute(begin[0]).await.unwrap();
        let mine = a.prepare(SQL).await.unwrap();
        a.query(&mine, &[&1_i32]).await.unwrap();
        a.batch_execute("COMMIT").await.unwrap();
        b.batch_execute(begin[1]).await.unwrap();
        let mine = b.prepare(SQL).await.unwrap();
        b.query(&mine, &[&"x"]).await.unwrap();
        b.batch_execute("COMMIT").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn temporary_tables_of_one_name_and_other_columns_are_not_mixed_up() {
    let (_world, a, b) = world(1).await;
    let begin = [
        "BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP",
        "BEGIN; CREATE TEMP TABLE t (a text) ON COMMIT DROP",
    ];
    prepared_for_both(&a, &b, begin).await;
}

const SCHEMAS: &str = "
    CREATE SCHEMA one; CREATE SCHEMA two;
    CREATE TABLE one.t (a int); CREATE TABLE two.t (a text);
    CREATE FUNCTION public.go(schema text) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN PERFORM set_config('search_path', schema, true); END $$;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_of_a_transaction_are_not_mixed_up() {
    let (world, a, b) = world(1).await;
    a.batch_execute(SCHEMAS).await.unwrap();
    world.charted().await;
    for begin in [
        [
            "BEGIN; SET LOCAL search_path = one",
            "BEGIN; SET LOCAL search_path = two",
        ],
        ["BEGIN; SET search_path = one", "BEGIN; SET search_path = two"],
        [
            "BEGIN; SELECT set_config('search_path', 'one', true)",
            "BEGIN; SELECT set_config('search_path', 'two', true)",
        ],
        ["BEGIN; SET LOCAL SCHEMA 'one'", "BEGIN; SET LOCAL SCHEMA 'two'"],
        ["BEGIN; SELECT public.go('one')", "BEGIN; SELECT public.go('two')"],
    ] {
        prepared_for_both(&a, &b, begin).await;
    }
}

/// What a transaction of one client has the server prepare under its own `search_path` is not what others get.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_prepared_anew_within_a_schema_is_not_for_others() {
    let (world, a, b) = world(1).await;
    a.batch_execute(SCHEMAS).await.unwrap();
    a.batch_execute("SET search_path = one").await.unwrap();
    b.batch_execute("SET search_path = one").await.unwrap();
    let sql = "SELECT a FROM t WHERE a = $1";
    let (mine, theirs) = (a.prepare(sql).await.unwrap(), b.prepare(sql).await.unwrap());
    // Another connection, that has nothing prepared.
    let console = world.connect(&world.console()).await.unwrap();
    console.simple_query("RECONNECT").await.unwrap();
    a.batch_execute("BEGIN; SET LOCAL search_path = two")
        .await
        .unwrap();
    // As PostgreSQL answers: the parameter is an int to the driver. What counts is what is left for the other.
    let _own = a.query(&mine, &[&1_i32]).await;
    a.batch_execute("ROLLBACK").await.unwrap();
    b.query(&theirs, &[&1_i32]).await.unwrap();
    a.query(&mine, &[&1_i32]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_temporary_by_its_search_path_is_its_clients() {
    let (world, a, b) = world(2).await;
    a.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    world.charted().await;
    for set in [
        "SET search_path = pg_temp, public",
        "BEGIN; SELECT set_config('search_path', 'pg_temp, public', true)",
    ] {
        a.batch_execute(set).await.unwrap();
        a.batch_execute("CREATE TABLE t AS SELECT 1 AS a; COMMIT")
            .await
            .unwrap();
        a.batch_execute("RESET search_path").await.unwrap();
        for _ in 0..3 {
            let c = world.client().await;
            for other in [&b, &c] {
                assert_eq!(one(other, "SELECT count(*) FROM t").await, "0", "{set}");
            }
            assert_eq!(one(&a, "SELECT count(*) FROM t").await, "1", "{set}");
        }
        a.batch_execute("DROP TABLE pg_temp.t").await.unwrap();
    }
}

/// It can be set in a transaction only, and there is nothing to be restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_the_transactions_is_not_restored() {
    let (_world, a, b) = world(1).await;
    a.batch_execute("SET default_transaction_isolation = 'serializable'")
        .await
        .unwrap();
    for sql in [
        "BEGIN; SET transaction_isolation = 'serializable'; COMMIT",
        "SET default_transaction_read_only = on; BEGIN; SET transaction_read_only = off; COMMIT",
        "SELECT set_config('seed', '0.5', false)",
    ] {
        a.batch_execute(sql).await.unwrap();
        one(&b, "SELECT 1").await;
        assert_eq!(
            one(&a, "SHOW transaction_isolation").await,
            "serializable",
            "{sql}"
        );
        one(&b, "SELECT 1").await;
    }
}

/// Who logs in after it begins with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_default_of_a_role_or_database_is_what_new_clients_begin_with() {
    let (world, a, _b) = world(2).await;
    for (sql, name, expected) in [
        ("ALTER ROLE app SET work_mem = '7MB'", "work_mem", "7MB"),
        (
            "ALTER ROLE app IN DATABASE app SET work_mem = '8MB'",
            "work_mem",
            "8MB",
        ),
        (
            "BEGIN; ALTER DATABASE app SET timezone = 'Asia/Tokyo'; COMMIT",
            "timezone",
            "Asia/Tokyo",
        ),
        ("ALTER ROLE app IN DATABASE app RESET ALL", "work_mem", "7MB"),
    ] {
        a.batch_execute(sql).await.unwrap();
        let new = world.client().await;
        for _ in 0..3 {
            assert_eq!(one(&new, &format!("SHOW {name}")).await, expected, "{sql}");
        }
    }
}

/// RESET leads back to what the client asked for when it connected, however it is spelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_is_what_the_client_began_with() {
    let world = World::start(pool(1)).await;
    let mut config = world.config();
    config.options("-c timezone=Asia/Tokyo -c work_mem=7MB");
    let (a, b) = (world.connect(&config).await.unwrap(), world.client().await);
    for (name, first, set, sql) in [
        ("timezone", "Asia/Tokyo", "UTC", "SET TIME ZONE DEFAULT"),
        ("timezone", "Asia/Tokyo", "UTC", "SET TIME ZONE LOCAL"),
        ("work_mem", "7MB", "5MB", "SET work_mem TO DEFAULT"),
        (
            "work_mem",
            "7MB",
            "5MB",
            "SELECT set_config('work_mem', NULL, false)",
        ),
    ] {
        a.batch_execute(&format!("SET {name} = '{set}'")).await.unwrap();
        one(&b, "SELECT 1").await;
        a.batch_execute(sql).await.unwrap();
        one(&b, "SELECT 1").await;
        assert_eq!(one(&a, &format!("SHOW {name}")).await, first, "{sql}");
    }
}
