//! What is measured of statements and of the server, as those see it who ask: the console, the socket, metrics, the report.

use std::time::Duration;

use banyan_runtime::control::Connection;
use banyan_telemetry::Families;
use banyan_telemetry::families::Format;
use banyan_topology::signals::{Signals, StatementSignal};

use crate::world::{World, eventually, pool, rows};

async fn signals(world: &World) -> Signals {
    let path = world.folder.path().join("pgproxy.sock");
    let mut connection = Connection::connect(&path).await.unwrap();
    connection.receive().await.unwrap().unwrap()
}

async fn statement(world: &World, text: &str) -> Option<StatementSignal> {
    let told = signals(world).await;
    told.statements.into_iter().find(|one| one.statement == text)
}

/// Of every process that measures there: one.
async fn page(world: &World) -> String {
    let entries = std::fs::read_dir(world.folder.path().join("metrics")).unwrap();
    let path = entries.map(|entry| entry.unwrap().path()).next().unwrap();
    let mut connection = Connection::connect(&path).await.unwrap();
    let families: Families = connection.receive().await.unwrap().unwrap();
    families.render(Format::Prometheus)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_counted_by_shape_in_both_protocols_and_never_with_values() {
    let world = World::start(pool(2)).await;
    let client = world.client().await;
    client
        .batch_execute("CREATE TABLE t (a int, b text)")
        .await
        .unwrap();
    for at in 0..10 {
        let sql = format!("INSERT INTO t VALUES ({at}, 'secret{at}'), ({at}, 'x') /*request='{at}'*/");
        client.simple_query(&sql).await.unwrap();
    }
    for at in 0..7_i32 {
        let found = client
            .query("SELECT a FROM t WHERE a = $1", &[&at])
            .await
            .unwrap();
        assert_eq!(found.len(), 2);
    }
    let prepared = client.prepare("SELECT b FROM t WHERE a = $1").await.unwrap();
    for at in 0..5_i32 {
        client.query(&prepared, &[&at]).await.unwrap();
    }
    client.simple_query("SELECT 1/0").await.unwrap_err();
    client.query("SELECT 1/(a-a) FROM t", &[]).await.unwrap_err();
    client.batch_execute("BEGIN; SELECT 17; COMMIT").await.unwrap();

    let told = signals(&world).await;
    let of = |text: &str| {
        let found = told.statements.iter().find(|one| one.statement == text);
        let found = found.unwrap_or_else(|| panic!("{text} is none of {:#?}", told.statements));
        (found.totals.calls, found.totals.errors, found.totals.alone)
    };
    assert_eq!(of("INSERT INTO t VALUES (?, ?)"), (10, 0, 10));
    assert_eq!(of("SELECT a FROM t WHERE a = ?"), (7, 0, 7));
    assert_eq!(of("SELECT b FROM t WHERE a = ?"), (5, 0, 5));
    assert_eq!(of("SELECT ? / ?"), (1, 1, 1));
    assert_eq!(of("SELECT ? / (a - a) FROM t"), (1, 1, 1));
    assert_eq!(of("BEGIN; SELECT ?; COMMIT").0, 1);
    let text = serde_json::to_string(&told).unwrap();
    assert!(!text.contains("secret") && !text.contains("request="), "{text}");
    assert!(
        told.statements
            .iter()
            .all(|one| one.totals.p99_us <= Some(one.totals.max_us))
    );

    let page = page(&world).await;
    for line in [
        "db_client_operation_duration_seconds_count{db_system_name=\"postgresql\",db_operation_name=\"INSERT\"} 10",
        "db_client_operation_duration_seconds_count{db_system_name=\"postgresql\",db_operation_name=\"SELECT\"} 14",
        "banyan_pgproxy_clients 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    assert!(!page.contains("secret"), "{page}");
    let console = world.connect(&world.console()).await.unwrap();
    let shown = rows(&console, "SHOW QUERIES").await;
    assert!(
        shown
            .iter()
            .any(|row| row[10] == "SELECT b FROM t WHERE a = ?" && row[1] == "5")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_a_replica_may_answer_are_known_before_there_is_one_and_the_server_tells_of_itself() {
    let world = World::start(pool(2)).await;
    let client = world.client().await;
    client
        .batch_execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5000)")
        .await
        .unwrap();
    for _ in 0..3 {
        client
            .simple_query("SELECT count(*) FROM pg_catalog.pg_class")
            .await
            .unwrap();
        client
            .simple_query("UPDATE t SET a = a WHERE a = 1")
            .await
            .unwrap();
    }
    eventually("definitions are read", || async {
        let told = signals(&world).await;
        told.movable_share.is_some() && told.server.wal_bytes_per_second.is_some()
    })
    .await;
    let read = statement(&world, "SELECT count (*) FROM pg_catalog.pg_class")
        .await
        .unwrap();
    let written = statement(&world, "UPDATE t SET a = a WHERE a = ?").await.unwrap();
    assert_eq!((read.reads_only, written.reads_only), (Some(true), Some(false)));
    let told = signals(&world).await;
    assert!(
        (told.movable_share.unwrap() - 3.0 / 7.0).abs() < 1e-6,
        "{told:#?}"
    );
    assert_eq!(told.server.problem, None);
    let page = page(&world).await;
    for line in [
        "banyan_postgres_up 1",
        "banyan_postgres_max_connections 100",
        "banyan_postgres_deadlocks_total 0",
        "banyan_postgres_transactions_total{outcome=\"commit\"} ",
        "banyan_postgres_blocks_total{from=\"buffers\"} ",
        "banyan_postgres_connections{state=\"",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
    let database = told.server.database.unwrap();
    let smallest_that_there_is = 1 << 20;
    assert!(
        database.bytes > smallest_that_there_is && database.committed > 0,
        "{database:?}"
    );
    let mut handle = world.handle.clone();
    let rate = handle.wait_for(|report| report.units_per_second.is_some());
    tokio::time::timeout(Duration::from_secs(60), rate)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_counted_where_it_is_switched_off_and_slow_ones_are_where_it_is_not() {
    let mut world = World::start_with(pool(1), |snapshot, _| {
        snapshot.database.measure.statements = false
    })
    .await;
    let client = world.client().await;
    client.simple_query("SELECT 1").await.unwrap();
    client.query("SELECT $1::int", &[&1_i32]).await.unwrap();
    let told = signals(&world).await;
    assert_eq!(
        (told.measured, told.statements.len(), told.others.calls),
        (false, 0, 0)
    );
    world
        .publish(|snapshot| {
            snapshot.database.measure.statements = true;
            snapshot.database.measure.slow_query = Duration::from_millis(50);
        })
        .await;
    client.simple_query("SELECT pg_sleep(0.1)").await.unwrap();
    client.query("SELECT pg_sleep($1)", &[&0.1_f64]).await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    let told = signals(&world).await;
    // One by a value in its text, one by a parameter, and the quick one.
    assert_eq!((told.slow, told.statements.len()), (2, 3), "{told:#?}");
    assert!(told.statements[0].totals.max_us >= 100_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_connection_is_counted_apart_from_the_statement() {
    let world = World::start(pool(1)).await;
    let (first, second) = (world.client().await, world.client().await);
    second.simple_query("SELECT 1").await.unwrap();
    first.batch_execute("BEGIN").await.unwrap();
    let waiting = second.simple_query("SELECT 2");
    let (waited, ()) = tokio::join!(waiting, async {
        let mut handle = world.handle.clone();
        handle.wait_for(|report| report.waiting == 1).await.unwrap();
        first.simple_query("SELECT pg_sleep(0.2)").await.unwrap();
        first.batch_execute("COMMIT").await.unwrap();
    });
    waited.unwrap();
    let told = signals(&world).await;
    assert!(
        told.pool_wait.count >= 1 && told.pool_wait.total_us >= 200_000,
        "{told:#?}"
    );
    let found = told
        .statements
        .iter()
        .find(|one| one.statement == "SELECT ?")
        .unwrap();
    assert_eq!(found.totals.calls, 2);
    assert!(found.totals.total_us < told.pool_wait.total_us, "{told:#?}");
}

/// All lines of this process; another test's are told apart by their texts.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn with(&self, part: &str) -> Option<String> {
        let bytes = self.0.lock().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        text.lines().find(|line| line.contains(part)).map(str::to_owned)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_statements_are_logged_with_their_trace_and_without_their_values() {
    let lines = Lines::default();
    let written = lines.clone();
    tracing_subscriber::fmt()
        .json()
        .with_writer(move || written.clone())
        .init();
    let world = World::start_with(pool(1), |snapshot, _| {
        snapshot.database.measure.slow_query = Duration::from_millis(20);
    })
    .await;
    let (first, second) = (
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "5bf92f3577b34da6a3ce929d0e0e4737",
    );
    let client = world.client().await;
    client.simple_query("SELECT 1").await.unwrap();
    let sql =
        format!("SELECT pg_sleep(0.05), 'geheim' /*a='b',traceparent='00-{first}-00f067aa0ba902b7-01'*/");
    client.simple_query(&sql).await.unwrap();
    let slow = client
        .prepare("SELECT pg_sleep($1) AS prepared, $2::text")
        .await
        .unwrap();
    let name = format!("SET application_name = '00-{second}-00f067aa0ba902b7-01'");
    client.batch_execute(&name).await.unwrap();
    client.query(&slow, &[&0.05_f64, &"geheim"]).await.unwrap();
    eventually("both are written", || async {
        lines.with(first).is_some() && lines.with(second).is_some()
    })
    .await;
    let line = lines.with(first).unwrap();
    assert!(line.contains(r#""statement":"SELECT pg_sleep (?), ?""#), "{line}");
    assert!(
        line.contains(r#""user":"app""#) && line.contains(r#""node":"db1""#),
        "{line}"
    );
    let line = lines.with(second).unwrap();
    assert!(
        line.contains("SELECT pg_sleep (?) AS prepared, ?::text"),
        "{line}"
    );
    assert_eq!(lines.with("geheim"), None);
}
