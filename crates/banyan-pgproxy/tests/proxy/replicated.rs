//! A primary with replicas behind the proxy, and a load that catches stale reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use banyan_testkit::Postgres;
use banyan_topology::NodeId;
use banyan_topology::snapshot::pgproxy::{NodeState, PgNode, Reads};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::world::{World, pool};

pub(crate) const REGISTERS: i32 = 8;
const TABLES: &str = "
    CREATE TABLE register (k int PRIMARY KEY, v bigint NOT NULL);
    INSERT INTO register SELECT k, 0 FROM generate_series(0, 7) k;
    CREATE TABLE cold (k int);
    CREATE SEQUENCE numbers;
    CREATE FUNCTION which() RETURNS text STABLE LANGUAGE sql AS 'SELECT current_setting(''cluster_name'')';
";

pub(crate) struct Replicated {
    pub(crate) world: World,
    pub(crate) replicas: Vec<Postgres>,
}

pub(crate) fn node(id: u32, postgres: &Postgres) -> PgNode {
    PgNode {
        id: NodeId(id),
        address: ([127, 0, 0, 1], postgres.port()).into(),
        name: None,
        socket: None,
        tls: None,
        state: NodeState::Active,
        weight: 1,
        zone: None,
        system_identifier: None,
    }
}

/// Where the next read runs: replicas have a name.
pub(crate) async fn place(client: &Client) -> String {
    client.query_one("SELECT which()", &[]).await.unwrap().get(0)
}

impl Replicated {
    pub(crate) async fn start(settings: &[&[&str]], reads: Reads) -> Self {
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

pub(crate) async fn simple(client: &Client, sql: &str) -> Vec<String> {
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
pub(crate) async fn load(world: &World, what: &str, clients: i32, rounds: i32) -> (u32, u32, u32, u32) {
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
