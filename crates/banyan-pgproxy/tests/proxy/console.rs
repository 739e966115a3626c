//! The console on database `banyan`.

use std::time::Duration;

use crate::world::{World, code, eventually, pool, rows};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_shown_in_both_protocols_and_nonsense_is_refused() {
    let world = World::start(pool(3)).await;
    let client = world.client().await;
    client
        .batch_execute("CREATE TEMP TABLE mine (a int)")
        .await
        .unwrap();
    let mut config = world.console();
    let console = world.connect(&config).await.unwrap();
    // The client has its answer before the proxy has asked what is left in the session.
    eventually("pinned", || async {
        let pools = rows(&console, "SHOW POOLS").await;
        assert_eq!(pools.len(), 1);
        assert_eq!(&pools[0][..3], ["app", "app", "db1"]);
        pools[0][7] == "1"
    })
    .await;
    let pins = rows(&console, "show pins;").await;
    assert_eq!(pins[0][1..], ["app", "temporary objects"]);
    for what in [
        "CLIENTS",
        "SERVERS",
        "STATS",
        "DATABASES",
        "NODES",
        "HOLDS",
        "PREPARED",
        "REFUSALS",
        "QUERIES",
        "TABLES",
        "WAITS",
        "LAG",
        "VERSION",
        "HELP",
    ] {
        let found = rows(&console, &format!("SHOW {what}")).await;
        assert!(
            !found.is_empty() || matches!(what, "PREPARED" | "REFUSALS" | "TABLES" | "WAITS" | "LAG"),
            "{what}"
        );
    }
    let row = console.query("SHOW NODES", &[]).await.unwrap();
    assert_eq!(row[0].get::<_, String>("role"), "primary");
    assert_eq!(
        code(&console.simple_query("SELECT 1").await.unwrap_err()),
        "42601"
    );
    assert_eq!(code(&console.query("SHOW LOVE", &[]).await.unwrap_err()), "42601");
    let route = rows(&console, "EXPLAIN ROUTE SELECT * FROM t; ").await;
    assert!(
        route.iter().any(|row| row == &["node", "the primary"]),
        "{route:?}"
    );
    config.password("wrong");
    assert_eq!(code(&world.connect(&config).await.err().unwrap()), "28P01");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pause_holds_until_resume_or_its_limit_and_kill_ends_a_client() {
    let world = World::start(pool(2)).await;
    let client = world.client().await;
    client.simple_query("SELECT 1").await.unwrap();
    let console = world.connect(&world.console()).await.unwrap();
    console.simple_query("PAUSE").await.unwrap();
    let (done, ()) = tokio::join!(client.simple_query("SELECT 1"), async {
        eventually("one waits", || async {
            rows(&console, "SHOW HOLDS").await[0][2] == "1"
        })
        .await;
        console.simple_query("RESUME").await.unwrap();
    });
    done.unwrap();
    console.simple_query("PAUSE LIMIT 200ms").await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), client.simple_query("SELECT 1"))
        .await
        .expect("the pause ends by itself")
        .unwrap();
    console.simple_query("RECONNECT").await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    let number = rows(&console, "SHOW CLIENTS").await[0][0].clone();
    console.simple_query(&format!("KILL {number}")).await.unwrap();
    eventually("the client is gone", || async {
        client.simple_query("SELECT 1").await.is_err()
    })
    .await;
}

/// Whoever knows the app's password may neither stop the app nor see what others do, unless PostgreSQL lets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_for_monitors_and_deeds_for_those_who_may_signal_sessions() {
    let mut world = World::start(pool(2)).await;
    let mut config = world.config();
    config.dbname("banyan");
    let console = world.connect(&config).await.unwrap();
    console.simple_query("SHOW HELP").await.unwrap();
    world
        .publish(|snapshot| snapshot.admins = vec!["ops".to_owned()])
        .await;
    for denied in [
        "SHOW CLIENTS",
        "EXPLAIN ROUTE SELECT 1",
        "PAUSE",
        "KILL 1",
        "RECONNECT",
        "RESUME",
    ] {
        let told = console.simple_query(denied).await.unwrap_err();
        assert_eq!(code(&told), "42501", "{denied}");
        let told = console.query(denied, &[]).await.unwrap_err();
        assert_eq!(code(&told), "42501", "{denied}");
    }
    let admin = world.admin().await;
    admin.batch_execute("GRANT pg_monitor TO team").await.unwrap();
    let console = world.connect(&config).await.unwrap();
    console.simple_query("SHOW CLIENTS").await.unwrap();
    assert_eq!(code(&console.simple_query("PAUSE").await.unwrap_err()), "42501");
    admin
        .batch_execute("GRANT pg_signal_backend TO app")
        .await
        .unwrap();
    let console = world.connect(&config).await.unwrap();
    console.simple_query("PAUSE LIMIT 10ms").await.unwrap();
}

/// The configuration may name roles that PostgreSQL has granted nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_is_named_as_admin_may_do_everything_on_the_console() {
    let mut world = World::start(pool(2)).await;
    world
        .publish(|snapshot| snapshot.admins = vec!["app".to_owned()])
        .await;
    let mut config = world.config();
    config.dbname("banyan");
    let console = world.connect(&config).await.unwrap();
    console.simple_query("SHOW CLIENTS").await.unwrap();
    console.simple_query("PAUSE LIMIT 10ms").await.unwrap();
}
