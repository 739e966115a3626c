//! A PostgreSQL server with an app's role and database, and a proxy before it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use banyan_config::{MeasureSettings, PoolMode, PoolSettings};
use banyan_pgproxy::{Config, Handle};
use banyan_runtime::shutdown::{self, ShutdownTrigger};
use banyan_runtime::{ShutdownStage, TaskKind, Tasks};
use banyan_testkit::postgres::{Postgres, connect};
use banyan_topology::snapshot::pgproxy::{PgAuth, PgDatabase, PgNode, PgproxySnapshot};
use banyan_topology::{Epoch, NodeId};
use tokio_postgres::{Client, SimpleQueryMessage};

pub(crate) const PASSWORD: &str = "app's pass";

/// What the supervisor makes on a managed server.
const SETUP: &str = r"
    CREATE ROLE app LOGIN PASSWORD 'app''s pass';
    CREATE ROLE other LOGIN PASSWORD 'other';
    CREATE ROLE team NOLOGIN;
    GRANT team TO app;
    CREATE ROLE banyan_control LOGIN PASSWORD 'control';
    GRANT pg_monitor TO banyan_control;
    CREATE DATABASE app OWNER app;
";
const FUNCTION: &str = r"
    CREATE SCHEMA banyan;
    CREATE FUNCTION banyan.verifier(name text) RETURNS text LANGUAGE sql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS
        'SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = name AND rolcanlogin AND NOT rolsuper
         AND (rolvaliduntil IS NULL OR rolvaliduntil > now())';
    GRANT USAGE ON SCHEMA banyan TO banyan_control;
    GRANT CREATE ON SCHEMA public TO app, other;
";

pub(crate) struct World {
    pub(crate) postgres: Postgres,
    pub(crate) snapshot: PgproxySnapshot,
    pub(crate) handle: Handle,
    pub(crate) folder: tempfile::TempDir,
    trigger: ShutdownTrigger,
    tasks: Tasks,
    role: tokio::task::JoinHandle<Option<()>>,
}

pub(crate) fn pool(size: u32) -> PoolSettings {
    PoolSettings {
        size,
        max_clients: 1000,
        wait: Duration::from_secs(10),
        mode: PoolMode::Transaction,
    }
}

impl World {
    pub(crate) async fn start(pool: PoolSettings) -> Self {
        Self::start_with(pool, |_, _| {}).await
    }

    pub(crate) async fn start_with(
        pool: PoolSettings,
        change: impl FnOnce(&mut PgproxySnapshot, &std::path::Path),
    ) -> Self {
        let postgres = Postgres::start().unwrap();
        let admin = connect(&postgres.url()).await.unwrap();
        for statement in SETUP.split(';').filter(|s| !s.trim().is_empty()) {
            admin.batch_execute(statement).await.unwrap();
        }
        let admin = connect(&postgres.url_of("app")).await.unwrap();
        admin.batch_execute(FUNCTION).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("snapshots")).unwrap();
        let password_file = folder.path().join("control.password");
        std::fs::write(&password_file, "control\n").unwrap();
        std::fs::set_permissions(&password_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let node: NodeId = "db1".parse().unwrap();
        let mut snapshot = PgproxySnapshot {
            epoch: Epoch(1),
            app: "shop".parse().unwrap(),
            listen: ([127, 0, 0, 1], 0).into(),
            before: BTreeSet::new(),
            certificate: None,
            auth: PgAuth::Function {
                role: "banyan_control".into(),
                password_file,
            },
            admins: Vec::new(),
            database: PgDatabase {
                name: "app".into(),
                nodes: vec![PgNode {
                    id: node,
                    address: ([127, 0, 0, 1], postgres.port()).into(),
                    name: None,
                    socket: None,
                    tls: None,
                    state: banyan_topology::snapshot::pgproxy::NodeState::Active,
                    weight: 1,
                    zone: None,
                    system_identifier: None,
                }],
                primary: Some(node),
                pool,
                reads: banyan_topology::snapshot::pgproxy::Reads::Primary,
                hold: None,
                hold_limit: Duration::from_secs(15),
                bound: None,
                measure: MeasureSettings::default(),
            },
        };
        change(&mut snapshot, folder.path());
        let path = folder.path().join("snapshots/pgproxy.json");
        banyan_runtime::watched::publish(&path, &snapshot).unwrap();
        let (trigger, shutdown) = shutdown::channel();
        let tasks = Tasks::new(trigger.clone());
        let (service, mut handle) = banyan_pgproxy::build(Config::new(folder.path())).unwrap();
        let role = tasks.spawn(TaskKind::Role, "pgproxy", async move {
            service.run(shutdown).await.unwrap();
        });
        let ready = handle.wait_for(|report| !report.listening.is_empty());
        tokio::time::timeout(Duration::from_secs(60), ready)
            .await
            .unwrap()
            .unwrap();
        Self {
            postgres,
            snapshot,
            handle,
            folder,
            trigger,
            tasks,
            role,
        }
    }

    /// Another process of the proxy takes over (here within this one), and the first is told to end. Returns its end.
    pub(crate) async fn succeed(&mut self) -> tokio::task::JoinHandle<Option<()>> {
        let (trigger, shutdown) = shutdown::channel();
        let (service, mut handle) = banyan_pgproxy::build(Config::new(self.folder.path())).unwrap();
        let role = self.tasks.spawn(TaskKind::Role, "pgproxy", async move {
            service.run(shutdown).await.unwrap();
        });
        let ready = handle.wait_for(|report| !report.listening.is_empty());
        tokio::time::timeout(Duration::from_secs(60), ready)
            .await
            .unwrap()
            .unwrap();
        self.handle = handle;
        let first = std::mem::replace(&mut self.trigger, trigger);
        first.advance(ShutdownStage::Draining);
        std::mem::replace(&mut self.role, role)
    }

    pub(crate) fn port(&self) -> u16 {
        self.handle.report().listening[0].port()
    }

    pub(crate) fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port());
        config.user("app").password(PASSWORD).dbname("app");
        config
    }

    /// To the console, as the role that may do everything there.
    pub(crate) fn console(&self) -> tokio_postgres::Config {
        let mut config = self.config();
        config.user("banyan_control").password("control").dbname("banyan");
        config
    }

    pub(crate) async fn client(&self) -> Client {
        self.connect(&self.config()).await.unwrap()
    }

    pub(crate) async fn connect(
        &self,
        config: &tokio_postgres::Config,
    ) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        self.tasks.spawn(
            TaskKind::Connection,
            "client",
            async move { connection.await.is_ok() },
        );
        Ok(client)
    }

    pub(crate) fn spawn(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<Option<()>> {
        self.tasks.spawn(TaskKind::Background, "part of a test", work)
    }

    /// Waits until the proxy has read what definitions there are.
    pub(crate) async fn charted(&self) {
        let console = self.connect(&self.console()).await.unwrap();
        eventually("definitions are read", || async {
            let shown = rows(&console, "SHOW DATABASES").await;
            shown.contains(&vec!["definitions".to_owned(), "read".to_owned()])
        })
        .await;
    }

    /// Not through the proxy.
    pub(crate) async fn admin(&self) -> Client {
        connect(&self.postgres.url_of("app")).await.unwrap()
    }

    /// Publishes the snapshot, changed, and waits until it is served.
    pub(crate) async fn publish(&mut self, change: impl FnOnce(&mut PgproxySnapshot)) {
        self.submit(change);
        let epoch = self.snapshot.epoch;
        let taken = self.handle.wait_for(|report| report.epoch >= epoch);
        tokio::time::timeout(Duration::from_secs(60), taken)
            .await
            .unwrap()
            .unwrap();
    }

    /// Publishes the snapshot, changed.
    pub(crate) fn submit(&mut self, change: impl FnOnce(&mut PgproxySnapshot)) {
        change(&mut self.snapshot);
        self.snapshot.epoch = self.snapshot.epoch.next();
        let path = self.folder.path().join("snapshots/pgproxy.json");
        banyan_runtime::watched::publish(&path, &self.snapshot).unwrap();
    }

    /// How many connections of the app the server has.
    pub(crate) async fn server_connections(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
        self.admin().await.query_one(sql, &[]).await.unwrap().get(0)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.trigger.advance(ShutdownStage::Now);
    }
}

/// Tries until `check` holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !check().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn code(error: &tokio_postgres::Error) -> String {
    error
        .code()
        .map_or_else(|| error.to_string(), |code| code.code().to_owned())
}

/// What the console answers.
pub(crate) async fn rows(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|at| row.get(at).unwrap_or_default().to_owned())
                .collect(),
        ),
        _ => None,
    });
    rows.collect()
}

/// The first column of the first row; NULL says so.
pub(crate) async fn one(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap();
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        _ => None,
    });
    row.unwrap_or_default()
}
