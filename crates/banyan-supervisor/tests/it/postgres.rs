//! A real PostgreSQL server: made, started, entered with a password only, stopped, started again with its data.
//!
//! As root the server runs as user `postgres`, else as whoever runs the tests.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::world::{World, free_port, is_alive};
use banyan_config::{DatabaseAddress, Durability};
use banyan_supervisor::engine::postgres::{self, PostgresError, Server};
use banyan_topology::{Database, Node, NodeId};
use tokio_postgres::NoTls;

pub(crate) fn node(number: u32) -> (NodeId, Node) {
    let id = NodeId(number);
    (
        id,
        Node {
            id,
            port: free_port(),
            dir: None,
        },
    )
}

pub(crate) fn server(world: &World) -> Server {
    let installation = postgres::choose(&postgres::installed(&[]), None, None).unwrap();
    let run_as = postgres::run_as().unwrap();
    let secrets = world.path().join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    Server {
        database: Database {
            version: installation.major,
            nodes: BTreeMap::from([node(1)]),
            primary: NodeId(1),
            durability: Durability::Async,
            memory_bytes: 64 << 20,
            max_connections: 20,
            name: "photos".to_owned(),
            user: "photos-app".to_owned(),
            backup: None,
            settings: BTreeMap::new(),
        },
        node: NodeId(1),
        bin: installation.bin,
        data: postgres::place(world.path(), "photos", &run_as, NodeId(1), None).unwrap(),
        secrets,
        log: world.path().join("logs/postgres.log"),
        run_as,
    }
}

/// One query as the app; `Err`: what the server said.
pub(crate) async fn query(address: &DatabaseAddress, sql: &str) -> Result<String, String> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(&address.host)
        .port(address.port)
        .user(&address.user)
        .dbname(&address.name);
    if !address.password.is_empty() {
        config.password(&address.password);
    }
    let (client, connection) = config
        .connect(NoTls)
        .await
        .map_err(|error| format!("{error:?}"))?;
    let work = async {
        let rows = client
            .query(sql, &[])
            .await
            .map_err(|error| format!("{error:?}"))?;
        Ok(rows.first().map_or(String::new(), |row| row.get(0)))
    };
    tokio::select! {
        result = work => result,
        Err(error) = connection => Err(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_a_database_that_only_a_password_opens_and_that_keeps_its_data() {
    let world = World::new();
    let mut server = server(&world);
    server.start(&world.handle).await.unwrap();
    let address = server.address().unwrap();
    assert_eq!(address.password.len(), 64);

    // The app owns its database and nothing of the server.
    query(&address, "CREATE TABLE note (text text)").await.unwrap();
    query(&address, "INSERT INTO note VALUES ('kept')").await.unwrap();
    let refused = query(&address, "CREATE DATABASE other").await.unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
    assert_eq!(query(&address, "SHOW data_checksums").await.unwrap(), "on");
    assert_eq!(query(&address, "SHOW server_encoding").await.unwrap(), "UTF8");
    assert_eq!(query(&address, "SHOW shared_buffers").await.unwrap(), "16MB");

    let wrong = DatabaseAddress {
        password: "wrong".to_owned(),
        ..address.clone()
    };
    assert!(query(&wrong, "SELECT 'in'").await.is_err());
    for role in ["photos-app", "postgres"] {
        let without = DatabaseAddress {
            password: String::new(),
            user: role.to_owned(),
            ..address.clone()
        };
        let error = query(&without, "SELECT 'in'").await.unwrap_err();
        assert!(error.contains("password missing"), "{error}");
    }
    secrets_are_kept(&world, &address.password);

    let pid = world.until_ready("postgres").await.pid.unwrap();
    let report = world.handle.stop(&postgres::child_id(NodeId(1))).await.unwrap();
    assert_eq!(report.how, "exit code 0");
    assert!(!is_alive(pid));

    // Another memory budget at the next start; the data is as it was.
    server.database.memory_bytes = 128 << 20;
    server.start(&world.handle).await.unwrap();
    assert_eq!(query(&address, "SELECT text FROM note").await.unwrap(), "kept");
    assert_eq!(query(&address, "SHOW shared_buffers").await.unwrap(), "32MB");
    world.end().await;
}

fn secrets_are_kept(world: &World, password: &str) {
    for entry in fs::read_dir(world.path().join("secrets")).unwrap().flatten() {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    for name in ["logs/postgres.log", "children.json"] {
        let text = fs::read_to_string(world.path().join(name)).unwrap_or_default();
        assert!(!text.contains(password), "{name} shows a password");
    }
    assert!(!world.path().join("data/postgres.password").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_server_with_live_backends_is_restarted_by_itself() {
    let world = World::new();
    let server = server(&world);
    server.start(&world.handle).await.unwrap();
    let address = server.address().unwrap();
    let before = world.until_ready("postgres").await;
    let pid = rustix::process::Pid::from_raw(before.pid.unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    world
        .until("postgres", |status| {
            status.restarts == 1 && status.pid != before.pid
        })
        .await;
    server.provision_when_back().await;
    assert_eq!(query(&address, "SELECT 'back'").await.unwrap(), "back");
    // SIGKILL to everything at once leaves nothing behind, backends included.
    let data = server.data.clone();
    world.handle.kill_all().await;
    assert!(processes_in(&data).is_empty());
    world.end().await;
}

trait Back {
    async fn provision_when_back(&self);
}

impl Back for Server {
    async fn provision_when_back(&self) {
        let back = async {
            while !self.answers().await.unwrap() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(crate::world::PATIENCE, back).await.unwrap();
    }
}

fn processes_in(data: &PathBuf) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes
        .filter(|path| fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == *data))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_initdb_that_was_cut_short_is_begun_anew() {
    let world = World::new();
    let server = server(&world);
    // What a killed initdb leaves, and what a full disk leaves: half a directory under the temporary name.
    let unfinished = world.path().join("data/postgres.unfinished");
    fs::create_dir_all(&unfinished).unwrap();
    fs::write(unfinished.join("PG_VERSION"), "15\n").unwrap();
    server.start(&world.handle).await.unwrap();
    assert!(!unfinished.exists());
    assert_eq!(
        query(&server.address().unwrap(), "SELECT 'whole'").await.unwrap(),
        "whole"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_another_major_version_and_other_folders_are_left_alone() {
    let world = World::new();
    let server = server(&world);
    fs::create_dir_all(&server.data).unwrap();
    fs::write(server.data.join("notes.txt"), "mine").unwrap();
    let error = server.start(&world.handle).await.unwrap_err();
    assert!(matches!(error, PostgresError::NotData { .. }), "{error}");
    fs::write(server.data.join("PG_VERSION"), "9\n").unwrap();
    let error = server.start(&world.handle).await.unwrap_err();
    assert!(
        matches!(error, PostgresError::OtherMajor { data: 9, .. }),
        "{error}"
    );
    assert_eq!(fs::read_to_string(server.data.join("notes.txt")).unwrap(), "mine");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_and_a_wrong_setting_are_named_and_leave_nothing_running() {
    let world = World::new();
    let mut server = server(&world);
    let other = std::net::TcpListener::bind(("127.0.0.1", server.port())).unwrap();
    let error = server.start(&world.handle).await.unwrap_err();
    assert!(matches!(error, PostgresError::PortInUse { .. }), "{error}");
    drop(other);
    server
        .database
        .settings
        .insert("work_memm".to_owned(), "1MB".to_owned());
    let error = server.start(&world.handle).await.unwrap_err().to_string();
    assert!(
        error.contains("unrecognized configuration parameter \"work_memm\""),
        "{error}"
    );
    assert!(world.handle.status().await.is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_file_of_a_dead_server_does_not_prevent_the_start() {
    let world = World::new();
    let server = server(&world);
    server.start(&world.handle).await.unwrap();
    world.handle.stop(&postgres::child_id(NodeId(1))).await.unwrap();
    // As after a power failure, when its number meanwhile belongs to another program of the same user.
    let mut sleeper = world.spec("sleeper", &["sleep", "1000"]);
    sleeper.user = server.run_as.clone();
    world.handle.start(sleeper).await.unwrap();
    let pid = world.until_ready("sleeper").await.pid.unwrap();
    let lock = format!(
        "{pid}\n{}\n0\n{}\n\n127.0.0.1\n0 0\nready\n",
        server.data.display(),
        server.port()
    );
    fs::write(server.data.join("postmaster.pid"), lock).unwrap();
    server.start(&world.handle).await.unwrap();
    assert_eq!(
        query(&server.address().unwrap(), "SELECT 'up'").await.unwrap(),
        "up"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_outlived_its_controller_is_taken_over_and_not_started_twice() {
    let mut world = World::new();
    let server = server(&world);
    server.start(&world.handle).await.unwrap();
    let before = world.until_ready("postgres").await.pid;
    world.restart_controller().await;
    server.start(&world.handle).await.unwrap();
    assert_eq!(world.until_ready("postgres").await.pid, before);
    let report = world.handle.stop(&postgres::child_id(NodeId(1))).await.unwrap();
    assert!(!report.killed, "{report:?}");
    assert!(processes_in(&server.data).is_empty());
    world.end().await;
}
