//! What is known of a real primary and real streaming replicas: positions, definitions, restarts.
//!
//! The clients here are the proxy's cores driven by hand: plan, need, replica, gate, mark. Registers count up, so a read that misses an
//! acknowledged write, or goes back, shows as a smaller number. (`proxy::replicas` has the same through the proxy, under load.)

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use banyan_pgproxy::fresh::{self, ClientFreshness, Entrance, Fresh, Lsn, Need, Nodes, Server};
use banyan_pgproxy::parse::PostgresGrammar;
use banyan_pgproxy::route::{Freshness, Planner, SessionView, Target, decide};
use banyan_runtime::{Clock, TaskKind, Tasks};
use banyan_testkit::Postgres;
use banyan_testkit::postgres::connect;
use banyan_topology::NodeId;
use banyan_topology::snapshot::pgproxy::Reads;
use tokio_postgres::{Client, SimpleQueryMessage};

const REGISTERS: usize = 8;
const FREE: SessionView = SessionView {
    in_transaction: false,
    pinned: false,
    lexable: true,
};

struct World {
    primary: Postgres,
    replicas: Vec<Postgres>,
    fresh: Arc<Fresh>,
}

fn server(id: u32, postgres: &Postgres) -> Server {
    Server {
        id: NodeId(id),
        login: postgres.url().parse().expect("a URL"),
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Clock.now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Clock.now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl World {
    async fn start(replica_settings: &[&[&str]]) -> Self {
        let primary = Postgres::start_with(&["synchronous_commit=on", "wal_writer_delay=10ms"])
            .expect("the primary starts");
        let client = connect(&primary.url()).await.expect("it connects");
        client
            .batch_execute("CREATE TABLE register (k int PRIMARY KEY, v bigint NOT NULL); CREATE TABLE other (k int); CREATE TABLE cold (k int)")
            .await
            .expect("tables");
        client
            .batch_execute("INSERT INTO register SELECT k, 0 FROM generate_series(0, 7) k")
            .await
            .expect("rows");
        let replicas: Vec<Postgres> = replica_settings
            .iter()
            .map(|settings| primary.replica(settings).expect("a replica starts"))
            .collect();
        let (watcher, fresh) = fresh::build();
        let (trigger, _shutdown) = banyan_runtime::shutdown::channel();
        let tasks = Tasks::new(trigger);
        tasks.spawn(TaskKind::Background, "watcher", watcher.run(tasks.clone()));
        let world = Self {
            primary,
            replicas,
            fresh,
        };
        world.fresh.nodes(world.nodes());
        let fresh = &world.fresh;
        until("the catalog", async || fresh.catalog().is_some()).await;
        until("the replicas", async || {
            fresh
                .view()
                .replicas
                .iter()
                .all(|replica| replica.observed.is_ok())
        })
        .await;
        world
    }

    fn nodes(&self) -> Nodes {
        let replicas = self
            .replicas
            .iter()
            .zip(2..)
            .map(|(replica, id)| (server(id, replica), 1))
            .collect();
        let primary = server(1, &self.primary);
        let definitions = Entrance {
            config: primary.login.clone(),
            tls: None,
        };
        Nodes {
            definitions: Some(definitions),
            primary: Some(primary),
            replicas,
        }
    }
}

/// A backend on a replica, with what vouches for it.
struct Backend {
    client: Client,
    connected: Instant,
    replayed: Lsn,
}

impl Backend {
    async fn connect(url: &str) -> Self {
        let client = connect(url).await.expect("it connects");
        let row = client
            .query_one("SELECT coalesce(pg_last_wal_replay_lsn(), '0/0')::text", &[])
            .await
            .expect("a position");
        Self {
            connected: Clock.now(),
            replayed: row.get::<_, &str>(0).parse().expect("a position"),
            client,
        }
    }
}

#[derive(Default)]
struct Tally {
    replicas: AtomicU32,
    primary: AtomicU32,
    stale: AtomicU32,
    back: AtomicU32,
}

struct App {
    fresh: Arc<Fresh>,
    planner: Planner<PostgresGrammar>,
    freshness: ClientFreshness,
    primary: Client,
    replicas: Vec<Backend>,
    acknowledged: Arc<Vec<AtomicI64>>,
    tally: Arc<Tally>,
    seen: [i64; REGISTERS],
}

async fn value(client: &Client, sql: &str) -> Result<Option<String>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    Ok(messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

impl App {
    async fn new(world: &World, acknowledged: &Arc<Vec<AtomicI64>>, tally: &Arc<Tally>) -> Self {
        let mut replicas = Vec::new();
        for replica in &world.replicas {
            replicas.push(Backend::connect(&replica.url()).await);
        }
        Self {
            fresh: Arc::clone(&world.fresh),
            planner: Planner::new(PostgresGrammar),
            freshness: ClientFreshness::default(),
            primary: connect(&world.primary.url()).await.expect("it connects"),
            replicas,
            acknowledged: Arc::clone(acknowledged),
            tally: Arc::clone(tally),
            seen: [0; REGISTERS],
        }
    }

    /// One unit, as the proxy would run it.
    async fn run(&mut self, sql: &str) -> Option<String> {
        self.planner.follow(self.fresh.catalog());
        let plan = self.planner.plan(sql.as_bytes());
        let route = decide([&*plan], FREE, &Reads::Fresh);
        match route.target {
            Target::Replica { tables, freshness } => {
                let needed = self.freshness.needs(&self.fresh.marks, &tables, freshness);
                let need = needed.map_or(Need::Nothing, Need::Epoch);
                let candidates = self.fresh.wait_for_candidates(need).await;
                for at in candidates.iter().flat_map(|candidates| &candidates.replicas) {
                    let backend = &self.replicas[*at];
                    let view = &candidates.as_ref().expect("there are some").view;
                    if !view.replicas[*at].vouches_for(backend.connected, backend.replayed) {
                        continue;
                    }
                    let answer = value(&backend.client, sql).await;
                    let gate = self.fresh.commits.before(&tables);
                    if let (Ok(answer), true) = (answer, self.fresh.gate(&gate, Duration::from_secs(1)).await)
                    {
                        self.tally.replicas.fetch_add(1, SeqCst);
                        return answer;
                    }
                }
                let answer = value(&self.primary, sql).await.expect("the primary answers");
                self.freshness
                    .primary_read(&self.fresh.marks, &self.fresh.commits);
                self.tally.primary.fetch_add(1, SeqCst);
                answer
            }
            Target::Primary(_) => {
                let ticket = self.fresh.begin(&route.effect);
                let answer = value(&self.primary, sql).await.expect("the primary answers");
                if !route.effect.is_none() {
                    let epoch = self.fresh.changed(&route.effect, plan.generation);
                    self.freshness.wrote(epoch);
                }
                if let Some(ticket) = ticket {
                    self.fresh.end(ticket);
                }
                answer
            }
        }
    }

    async fn write(&mut self, register: usize) {
        let value = self
            .run(&format!(
                "UPDATE register SET v = v + 1 WHERE k = {register} RETURNING v"
            ))
            .await;
        let value: i64 = value.expect("a row").parse().expect("a number");
        self.acknowledged[register].fetch_max(value, SeqCst);
    }

    async fn read(&mut self, register: usize) {
        let must = self.acknowledged[register].load(SeqCst);
        let value = self
            .run(&format!("SELECT v FROM register WHERE k = {register}"))
            .await;
        let value: i64 = value.expect("a row").parse().expect("a number");
        if value < must {
            self.tally.stale.fetch_add(1, SeqCst);
        }
        if value < self.seen[register] {
            self.tally.back.fetch_add(1, SeqCst);
        }
        self.seen[register] = value;
    }
}

fn registers() -> Arc<Vec<AtomicI64>> {
    Arc::new((0..REGISTERS).map(|_| AtomicI64::new(0)).collect())
}

#[expect(clippy::print_stdout, reason = "the figures are what the test is run for")]
fn say(what: &str, tally: &Tally) {
    let (replicas, primary) = (tally.replicas.load(SeqCst), tally.primary.load(SeqCst));
    let share = f64::from(replicas) * 100.0 / f64::from(replicas + primary).max(1.0);
    println!(
        "{what}: {} reads, {share:.1} % of them on replicas, {} stale, {} went back",
        replicas + primary,
        tally.stale.load(SeqCst),
        tally.back.load(SeqCst)
    );
}

/// Tables that nobody writes are served by a replica however far behind it is with others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_table_is_read_from_a_replica_that_is_behind() {
    let world = World::start(&[&["recovery_min_apply_delay=200ms"]]).await;
    let (acknowledged, tally) = (registers(), Arc::new(Tally::default()));
    let mut app = App::new(&world, &acknowledged, &tally).await;
    // It was made before the replica, so nothing of it is late for long.
    until("the replica to know the past", async || {
        let before = tally.replicas.load(SeqCst);
        app.run("SELECT count(*) FROM cold").await;
        tally.replicas.load(SeqCst) > before
    })
    .await;
    let before = tally.replicas.load(SeqCst);
    for _ in 0..20 {
        app.run("INSERT INTO other VALUES (1)").await;
        app.run("SELECT count(*) FROM cold").await;
    }
    assert_eq!(tally.replicas.load(SeqCst) - before, 20);
}

/// Definitions are under every read: a table made, or a function redefined, counts from its acknowledgement on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_are_fresh_too() {
    let world = World::start(&[&["recovery_min_apply_delay=100ms"]]).await;
    let (acknowledged, tally) = (registers(), Arc::new(Tally::default()));
    let mut app = App::new(&world, &acknowledged, &tally).await;
    app.run("CREATE FUNCTION f() RETURNS int STABLE LANGUAGE sql AS 'SELECT 1'")
        .await;
    for number in 0..5 {
        app.run(&format!("CREATE TABLE t{number} AS SELECT {number} AS v"))
            .await;
        assert_eq!(
            app.run(&format!("SELECT v FROM t{number}")).await,
            Some(number.to_string())
        );
        app.run(&format!(
            "CREATE OR REPLACE FUNCTION f() RETURNS int STABLE LANGUAGE sql AS 'SELECT {number} + 10'"
        ))
        .await;
        assert_eq!(app.run("SELECT f()").await, Some((number + 10).to_string()));
    }
}

/// A standby that was restarted serves from an earlier position than it had reported: no backend of the new run may serve on the old word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_replica_is_asked_again_before_it_serves() {
    let mut world = World::start(&[&[]]).await;
    let (acknowledged, tally) = (registers(), Arc::new(Tally::default()));
    for round in 0..3 {
        let mut app = App::new(&world, &acknowledged, &tally).await;
        for _ in 0..20 {
            app.write(round).await;
            app.read(round).await;
        }
        // From here on it replays late, so what it shows after the restart is old.
        world.replicas[0]
            .restart(&["recovery_min_apply_delay=300ms"])
            .expect("it starts again");
        let mut app = App::new(&world, &acknowledged, &tally).await;
        for _ in 0..20 {
            app.read(round).await;
        }
    }
    say("restarts", &tally);
    assert_eq!(tally.stale.load(SeqCst), 0);
}

/// What is no replica of this primary gets nothing, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_no_replica_are_not_eligible() {
    let world = World::start(&[&[]]).await;
    let stranger = Postgres::start().expect("it starts");
    let mut nodes = world.nodes();
    nodes.replicas.push((server(7, &stranger), 1));
    let gone = Server {
        id: NodeId(8),
        login: "postgres://postgres@127.0.0.1:1/postgres".parse().expect("a URL"),
    };
    nodes.replicas.push((gone, 1));
    world.fresh.nodes(nodes);
    let reasons = || -> Vec<String> {
        let view = world.fresh.view();
        view.replicas
            .iter()
            .map(|replica| {
                replica
                    .observed
                    .map_or_else(|why| why.to_string(), |_| "eligible".to_owned())
            })
            .collect()
    };
    until("the verdicts", async || {
        reasons() == ["eligible", "not in recovery: it is no replica", "not reachable"]
    })
    .await;
    drop(stranger);
    until("the loss", async || reasons()[1] == "not reachable").await;
    assert_eq!(
        Freshness::Tables.to_string(),
        "fresh: all that was acknowledged on these tables"
    );
}
