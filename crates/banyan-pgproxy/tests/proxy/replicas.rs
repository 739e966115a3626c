//! Proven reads on real replicas, through the proxy: fresh, monotonic, and run again on the primary where a replica cannot answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use banyan_testkit::Postgres;
use banyan_testkit::postgres::connect;
use banyan_topology::NodeId;
use banyan_topology::snapshot::pgproxy::{NodeState, PgNode, Reads};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::world::{World, code, eventually, pool};

const REGISTERS: i32 = 8;
const TABLES: &str = "
    CREATE TABLE register (k int PRIMARY KEY, v bigint NOT NULL);
    INSERT INTO register SELECT k, 0 FROM generate_series(0, 7) k;
    CREATE TABLE cold (k int);
    CREATE SEQUENCE numbers;
    CREATE FUNCTION which() RETURNS text STABLE LANGUAGE sql AS 'SELECT current_setting(''cluster_name'')';
";

struct Replicated {
    world: World,
    replicas: Vec<Postgres>,
}

fn node(id: u32, postgres: &Postgres) -> PgNode {
    PgNode {
        id: NodeId(id),
        address: ([127, 0, 0, 1], postgres.port()).into(),
        socket: None,
        state: NodeState::Active,
        weight: 1,
        zone: None,
        system_identifier: None,
    }
}

/// Where the next read runs: replicas have a name.
async fn place(client: &Client) -> String {
    client.query_one("SELECT which()", &[]).await.unwrap().get(0)
}

impl Replicated {
    async fn start(settings: &[&[&str]], reads: Reads) -> Self {
        let mut world = World::start(pool(10)).await;
        // The scratch server acknowledges before it writes; replicas would always be late.
        let durable = "ALTER DATABASE app SET synchronous_commit = on";
        world.admin().await.batch_execute(durable).await.unwrap();
        let client = world.client().await;
        client.batch_execute(TABLES).await.unwrap();
        let replicas: Vec<Postgres> = settings
            .iter()
            .map(|settings| {
                world
                    .postgres
                    .replica(&[&["cluster_name=replica"], *settings].concat())
                    .unwrap()
            })
            .collect();
        let nodes: Vec<PgNode> = replicas
            .iter()
            .zip(2..)
            .map(|(replica, id)| node(id, replica))
            .collect();
        world
            .publish(|snapshot| {
                snapshot.database.nodes.extend(nodes);
                snapshot.database.reads = reads;
            })
            .await;
        let replicated = Self { world, replicas };
        let client = replicated.world.client().await;
        // On a busy machine the first base backup's log takes its time.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while place(&client).await != "replica" {
            assert!(tokio::time::Instant::now() < deadline, "no read on a replica");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        replicated
    }
}

#[derive(Default)]
struct Tally {
    reads: AtomicU32,
    stale: AtomicU32,
    back: AtomicU32,
    elsewhere: AtomicU32,
}

async fn simple(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap();
    let row = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.unwrap();
    (0..row.len()).map(|at| row.get(at).unwrap().to_owned()).collect()
}

/// Registers count up: what misses an acknowledged write, or goes back, is a smaller number.
async fn one_client(
    client: Client,
    number: i32,
    rounds: i32,
    writes: bool,
    acknowledged: Arc<Vec<AtomicI64>>,
    tally: Arc<Tally>,
) {
    let read = client
        .prepare("SELECT v, which() FROM register WHERE k = $1")
        .await
        .unwrap();
    let write = client
        .prepare("UPDATE register SET v = v + 1 WHERE k = $1 RETURNING v")
        .await
        .unwrap();
    let mut seen = vec![0; REGISTERS as usize];
    for round in 0..rounds {
        let register = (number * 7 + round) % REGISTERS;
        let at = usize::try_from(register).unwrap();
        if writes && round % 4 == 0 {
            let value: i64 = match round % 3 {
                0 => client.query_one(&write, &[&register]).await.unwrap().get(0),
                1 => simple(
                    &client,
                    &format!("UPDATE register SET v = v + 1 WHERE k = {register} RETURNING v"),
                )
                .await[0]
                    .parse()
                    .unwrap(),
                _ => {
                    client.batch_execute("BEGIN").await.unwrap();
                    let value = client.query_one(&write, &[&register]).await.unwrap().get(0);
                    client.batch_execute("COMMIT").await.unwrap();
                    value
                }
            };
            acknowledged[at].fetch_max(value, SeqCst);
            tokio::time::sleep(Duration::from_millis(4)).await;
            continue;
        }
        let must = acknowledged[at].load(SeqCst);
        let (value, place): (i64, String) = if round % 2 == 0 {
            let row = client.query_one(&read, &[&register]).await.unwrap();
            (row.get(0), row.get(1))
        } else {
            let row = simple(
                &client,
                &format!("SELECT v, which() FROM register WHERE k = {register}"),
            )
            .await;
            (row[0].parse().unwrap(), row[1].clone())
        };
        tally.reads.fetch_add(1, SeqCst);
        tally.elsewhere.fetch_add(u32::from(place == "replica"), SeqCst);
        tally.stale.fetch_add(u32::from(value < must), SeqCst);
        tally.back.fetch_add(u32::from(value < seen[at]), SeqCst);
        seen[at] = value;
    }
}

#[expect(clippy::print_stdout, reason = "the share is what the test is run for")]
async fn load(world: &World, what: &str, clients: i32, rounds: i32) -> (u32, u32, u32, u32) {
    let acknowledged: Arc<Vec<AtomicI64>> = Arc::new((0..REGISTERS).map(|_| AtomicI64::new(0)).collect());
    let tally = Arc::new(Tally::default());
    let mut running = Vec::new();
    for number in 0..clients {
        let client = world.client().await;
        running.push(world.spawn(one_client(
            client,
            number,
            rounds,
            number < 2,
            Arc::clone(&acknowledged),
            Arc::clone(&tally),
        )));
    }
    for client in running {
        client.await.unwrap().unwrap();
    }
    let (reads, elsewhere) = (tally.reads.load(SeqCst), tally.elsewhere.load(SeqCst));
    let (stale, back) = (tally.stale.load(SeqCst), tally.back.load(SeqCst));
    println!(
        "{what}: {reads} reads, {:.1} % on replicas, {stale} stale, {back} went back",
        f64::from(elsewhere) * 100.0 / f64::from(reads)
    );
    (reads, elsewhere, stale, back)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_fresh_and_most_run_on_replicas_when_lag_is_low() {
    let replicated = Replicated::start(&[&[], &[]], Reads::Fresh).await;
    let (reads, elsewhere, stale, back) = load(&replicated.world, "low lag", 6, 250).await;
    assert_eq!((stale, back), (0, 0));
    assert!(elsewhere * 10 > reads * 6, "{elsewhere} of {reads}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_stale_with_a_delayed_and_a_paused_replica() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=300ms"], &[]], Reads::Fresh).await;
    let pauser = connect(&replicated.replicas[1].url()).await.unwrap();
    let pausing = replicated.world.spawn(async move {
        for _ in 0..12 {
            pauser
                .batch_execute("SELECT pg_wal_replay_pause()")
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(60)).await;
            pauser
                .batch_execute("SELECT pg_wal_replay_resume()")
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    let (.., stale, back) = load(&replicated.world, "300 ms and pauses", 6, 250).await;
    assert_eq!((stale, back), (0, 0));
    pausing.await.unwrap().unwrap();
}

/// The check can fail: with `fresh=off` hints the same replica gives stale answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_freshness_the_delayed_replica_is_caught() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=300ms"]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    client
        .batch_execute("UPDATE register SET v = 77 WHERE k = 0")
        .await
        .unwrap();
    let careless = simple(
        &client,
        "/* banyan: fresh=off */ SELECT v, which() FROM register WHERE k = 0",
    )
    .await;
    assert_eq!(careless, ["0", "replica"]);
    for hint in ["", "/* banyan: fresh=primary */", "/* banyan: fresh=index */"] {
        assert_eq!(
            simple(&client, &format!("{hint} SELECT v FROM register WHERE k = 0")).await,
            ["77"],
            "{hint}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_transactions_sequences_and_session_state_stay_on_the_primary() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    let server = "SELECT which()";
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(simple(&client, server).await, [""]);
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(simple(&client, "SELECT nextval('numbers')").await, ["1"]);
    assert_eq!(
        simple(&client, "SELECT which() FROM register LIMIT 1 FOR UPDATE").await,
        [""]
    );
    client
        .batch_execute("CREATE TEMP TABLE mine (a int)")
        .await
        .unwrap();
    assert_eq!(
        simple(&client, server).await,
        [""],
        "its temporary table keeps it on its backend"
    );
    client.batch_execute("DROP TABLE mine").await.unwrap();
    // A batch is routed whole, however it begins.
    client
        .batch_execute("SELECT 1; INSERT INTO cold VALUES (1)")
        .await
        .unwrap();
    assert_eq!(simple(&client, "SELECT count(*) FROM cold").await, ["1"]);
}

/// The settings of the session travel to replicas, and what is prepared there is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_the_same_on_a_replica() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    client
        .batch_execute("SET application_name = 'mine'; SET work_mem = '123kB'")
        .await
        .unwrap();
    let statement = client
        .prepare("SELECT current_setting('work_mem'), which(), $1::int")
        .await
        .unwrap();
    let other = replicated.world.client().await;
    for round in 0..10 {
        let row = client.query_one(&statement, &[&round]).await.unwrap();
        assert_eq!(
            (row.get::<_, String>(0), row.get::<_, i32>(2)),
            ("123kB".to_owned(), round)
        );
        let theirs = simple(&other, "SELECT current_setting('work_mem'), which()").await;
        assert_eq!(theirs[0], "4MB");
    }
    eventually("the statement on a replica", || async {
        client
            .query_one(&statement, &[&1])
            .await
            .unwrap()
            .get::<_, String>(1)
            == "replica"
    })
    .await;
}

/// Errors are the primary's; those that come of being a replica are never seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_cannot_run_runs_again_on_the_primary() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    // Labelled stable, and yet it fails on a standby; the catalog cannot know.
    client
        .batch_execute("CREATE FUNCTION liar() RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN IF pg_catalog.current_setting('transaction_read_only') = 'on' THEN RAISE EXCEPTION 'read only' USING ERRCODE = '25006'; END IF; RETURN 'primary'; END $$")
        .await
        .unwrap();
    let statement = client.prepare("SELECT liar()").await.unwrap();
    for _ in 0..5 {
        assert_eq!(simple(&client, "SELECT liar()").await, ["primary"]);
        assert_eq!(
            client
                .query_one(&statement, &[])
                .await
                .unwrap()
                .get::<_, String>(0),
            "primary"
        );
        assert_eq!(
            client
                .query_one("SELECT liar() WHERE $1", &[&true])
                .await
                .unwrap()
                .get::<_, String>(0),
            "primary"
        );
    }
    assert_eq!(
        code(&client.simple_query("SELECT 1/0").await.unwrap_err()),
        "22012"
    );
    assert_eq!(
        code(&client.simple_query("SELECT * FROM nowhere").await.unwrap_err()),
        "42P01"
    );
    assert_eq!(simple(&client, "SELECT 1").await, ["1"]);
}

/// A query that a replica cancels, because replay must remove rows that it sees, is answered by the primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_with_replay_is_not_seen() {
    let replicated = Replicated::start(&[&["max_standby_streaming_delay=50ms"]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    let slow = client.query_one(
        "SELECT count(*), (SELECT 1 FROM pg_sleep(1)) FROM register, (SELECT which()) w",
        &[],
    );
    let writer = replicated.world.client().await;
    let disturb = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        writer
            .batch_execute("UPDATE register SET v = v + 1")
            .await
            .unwrap();
        writer.batch_execute("VACUUM register").await.unwrap();
        writer
            .batch_execute("ALTER TABLE register ADD COLUMN x int")
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(slow, disturb);
    assert_eq!(answer.unwrap().get::<_, i64>(0), i64::from(REGISTERS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_costs_no_error() {
    let mut replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    let statement = client
        .prepare("SELECT v FROM register WHERE k = $1")
        .await
        .unwrap();
    replicated.replicas.clear();
    for round in 0..50 {
        let row = client
            .query_one(&statement, &[&(round % REGISTERS)])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), 0);
    }
}

/// Long answers stream, and what the client has sent behind them waits for its own backend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_streams_and_the_next_unit_is_routed_anew() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    let long = client.query(
        "SELECT repeat('x', 1000), which() FROM generate_series(1, 5000)",
        &[],
    );
    let write = client.batch_execute("INSERT INTO cold VALUES (1)");
    let count = client.query_one("SELECT count(*) FROM cold", &[]);
    let (long, write, count) = tokio::join!(long, write, count);
    assert_eq!(long.unwrap().len(), 5000);
    write.unwrap();
    assert_eq!(count.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_and_bounded_reads_keep_their_word() {
    let mut replicated = Replicated::start(&[&["recovery_min_apply_delay=200ms"]], Reads::Session).await;
    let (one, two) = (replicated.world.client().await, replicated.world.client().await);
    one.batch_execute("UPDATE register SET v = 5 WHERE k = 1")
        .await
        .unwrap();
    assert_eq!(
        simple(&one, "SELECT v FROM register WHERE k = 1").await,
        ["5"],
        "its own write"
    );
    assert_eq!(
        simple(&two, "SELECT v, which() FROM register WHERE k = 1").await,
        ["0", "replica"],
        "another's"
    );
    let reads = Reads::Bounded {
        lag: Duration::from_secs(5),
    };
    replicated
        .world
        .publish(|snapshot| snapshot.database.reads = reads)
        .await;
    eventually("a bounded read on the replica", || async {
        place(&one).await == "replica"
    })
    .await;
}

/// A replica shows a commit that the primary still hides, because it waits for its synchronous standby. Nobody may see it before its
/// writer is told: who then asked the primary would go back in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_waits_for_its_standby_is_not_shown_by_a_replica() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let world = &replicated.world;
    let admin = connect(&world.postgres.url()).await.unwrap();
    let waits_for = async |standbys: &str| {
        admin
            .batch_execute(&format!(
                "ALTER SYSTEM SET synchronous_standby_names = '{standbys}'"
            ))
            .await
            .unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };
    waits_for("nobody").await;
    let (writer, reader) = (world.client().await, world.client().await);
    eventually("the setting", || async {
        simple(
            &reader,
            "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'",
        )
        .await
            == ["nobody"]
    })
    .await;
    let write = world.spawn(async move {
        writer
            .batch_execute("UPDATE register SET v = 9 WHERE k = 3")
            .await
            .unwrap()
    });
    let replica = connect(&replicated.replicas[0].url_of("app")).await.unwrap();
    eventually("the commit on the replica", || async {
        simple(&replica, "SELECT v FROM register WHERE k = 3").await == ["9"]
    })
    .await;
    for _ in 0..2 {
        assert_eq!(simple(&reader, "SELECT v FROM register WHERE k = 3").await, ["0"]);
    }
    assert!(!write.is_finished());
    waits_for("").await;
    write.await.unwrap().unwrap();
    assert_eq!(simple(&reader, "SELECT v FROM register WHERE k = 3").await, ["9"]);
}

/// Writers that the proxy does not see are for `fresh=index`: the primary is asked after the read has come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_write_is_seen_by_a_read_with_the_index_hint() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=200ms"]], Reads::Fresh).await;
    let (direct, client) = (replicated.world.admin().await, replicated.world.client().await);
    for value in 1..20 {
        direct
            .batch_execute(&format!("UPDATE register SET v = {value} WHERE k = 5"))
            .await
            .unwrap();
        let seen = simple(
            &client,
            "/* banyan: fresh=index */ SELECT v FROM register WHERE k = 5",
        )
        .await;
        assert_eq!(seen, [value.to_string()]);
    }
}

/// What a replica's state is, and why it gets nothing, is in the report.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_says_how_far_replicas_are_and_why_one_gets_nothing() {
    let mut replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let stranger = Postgres::start().unwrap();
    stranger.create_database("app").await.unwrap();
    let admin = connect(&stranger.url()).await.unwrap();
    admin
        .batch_execute(
            "CREATE ROLE banyan_control LOGIN PASSWORD 'control'; GRANT pg_monitor TO banyan_control",
        )
        .await
        .unwrap();
    let strange = node(9, &stranger);
    replicated
        .world
        .publish(|snapshot| snapshot.database.nodes.push(strange))
        .await;
    let handle = replicated.world.handle.clone();
    eventually("the report", || async {
        let nodes = handle.report().nodes;
        let primary = nodes[0].in_recovery == Some(false) && nodes[0].reason.is_none();
        let replica =
            nodes[1].in_recovery == Some(true) && nodes[1].lag_bytes.is_some() && nodes[1].reason.is_none();
        let other =
            nodes[2].reachable && nodes[2].reason.as_deref() == Some("not in recovery: it is no replica");
        primary && replica && other
    })
    .await;
    let mut console = replicated.world.config();
    console.dbname("banyan");
    let console = replicated.world.connect(&console).await.unwrap();
    let shown = console.query("SHOW NODES", &[]).await.unwrap();
    assert_eq!(
        shown[2].get::<_, String>("reason"),
        "not in recovery: it is no replica"
    );
    let route = console
        .query("EXPLAIN ROUTE SELECT v FROM register", &[])
        .await
        .unwrap();
    assert_eq!(route[0].get::<_, String>("value"), "proven read");
    replicated.replicas.clear();
    eventually("the loss in the report", || async {
        let nodes = handle.report().nodes;
        !nodes[1].reachable && nodes[1].reason.as_deref() == Some("not reachable")
    })
    .await;
}

/// A million reads, half of the clients writing too, with a delayed and a paused replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of make drill"]
async fn drill_of_a_million_reads_none_is_stale() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=300ms"], &[]], Reads::Fresh).await;
    let mut reads = 0;
    while reads < 1_000_000 {
        let (more, _, stale, back) = load(&replicated.world, "drill", 32, 4_000).await;
        assert_eq!((stale, back), (0, 0));
        reads += more;
    }
}

/// Ways to change a row that a statement's first word does not show; then what another client must read.
const WAYS: [(&str, &str, &str); 21] = [
    ("INSERT INTO t VALUES (1, 'a')", "SELECT count(*) FROM t", "1"),
    (
        "WITH new AS (INSERT INTO t VALUES (2, 'b') RETURNING id) SELECT id FROM new",
        "SELECT count(*) FROM t",
        "2",
    ),
    ("SELECT add('c')", "SELECT count(*) FROM t", "3"),
    (
        "INSERT INTO child VALUES (1, 1), (2, 2), (3, 3)",
        "SELECT count(*) FROM child",
        "3",
    ),
    ("DELETE FROM t WHERE id = 3", "SELECT count(*) FROM child", "2"),
    ("UPDATE child SET id = id + 10", "SELECT n FROM audited", "2"),
    (
        "UPDATE seen SET what = 'z' WHERE id = 1",
        "SELECT what FROM t WHERE id = 1",
        "z",
    ),
    (
        "DO $$ BEGIN UPDATE t SET what = 'done' WHERE id = 1; END $$",
        "SELECT what FROM t WHERE id = 1",
        "done",
    ),
    (
        "CALL change('called')",
        "SELECT what FROM t WHERE id = 1",
        "called",
    ),
    (
        "SELECT 1; UPDATE t SET what = 'batch' WHERE id = 1; SELECT 2",
        "SELECT what FROM t WHERE id = 1",
        "batch",
    ),
    (
        "PREPARE p AS UPDATE t SET what = $1 WHERE id = 1; EXECUTE p('executed')",
        "SELECT what FROM t WHERE id = 1",
        "executed",
    ),
    (
        "BEGIN; UPDATE t SET what = 'tx' WHERE id = 1; SAVEPOINT a; DELETE FROM t; ROLLBACK TO a; COMMIT",
        "SELECT what FROM t WHERE id = 1",
        "tx",
    ),
    (
        "MERGE INTO t USING (VALUES (1)) m(id) ON t.id = m.id WHEN MATCHED THEN UPDATE SET what = 'merged'",
        "SELECT what FROM t WHERE id = 1",
        "merged",
    ),
    (
        "EXPLAIN ANALYZE UPDATE t SET what = 'explained' WHERE id = 1",
        "SELECT what FROM t WHERE id = 1",
        "explained",
    ),
    (
        "INSERT INTO parts VALUES (1), (2)",
        "SELECT count(*) FROM parts_2",
        "1",
    ),
    ("DELETE FROM parts_2", "SELECT count(*) FROM parts", "1"),
    ("INSERT INTO ruled VALUES (1)", "SELECT n FROM audited", "3"),
    ("REFRESH MATERIALIZED VIEW totals", "SELECT n FROM totals", "2"),
    ("CREATE TABLE made AS SELECT 5 AS n", "SELECT n FROM made", "5"),
    ("ALTER TABLE made RENAME COLUMN n TO m", "SELECT m FROM made", "5"),
    ("TRUNCATE t CASCADE", "SELECT count(*) FROM child", "0"),
];

const WAYS_SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, what text);
    CREATE TABLE child (id int, t_id int REFERENCES t ON DELETE CASCADE);
    CREATE TABLE audited (n bigint);
    INSERT INTO audited VALUES (0);
    CREATE VIEW seen AS SELECT id, what FROM t;
    CREATE FUNCTION add(text) RETURNS void LANGUAGE sql AS 'INSERT INTO t SELECT max(id) + 1, $1 FROM t';
    CREATE PROCEDURE change(text) LANGUAGE sql AS 'UPDATE t SET what = $1 WHERE id = 1';
    CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE audited SET n = n + 1; RETURN NULL; END';
    CREATE TRIGGER audit AFTER UPDATE ON child FOR EACH ROW EXECUTE FUNCTION count_up();
    CREATE TABLE parts (k int) PARTITION BY LIST (k);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
    CREATE TABLE ruled (k int);
    CREATE RULE also AS ON INSERT TO ruled DO ALSO UPDATE audited SET n = n + 1;
    CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM t;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_a_row_is_changed_the_next_read_of_anybody_sees_it() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=150ms"]], Reads::Fresh).await;
    let (writer, reader) = (replicated.world.client().await, replicated.world.client().await);
    writer.batch_execute(WAYS_SCHEMA).await.unwrap();
    for (write, read, wanted) in WAYS {
        writer.batch_execute(write).await.unwrap();
        assert_eq!(simple(&reader, read).await, [wanted], "{read} after {write}");
    }
}
