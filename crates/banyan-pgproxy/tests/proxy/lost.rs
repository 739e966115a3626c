//! What becomes of sessions whose server dies in between: what is known to be nothing is gone on with, what is gone is said.

use banyan_testkit::postgres::connect;

use crate::crash::{die_unanswered, synchronous, take_over, waiting};
use crate::raw::{Message, Raw, close, parse, query, run, sync};
use crate::replicated::simple;
use crate::world::{code, eventually};

const INSERT: &str = "INSERT INTO made VALUES ($1)";

fn tags(unit: &[Message]) -> String {
    unit.iter().map(|message| char::from(message.tag)).collect()
}

/// While definitions are read nobody can look into statements, and the server is asked after each what it left in the
/// session. It dies before it has answered, while the client has the next units on their way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_plain_statement_nobody_could_look_into_outlives_the_primary() {
    let mut replicated = synchronous(&[]).await;
    let world = &replicated.world;
    let other = world.client().await;
    let mut raw = Raw::connect(world.port()).await.unwrap();
    let mut out = Vec::new();
    parse(&mut out, "s", INSERT);
    sync(&mut out);
    raw.send(&out).await.unwrap();
    assert_eq!(tags(&raw.unit().await.unwrap()), "1");
    let (holder, admin) = (world.admin().await, world.admin().await);
    // The one is part of all definitions, the other of what a session holds.
    let locks = "BEGIN; LOCK TABLE pg_catalog.pg_policy, pg_catalog.pg_cursors IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(locks).await.unwrap();
    other.batch_execute("CREATE TABLE later (a int)").await.unwrap();
    eventually("definitions to be read", || waiting(&admin, "relation", 1)).await;
    let mut out = Vec::new();
    run(&mut out, "s", &["first"]);
    sync(&mut out);
    raw.send(&out).await.unwrap();
    assert_eq!(tags(&raw.unit().await.unwrap()), "2C");
    eventually("a session to be asked for", || asked_for_cursors(&admin)).await;
    let mut out = Vec::new();
    close(&mut out, "s");
    sync(&mut out);
    parse(&mut out, "t", INSERT);
    run(&mut out, "t", &["second"]);
    sync(&mut out);
    raw.send(&out).await.unwrap();
    replicated.world.postgres.kill().unwrap();
    take_over(&mut replicated).await;
    assert_eq!(tags(&raw.unit().await.unwrap()), "3");
    assert_eq!(tags(&raw.unit().await.unwrap()), "12C");
    let made = simple(&other, "SELECT string_agg(id, ' ' ORDER BY id) FROM made").await;
    assert_eq!(made, ["first second"]);
}

/// Reading definitions gives up and begins anew; who asks what a session holds waits on.
async fn asked_for_cursors(admin: &tokio_postgres::Client) -> bool {
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'relation' AND query LIKE '%pg_cursors%'";
    admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
}

/// Several units are under way, and none of them can have changed anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_in_a_row_that_change_nothing_are_told_40001_and_not_that_nobody_knows() {
    let mut replicated = synchronous(&[]).await;
    let world = &replicated.world;
    let mut raw = Raw::connect(world.port()).await.unwrap();
    let (holder, admin) = (world.admin().await, world.admin().await);
    let lock = "BEGIN; LOCK TABLE pairs IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.unwrap();
    let mut out = Vec::new();
    query(&mut out, "SELECT count(*) FROM pairs /* banyan: fresh=primary */");
    parse(&mut out, "t", INSERT);
    sync(&mut out);
    raw.send(&out).await.unwrap();
    eventually("a read that waits", || waiting(&admin, "relation", 1)).await;
    replicated.world.postgres.kill().unwrap();
    take_over(&mut replicated).await;
    for _ in 0..2 {
        let told = raw.unit().await.unwrap();
        assert_eq!((tags(&told).as_str(), told[0].code().as_str()), ("E", "40001"));
    }
    let mut out = Vec::new();
    query(&mut out, "INSERT INTO made VALUES ('later')");
    raw.send(&out).await.unwrap();
    assert_eq!(tags(&raw.unit().await.unwrap()), "C");
}

/// The statement is acknowledged, for the new primary has it; what it set in its session has nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_was_lost_with_its_server_is_not_hidden_behind_an_acknowledgement() {
    let mut replicated = synchronous(&[]).await;
    let replica = connect(&replicated.replicas[0].url()).await.unwrap();
    let client = replicated.world.client().await;
    client
        .batch_execute("SET synchronous_commit = remote_apply")
        .await
        .unwrap();
    replica
        .batch_execute("SELECT pg_wal_replay_pause()")
        .await
        .unwrap();
    let crash = die_unanswered(&mut replicated, &replica, 1);
    let insert = "INSERT INTO made VALUES (set_config('my.tenant', 'a', false))";
    let (made, ()) = tokio::join!(client.batch_execute(insert), crash);
    made.unwrap();
    let gone = client.batch_execute("SELECT 1").await.unwrap_err();
    assert!(gone.is_closed() || code(&gone) == "57P01", "{gone}");
    let late = replicated.world.client().await;
    assert_eq!(simple(&late, "SELECT count(*) FROM made").await, ["1"]);
}
