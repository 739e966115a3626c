//! The primary dies and its replica takes over: what waits and what runs by itself sees no error, nothing is lost or doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use banyan_testkit::postgres::connect;
use banyan_topology::NodeId;
use banyan_topology::snapshot::pgproxy::{Bound, Reads};
use tokio_postgres::Client;

use crate::raw::{Raw, query};
use crate::replicated::{Replicated, simple};
use crate::world::{code, eventually};

const TABLES: &str = "CREATE TABLE made (id text PRIMARY KEY); CREATE TABLE pairs (id text, half int)";

/// With one replica that has every acknowledged write.
pub(crate) async fn synchronous(settings: &[&str]) -> Replicated {
    let replicated = Replicated::start(&[settings], Reads::Fresh).await;
    replicated
        .world
        .client()
        .await
        .batch_execute(TABLES)
        .await
        .unwrap();
    let admin = replicated.world.admin().await;
    admin
        .batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        .await
        .unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    eventually("the replica to be synchronous", || async {
        let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    replicated.world.charted().await;
    replicated
}

/// So many of the server's processes wait for this.
pub(crate) async fn waiting(admin: &Client, event: &str, count: i64) -> bool {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = $1";
    admin.query_one(sql, &[&event]).await.unwrap().get::<_, i64>(0) == count
}

/// Alone, it waits for nobody.
async fn promote(replica: &Client) {
    replica
        .batch_execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        .await
        .unwrap();
    replica
        .batch_execute("SELECT pg_reload_conf(); SELECT pg_promote()")
        .await
        .unwrap();
}

/// What the controller does once the primary is gone for sure.
pub(crate) async fn take_over(replicated: &mut Replicated) {
    let replica = connect(&replicated.replicas[0].url()).await.unwrap();
    eventually("the log to be replayed", || async {
        let sql = "SELECT pg_last_wal_replay_lsn() = pg_last_wal_receive_lsn()
                          AND NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')";
        replica.query_one(sql, &[]).await.unwrap().get(0)
    })
    .await;
    let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8";
    let xid: i64 = replica.query_one(sql, &[]).await.unwrap().get(0);
    promote(&replica).await;
    let bound = Bound {
        xid: u64::try_from(xid).unwrap(),
        timeline: 2,
    };
    replicated
        .world
        .publish(|snapshot| {
            snapshot.database.primary = Some(NodeId(2));
            snapshot.database.bound = Some(bound);
        })
        .await;
}

/// The primary dies when so many commits wait for its replica, which has them by then.
pub(crate) async fn die_unanswered(replicated: &mut Replicated, replica: &Client, commits: i64) {
    let admin = replicated.world.admin().await;
    eventually("commits that wait", || waiting(&admin, "SyncRep", commits)).await;
    // They wait from before they are sent.
    let written = &simple(&admin, "SELECT pg_current_wal_flush_lsn()").await[0];
    eventually("the replica to have them", || async {
        let sql = "SELECT pg_last_wal_receive_lsn() >= $1::text::pg_lsn";
        replica.query_one(sql, &[written]).await.unwrap().get(0)
    })
    .await;
    replicated.world.postgres.kill().unwrap();
    replica
        .batch_execute("SELECT pg_wal_replay_resume()")
        .await
        .unwrap();
    take_over(replicated).await;
}

/// Inserts until told to stop; every insert must succeed. Odd ones by the extended protocol, some with RETURNING.
async fn insert(client: Client, number: u32, end: Arc<AtomicBool>, done: Arc<AtomicU32>) {
    let prepared = client
        .prepare("INSERT INTO made VALUES ($1) RETURNING id")
        .await
        .unwrap();
    let mut round = 0;
    while !end.load(SeqCst) {
        let id = format!("{number}-{round}");
        if round % 2 == 0 {
            let sql = format!("INSERT INTO made VALUES ('{id}')");
            client.simple_query(&sql).await.unwrap();
        } else {
            let row = client.query_one(&prepared, &[&id]).await.unwrap();
            assert_eq!(row.get::<_, String>(0), id);
        }
        round += 1;
        done.fetch_add(1, SeqCst);
    }
}

/// Reads until told to stop; no read may fail. Prepared once: a client that sends the Close of its last statement right before
/// the next one has two units under way, and is told 40001.
async fn read(client: Client, end: Arc<AtomicBool>) {
    let count = client.prepare("SELECT count(*) FROM made").await.unwrap();
    while !end.load(SeqCst) {
        client.query_one(&count, &[]).await.unwrap();
    }
}

/// Transactions of two rows each; one that fails says 40001, left nothing and is tried again on the same connection.
async fn pairs(client: Client, number: u32, end: Arc<AtomicBool>, again: Arc<AtomicU32>) {
    let mut round = 0;
    while !end.load(SeqCst) {
        let first = format!("INSERT INTO pairs VALUES ('{number}-{round}', 1)");
        let second = format!("INSERT INTO pairs VALUES ('{number}-{round}', 2)");
        let mut result = Ok(());
        for sql in ["BEGIN", &first, &second, "COMMIT"] {
            result = client.batch_execute(sql).await;
            if result.is_err() {
                break;
            }
        }
        match result {
            Ok(()) => round += 1,
            Err(error) => {
                assert_eq!(code(&error), "40001", "{error}");
                again.fetch_add(1, SeqCst);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_primary_dies_single_statements_see_no_error_and_nothing_is_doubled() {
    let mut replicated = synchronous(&[]).await;
    let (end, done, again) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicU32::new(0)),
    );
    let mut running = Vec::new();
    for number in 0..6 {
        let client = replicated.world.client().await;
        let (end, done, again) = (Arc::clone(&end), Arc::clone(&done), Arc::clone(&again));
        running.push(match number {
            0..3 => replicated.world.spawn(insert(client, number, end, done)),
            3 => replicated.world.spawn(read(client, end)),
            _ => replicated.world.spawn(pairs(client, number, end, again)),
        });
    }
    let reached = |wanted| {
        let done = Arc::clone(&done);
        move || {
            let enough = done.load(SeqCst) >= wanted;
            async move { enough }
        }
    };
    eventually("inserts", reached(100)).await;
    replicated.world.postgres.kill().unwrap();
    take_over(&mut replicated).await;
    let before = done.load(SeqCst);
    eventually("inserts on the new primary", reached(before + 100)).await;
    // A login needs the server, too.
    let late = replicated.world.client().await;
    end.store(true, SeqCst);
    for client in running {
        client.await.unwrap().unwrap();
    }
    let made = simple(&late, "SELECT count(*) FROM made").await;
    assert_eq!(made, [done.load(SeqCst).to_string()], "acknowledged, and no more");
    let halves = "SELECT count(*) FROM (SELECT id FROM pairs GROUP BY id HAVING count(*) <> 2) broken";
    assert_eq!(simple(&late, halves).await, ["0"]);
}

/// The commit is on the replica, and the primary dies before it says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_acknowledged_if_the_new_primary_has_it() {
    let mut replicated = synchronous(&[]).await;
    let database = "ALTER DATABASE app SET synchronous_commit = remote_apply";
    replicated
        .world
        .admin()
        .await
        .batch_execute(database)
        .await
        .unwrap();
    let replica = connect(&replicated.replicas[0].url()).await.unwrap();
    let (single, whole) = (replicated.world.client().await, replicated.world.client().await);
    let prepared = single
        .prepare("INSERT INTO made VALUES ('single') RETURNING id")
        .await
        .unwrap();
    // Backends that were connected before know nothing of the setting.
    for client in [&single, &whole] {
        client
            .batch_execute("SET synchronous_commit = remote_apply")
            .await
            .unwrap();
    }
    whole
        .batch_execute("BEGIN; INSERT INTO made VALUES ('whole')")
        .await
        .unwrap();
    replica
        .batch_execute("SELECT pg_wal_replay_pause()")
        .await
        .unwrap();
    let crash = die_unanswered(&mut replicated, &replica, 2);
    let (row, committed, ()) = tokio::join!(
        single.query_one(&prepared, &[]),
        whole.batch_execute("COMMIT"),
        crash
    );
    assert_eq!(row.unwrap().get::<_, String>(0), "single");
    committed.unwrap();
    assert_eq!(
        simple(&single, "SELECT string_agg(id, ' ' ORDER BY id) FROM made").await,
        ["single whole"]
    );
}

/// The commit is on the primary's disk alone: the new primary has never seen it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_new_primary_has_not_is_made_again_or_told_40001() {
    let mut replicated = synchronous(&[]).await;
    let replica = connect(&replicated.replicas[0].url()).await.unwrap();
    let (single, whole) = (replicated.world.client().await, replicated.world.client().await);
    whole
        .batch_execute("BEGIN; INSERT INTO made VALUES ('whole')")
        .await
        .unwrap();
    replica
        .batch_execute("ALTER SYSTEM SET primary_conninfo = ''")
        .await
        .unwrap();
    replica.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let admin = replicated.world.admin().await;
    eventually("nobody to follow", || async {
        let sql = "SELECT count(*) FROM pg_stat_replication";
        admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    let crash = async {
        eventually("commits that wait", || waiting(&admin, "SyncRep", 2)).await;
        replicated.world.postgres.kill().unwrap();
        take_over(&mut replicated).await;
    };
    let (made, lost, ()) = tokio::join!(
        single.query_one("INSERT INTO made VALUES ('single') RETURNING id", &[]),
        whole.batch_execute("COMMIT"),
        crash
    );
    assert_eq!(made.unwrap().get::<_, String>(0), "single");
    assert_eq!(code(&lost.unwrap_err()), "40001");
    let there = "SELECT string_agg(id, ' ' ORDER BY id) FROM made";
    assert_eq!(simple(&whole, there).await, ["single"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_was_open_is_told_40001_and_locks_that_were_lost_57p01() {
    let mut replicated = synchronous(&[]).await;
    let world = &replicated.world;
    let [open, undone, locked, other] = [
        world.client().await,
        world.client().await,
        world.client().await,
        world.client().await,
    ];
    for client in [&open, &undone] {
        client
            .batch_execute("BEGIN; INSERT INTO made VALUES (random()::text)")
            .await
            .unwrap();
    }
    locked.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
    other.batch_execute("SET work_mem = '9MB'").await.unwrap();
    // Answered once the server was asked what the session is.
    assert_eq!(simple(&other, "SHOW work_mem").await, ["9MB"]);
    replicated.world.postgres.kill().unwrap();
    take_over(&mut replicated).await;
    let told = open.batch_execute("INSERT INTO made VALUES ('x')").await;
    assert_eq!(code(&told.unwrap_err()), "40001");
    assert_eq!(simple(&open, "SELECT count(*) FROM made").await, ["0"]);
    undone.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(simple(&other, "SHOW work_mem").await, ["9MB"]);
    let gone = locked.batch_execute("SELECT 1").await.unwrap_err();
    assert!(gone.is_closed() || code(&gone) == "57P01", "{gone}");
}

/// Not a crash: the server says why, and so does the proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_an_administrator_ends_ends_with_the_servers_words() {
    let replicated = synchronous(&[]).await;
    let (ended, other) = (replicated.world.client().await, replicated.world.client().await);
    let admin = replicated.world.admin().await;
    let terminate = async {
        eventually("a statement to end", || async {
            let sql =
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
        })
        .await;
    };
    let (told, ()) = tokio::join!(ended.batch_execute("BEGIN; SELECT pg_sleep(60)"), terminate);
    assert_eq!(code(&told.unwrap_err()), "57P01");
    assert_eq!(simple(&other, "SELECT count(*) FROM made").await, ["0"]);
}

/// A server that is still a replica is not written to, whatever the snapshot says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_wait_until_the_new_primary_is_one() {
    let mut replicated = synchronous(&[]).await;
    let client = replicated.world.client().await;
    replicated.world.postgres.kill().unwrap();
    replicated
        .world
        .publish(|snapshot| snapshot.database.primary = Some(NodeId(2)))
        .await;
    let promote = async {
        let waiting = replicated
            .world
            .handle
            .clone()
            .wait_for(|report| report.waiting > 0)
            .await;
        assert!(waiting.is_some());
        let replica = connect(&replicated.replicas[0].url()).await.unwrap();
        promote(&replica).await;
    };
    let (made, ()) = tokio::join!(client.batch_execute("INSERT INTO made VALUES ('late')"), promote);
    made.unwrap();
}

/// With one server only: it starts again in place, and what waited never notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_single_server_goes_on_when_it_is_back() {
    let mut world = crate::world::World::start(crate::world::pool(3)).await;
    let client = world.client().await;
    client
        .batch_execute("SET synchronous_commit = on; CREATE TABLE t (a int)")
        .await
        .unwrap();
    // Answered once the server was asked what the session is.
    world.charted().await;
    for _ in 0..2 {
        assert_eq!(simple(&client, "SHOW synchronous_commit").await, ["on"]);
    }
    world.postgres.kill().unwrap();
    let config = world.config();
    let back = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.postgres.restart(&[]).unwrap();
    };
    let (made, late, ()) = tokio::join!(
        client.batch_execute("INSERT INTO t VALUES (1)"),
        config.connect(tokio_postgres::NoTls),
        back
    );
    made.unwrap();
    late.map(|_| ()).unwrap();
    assert_eq!(simple(&client, "SELECT count(*) FROM t").await, ["1"]);
}

/// The wrapping is not to be seen: tags, rows, notices, errors at the statement and at the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guarded_statement_looks_like_any_other() {
    let replicated = synchronous(&[]).await;
    let client = replicated.world.client().await;
    client
        .batch_execute(
            "CREATE TABLE parent (id int PRIMARY KEY);
             CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        )
        .await
        .unwrap();
    let early = client.batch_execute("INSERT INTO made VALUES (NULL)").await;
    assert_eq!(code(&early.unwrap_err()), "23502");
    let at_commit = client.simple_query("INSERT INTO child VALUES (1)").await;
    assert_eq!(code(&at_commit.unwrap_err()), "23503");
    let at_commit = client.execute("INSERT INTO child VALUES (1)", &[]).await;
    assert_eq!(code(&at_commit.unwrap_err()), "23503");
    assert_eq!(simple(&client, "SELECT count(*) FROM child").await, ["0"]);
    let count = client
        .execute("INSERT INTO parent SELECT generate_series(1, 5)", &[])
        .await
        .unwrap();
    assert_eq!(count, 5);
    let many = client
        .query(
            "INSERT INTO made SELECT repeat('x', 100) || n FROM generate_series(1, 3000) n RETURNING id",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(many.len(), 3000);
    client
        .batch_execute("BEGIN; DELETE FROM made; COMMIT")
        .await
        .unwrap();
    assert_eq!(simple(&client, "SELECT count(*) FROM made").await, ["0"]);
}

/// Its answer is kept back until the commit, however slowly the client reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guarded_statement_answers_a_client_that_reads_slowly() {
    let replicated = synchronous(&[]).await;
    let mut raw = Raw::connect(replicated.world.port()).await.unwrap();
    let mut out = Vec::new();
    let rows = "SELECT n || repeat('x', 1000) FROM generate_series(1, 20000) n";
    query(&mut out, &format!("INSERT INTO made {rows} RETURNING id"));
    raw.send(&out).await.unwrap();
    let admin = replicated.world.admin().await;
    eventually("the server to wait for the client", || async {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'";
        admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    let answer = raw.unit().await.unwrap();
    assert_eq!(answer.len(), 20_002, "columns, rows, success");
    assert_eq!(answer.last().unwrap().tag, b'C');
}
