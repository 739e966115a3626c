//! Another process of the proxy takes over: clients go on with it and notice nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use banyan_testkit::Port;

use crate::raw::{Raw, query};
use crate::world::{World, code, one, pool};

const LIMIT: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_go_on_with_the_next_process_as_they_were() {
    let mut world = World::start(pool(4)).await;
    let mut config = world.config();
    config.application_name("shop").options("-c work_mem=2MB");
    let settled = world.connect(&config).await.unwrap();
    settled
        .batch_execute("CREATE TABLE t (a int); SET work_mem = '9MB'; SET my.tenant = 'four'")
        .await
        .unwrap();
    let prepared = settled.prepare("SELECT 'told ' || $1::text").await.unwrap();
    let within = world.client().await;
    within
        .batch_execute("BEGIN; INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let ended = world.succeed().await;
    for _ in 0..3 {
        assert_eq!(one(&settled, "SHOW work_mem").await, "9MB");
        assert_eq!(one(&settled, "SHOW my.tenant").await, "four");
        assert_eq!(one(&settled, "SHOW application_name").await, "shop");
        let row = settled.query_one(&prepared, &[&"again"]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "told again");
    }
    settled.batch_execute("RESET work_mem").await.unwrap();
    assert_eq!(one(&settled, "SHOW work_mem").await, "2MB");
    within
        .batch_execute("INSERT INTO t VALUES (2); COMMIT")
        .await
        .unwrap();
    assert_eq!(one(&within, "SELECT count(*) FROM t").await, "2");
    tokio::time::timeout(LIMIT, ended)
        .await
        .expect("the first has no client left")
        .unwrap();
    assert_eq!(one(&within, "SELECT count(*) FROM t").await, "2");
    assert_eq!(one(&world.client().await, "SELECT 1").await, "1");
    let unknown = settled.query_one(&prepared, &[&"still"]).await.unwrap();
    assert_eq!(unknown.get::<_, String>(0), "told still");
}

/// Queries follow each other without a pause, so that many are on their way at each moment of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_query_fails_while_processes_follow_each_other() {
    let mut world = World::start(pool(4)).await;
    let over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let mut busy = Vec::new();
    for number in 0..16 {
        let client = world.client().await;
        let (over, answered) = (Arc::clone(&over), Arc::clone(&answered));
        busy.push(world.spawn(async move {
            let prepared = client.prepare("SELECT $1::int4 + 1").await.unwrap();
            while !over.load(Ordering::Relaxed) {
                let row = client.query_one(&prepared, &[&number]).await.unwrap();
                assert_eq!(row.get::<_, i32>(0), number + 1);
                client.batch_execute("BEGIN; SELECT 1; COMMIT").await.unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for _ in 0..3 {
        let before = answered.load(Ordering::Relaxed);
        let ended = world.succeed().await;
        tokio::time::timeout(LIMIT, ended)
            .await
            .expect("the one before ends")
            .unwrap();
        crate::world::eventually("they go on", || async {
            answered.load(Ordering::Relaxed) > before + 100
        })
        .await;
    }
    over.store(true, Ordering::Relaxed);
    for client in busy {
        assert_eq!(client.await.unwrap(), Some(()));
    }
}

/// A session that holds something on its server stays where it is until it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_a_server_connection_stays_until_it_is_free() {
    let mut world = World::start(pool(4)).await;
    let client = world.client().await;
    client
        .batch_execute("CREATE TEMP TABLE mine (a int)")
        .await
        .unwrap();
    let ended = world.succeed().await;
    for _ in 0..3 {
        client.batch_execute("INSERT INTO mine VALUES (1)").await.unwrap();
    }
    assert_eq!(one(&client, "SELECT count(*) FROM mine").await, "3");
    client.batch_execute("DROP TABLE mine").await.unwrap();
    tokio::time::timeout(LIMIT, ended)
        .await
        .expect("it has moved")
        .unwrap();
    let error = client.simple_query("SELECT * FROM mine").await.unwrap_err();
    assert_eq!(code(&error), "42P01");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_for_cancels_stays() {
    let mut world = World::start(pool(2)).await;
    let mut raw = Raw::connect(world.port()).await.unwrap();
    let ended = world.succeed().await;
    tokio::time::timeout(LIMIT, ended).await.unwrap().unwrap();
    let mut out = Vec::new();
    query(&mut out, "SELECT pg_sleep(60)");
    raw.send(&out).await.unwrap();
    let (port, key) = (raw.port, raw.key);
    let cancelled = async {
        loop {
            Raw::cancel(port, key).await.ok();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::select! {
        found = raw.unit() => found.unwrap(),
        () = cancelled => Vec::new(),
        () = tokio::time::sleep(LIMIT) => Vec::new(),
    };
    let error = found.iter().find(|message| message.tag == b'E');
    assert_eq!(error.map(|message| message.code()).as_deref(), Some("57014"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_accepted_at_the_old_address_until_it_is_given_up() {
    let mut world = World::start(pool(4)).await;
    let (old, stays) = (world.config(), world.client().await);
    let port = Port::free();
    world
        .publish(|snapshot| {
            snapshot.before.insert(snapshot.listen);
            snapshot.listen = port.address();
        })
        .await;
    assert_eq!(world.port(), port.address().port());
    for _ in 0..2 {
        for config in [&old, &world.config()] {
            let client = world.connect(config).await.unwrap();
            assert_eq!(one(&client, "SELECT 1").await, "1");
        }
        // The next process has both.
        let ended = world.succeed().await;
        assert_eq!(one(&stays, "SELECT 1").await, "1");
        tokio::time::timeout(LIMIT, ended).await.unwrap().unwrap();
    }
    world.publish(|snapshot| snapshot.before.clear()).await;
    world.connect(&old).await.unwrap_err();
    assert_eq!(one(&stays, "SELECT 1").await, "1");
    assert_eq!(one(&world.client().await, "SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_somebody_has_is_refused_and_the_old_one_stays() {
    let mut world = World::start(pool(4)).await;
    let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = somebody.local_addr().unwrap();
    let before = world.port();
    world.submit(|snapshot| {
        snapshot.before.insert(snapshot.listen);
        snapshot.listen = taken;
    });
    let said = world.handle.wait_for(|report| {
        let refused = report.refused.as_deref().unwrap_or_default();
        refused.contains("is in use by another program")
    });
    tokio::time::timeout(LIMIT, said).await.unwrap().unwrap();
    assert_eq!(world.port(), before);
    assert_eq!(one(&world.client().await, "SELECT 1").await, "1");
}
