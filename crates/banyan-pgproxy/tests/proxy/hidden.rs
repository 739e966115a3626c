//! What functions, triggers and views leave in a session follows its client, and reaches nobody else.

use tokio_postgres::Client;

use crate::world::{World, code, eventually, one, pool};

/// Settings that are there before anybody comes.
const DEFINED: &str = r"
    CREATE FUNCTION be(tenant text) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN PERFORM set_config('my.tenant', tenant, false); END $$;
    CREATE FUNCTION be_indirectly(tenant text) RETURNS void LANGUAGE sql AS 'SELECT be(tenant)';
    CREATE FUNCTION become_team() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET ROLE team; END $$;
    CREATE FUNCTION lock_it() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(77); END $$;
    CREATE FUNCTION unlock_it() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN pg_advisory_unlock(77); END $$;
    CREATE FUNCTION scratch() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE scratch (a int); END $$;
    CREATE FUNCTION tidy() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE scratch; END $$;
    CREATE FUNCTION run(sql text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE sql; END $$;
    CREATE FUNCTION keep(name text, value text) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN EXECUTE 'SET ' || quote_ident(name) || ' = ' || quote_literal(value); END $$;
    CREATE TABLE noted (a int);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN SET my.noted = 'yes'; RETURN NEW; END $$;
    CREATE TRIGGER note BEFORE INSERT ON noted FOR EACH ROW EXECUTE FUNCTION note();
    CREATE VIEW tenant AS SELECT be('viewed')::text;
";

/// One connection to the server, two clients, and definitions that the proxy knows.
async fn world(connections: u32) -> (World, Client, Client) {
    let world = World::start(pool(connections)).await;
    let (a, b) = (world.client().await, world.client().await);
    a.batch_execute(DEFINED).await.unwrap();
    world.charted().await;
    (world, a, b)
}

async fn tenant(client: &Client) -> String {
    one(client, "SELECT coalesce(current_setting('my.tenant', true), '')").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_of_a_function_follows_its_client() {
    let (_world, a, b) = world(1).await;
    for (sql, expected) in [
        ("SELECT be('one')", "one"),
        ("SELECT be_indirectly('two')", "two"),
        ("DO $$ BEGIN PERFORM be('three'); END $$", "three"),
        ("BEGIN; SELECT be('four'); COMMIT", "four"),
        ("SELECT * FROM tenant", "viewed"),
    ] {
        a.batch_execute(sql).await.unwrap();
        assert_eq!(tenant(&b).await, "", "another's after {sql}");
        assert_eq!(tenant(&a).await, expected, "{sql}");
    }
    a.batch_execute("BEGIN; SELECT be('never'); ROLLBACK")
        .await
        .unwrap();
    assert_eq!(tenant(&b).await, "");
    assert_eq!(tenant(&a).await, "viewed");
    let prepared = a.prepare("SELECT be($1)").await.unwrap();
    a.query(&prepared, &[&"bound"]).await.unwrap();
    assert_eq!(tenant(&b).await, "");
    assert_eq!(tenant(&a).await, "bound");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_and_a_triggers_setting_reach_nobody_else() {
    let (_world, a, b) = world(1).await;
    a.batch_execute("GRANT ALL ON noted TO team; INSERT INTO noted VALUES (1)")
        .await
        .unwrap();
    let noted = "SELECT coalesce(current_setting('my.noted', true), '')";
    assert_eq!(one(&b, noted).await, "");
    assert_eq!(one(&a, noted).await, "yes");
    a.batch_execute("SELECT become_team()").await.unwrap();
    assert_eq!(one(&b, "SELECT current_user").await, "app");
    assert_eq!(one(&a, "SELECT current_user").await, "team");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_and_temporary_tables_of_functions_keep_the_connection_until_they_are_gone() {
    let (world, a, b) = world(4).await;
    for (begin, check, end) in [
        (
            "SELECT lock_it()",
            "SELECT pg_try_advisory_lock(77)",
            "SELECT unlock_it()",
        ),
        (
            "SELECT scratch()",
            "SELECT to_regclass('scratch') IS NOT NULL",
            "SELECT tidy()",
        ),
    ] {
        a.batch_execute(begin).await.unwrap();
        for _ in 0..3 {
            assert_eq!(one(&b, check).await, "f", "{check}");
        }
        a.batch_execute(end).await.unwrap();
    }
    let console = world.connect(&world.console()).await.unwrap();
    eventually("nobody keeps a connection", || async {
        crate::world::rows(&console, "SHOW PINS").await.is_empty()
    })
    .await;
}

/// The text may be anything: the server is asked for what it tells of, and the rest is reset before another client comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sql_put_together_at_run_time_sets_reaches_nobody_else() {
    let (world, a, b) = world(1).await;
    a.batch_execute("SELECT run('SET work_mem = ''7MB''')")
        .await
        .unwrap();
    assert_eq!(one(&b, "SHOW work_mem").await, "4MB");
    assert_eq!(one(&a, "SHOW work_mem").await, "7MB");
    a.batch_execute("SELECT run('SET ROLE team')").await.unwrap();
    assert_eq!(one(&b, "SELECT current_user").await, "app");
    assert_eq!(one(&a, "SELECT current_user").await, "team");
    a.batch_execute("RESET ROLE; SELECT run('SET my.tenant = ''mine''')")
        .await
        .unwrap();
    assert_eq!(tenant(&b).await, "");
    assert_eq!(one(&a, "SHOW work_mem").await, "7MB");
    a.batch_execute("SELECT run('RESET work_mem')").await.unwrap();
    assert_eq!(one(&a, "SHOW work_mem").await, "4MB");
    let c = world.client().await;
    assert_eq!(tenant(&c).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_sets_what_it_is_told_keeps_the_connection_to_the_end() {
    let (_world, a, b) = world(10).await;
    a.batch_execute("SELECT keep('my.tenant', 'kept')").await.unwrap();
    for _ in 0..3 {
        assert_eq!(tenant(&b).await, "");
        assert_eq!(tenant(&a).await, "kept");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_is_known_from_the_moment_of_its_making() {
    let world = World::start(pool(1)).await;
    let (a, b) = (world.client().await, world.client().await);
    for turn in 0..20 {
        a.batch_execute(&format!(
            "CREATE FUNCTION f{turn}() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET work_mem = '{}MB'; END $$",
            10 + turn
        ))
        .await
        .unwrap();
        b.batch_execute(&format!("SELECT f{turn}()")).await.unwrap();
        assert_eq!(one(&a, "SHOW work_mem").await, "4MB");
        assert_eq!(one(&b, "SHOW work_mem").await, format!("{}MB", 10 + turn));
    }
    a.batch_execute(
        "BEGIN; CREATE FUNCTION g() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET my.new = 'x'; END $$; SELECT g(); COMMIT",
    )
    .await
    .unwrap();
    let new = "SELECT coalesce(current_setting('my.new', true), '')";
    assert_eq!(one(&b, new).await, "");
    assert_eq!(one(&a, new).await, "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lastval_of_a_function_is_never_another_clients() {
    let world = World::start(pool(1)).await;
    let (a, b) = (world.client().await, world.client().await);
    a.batch_execute(
        "CREATE TABLE s (id serial, x int); CREATE FUNCTION add() RETURNS void LANGUAGE sql AS 'INSERT INTO s (x) VALUES (1)'",
    )
    .await
    .unwrap();
    for _ in 0..3 {
        a.batch_execute("SELECT add()").await.unwrap();
        let error = b.simple_query("BEGIN; SELECT lastval()").await.unwrap_err();
        assert_eq!(code(&error), "55000");
        b.batch_execute("ROLLBACK").await.unwrap();
    }
}
