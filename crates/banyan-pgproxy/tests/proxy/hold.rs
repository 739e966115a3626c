//! Statements wait through a hold and lose nothing.

use std::time::Duration;

use banyan_topology::report::HoldState;
use banyan_topology::snapshot::pgproxy::{Hold, HoldCause};

use crate::world::{World, code, pool};

fn hold(cause: HoldCause, limit: Duration) -> Hold {
    Hold {
        cause,
        grace: Duration::from_secs(5),
        limit,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_wait_in_a_hold_and_go_on_after_it() {
    let mut world = World::start(pool(2)).await;
    let clients = [world.client().await, world.client().await, world.client().await];
    clients[0].batch_execute("CREATE TABLE t (a int)").await.unwrap();
    world
        .publish(|s| s.database.hold = Some(hold(HoldCause::Planned, Duration::from_secs(15))))
        .await;
    let held = world.handle.clone().wait_for(|r| r.hold == HoldState::Held).await;
    assert!(held.is_some());
    assert_eq!(world.server_connections().await, 0);
    let waiting = clients
        .iter()
        .map(|client| client.batch_execute("INSERT INTO t VALUES (1)"));
    let (done, ()) = tokio::join!(futures_util::future::join_all(waiting), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.publish(|s| s.database.hold = None).await;
    });
    assert!(done.into_iter().all(|result| result.is_ok()));
    let row = clients[0].query_one("SELECT count(*) FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_ends_before_the_hold_is_complete() {
    let mut world = World::start(pool(2)).await;
    let client = world.client().await;
    client
        .batch_execute("BEGIN; CREATE TABLE t (a int)")
        .await
        .unwrap();
    world
        .publish(|s| s.database.hold = Some(hold(HoldCause::Planned, Duration::from_secs(15))))
        .await;
    assert_eq!(world.handle.report().hold, HoldState::Draining);
    client
        .batch_execute("INSERT INTO t VALUES (1); COMMIT")
        .await
        .unwrap();
    let held = world.handle.clone().wait_for(|r| r.hold == HoldState::Held).await;
    assert!(held.is_some());
    world.publish(|s| s.database.hold = None).await;
    client.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_its_limit_a_hold_of_a_crash_refuses_with_57p03_and_keeps_the_client() {
    let mut world = World::start(pool(2)).await;
    let client = world.client().await;
    client.simple_query("SELECT 1").await.unwrap();
    world
        .publish(|s| s.database.hold = Some(hold(HoldCause::Crash, Duration::from_millis(500))))
        .await;
    let refused = client.simple_query("SELECT 1").await.unwrap_err();
    assert_eq!(code(&refused), "57P03");
    world.publish(|s| s.database.hold = None).await;
    client.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_its_limit_a_planned_hold_ends_without_anybodys_help() {
    let mut world = World::start(pool(2)).await;
    let client = world.client().await;
    client.simple_query("SELECT 1").await.unwrap();
    world
        .publish(|s| s.database.hold = Some(hold(HoldCause::Planned, Duration::from_millis(300))))
        .await;
    client.simple_query("SELECT 1").await.unwrap();
    let told = world.handle.clone().wait_for(|r| r.hold_failure.is_some()).await;
    assert!(told.is_some());
    world.publish(|s| s.database.hold = None).await;
    client.simple_query("SELECT 1").await.unwrap();
}

/// The plan is given up, not the transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_outlasts_the_grace_ends_the_hold() {
    let mut world = World::start(pool(2)).await;
    let (open, other) = (world.client().await, world.client().await);
    open.batch_execute("BEGIN; CREATE TABLE t (a int)").await.unwrap();
    world
        .publish(|s| {
            let mut short = hold(HoldCause::Planned, Duration::from_secs(30));
            short.grace = Duration::from_millis(300);
            s.database.hold = Some(short);
        })
        .await;
    other.simple_query("SELECT 1").await.unwrap();
    let told = world.handle.clone().wait_for(|r| r.hold_failure.is_some()).await;
    let told = told.unwrap();
    assert_eq!(told.hold, HoldState::Open);
    assert_eq!(
        told.hold_failure.as_deref(),
        Some("1 transactions are still open after 0.3 s")
    );
    open.batch_execute("INSERT INTO t VALUES (1); COMMIT")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_hold_units_go_to_the_new_primary_with_their_sessions() {
    let mut world = World::start(pool(2)).await;
    let second = banyan_testkit::postgres::Postgres::start().unwrap();
    let admin = banyan_testkit::postgres::connect(&second.url()).await.unwrap();
    // Same verifier on both, as on a replica.
    let verifier: String = world
        .admin()
        .await
        .query_one("SELECT banyan.verifier('app')", &[])
        .await
        .unwrap()
        .get(0);
    admin
        .batch_execute(&format!("CREATE ROLE app LOGIN PASSWORD '{verifier}'"))
        .await
        .unwrap();
    admin
        .batch_execute("CREATE DATABASE app OWNER app")
        .await
        .unwrap();
    let client = world.client().await;
    client.batch_execute("SET work_mem = '7MB'").await.unwrap();
    let before = client
        .query_one("SELECT current_setting('port')::int", &[])
        .await
        .unwrap()
        .get::<_, i32>(0);
    assert_eq!(before, i32::from(world.postgres.port()));
    world
        .publish(|s| s.database.hold = Some(hold(HoldCause::Planned, Duration::from_secs(15))))
        .await;
    let sql = "SELECT current_setting('port')::int, current_setting('work_mem')";
    let (after, ()) = tokio::join!(client.query_one(sql, &[]), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let address = ([127, 0, 0, 1], second.port()).into();
        world
            .publish(|s| {
                let mut node = s.database.nodes[0].clone();
                node.id = "db2".parse().unwrap();
                node.address = address;
                s.database.primary = Some(node.id);
                s.database.nodes.push(node);
                s.database.hold = None;
            })
            .await;
    });
    let after = after.unwrap();
    assert_eq!(after.get::<_, i32>(0), i32::from(second.port()));
    assert_eq!(after.get::<_, String>(1), "7MB");
}
