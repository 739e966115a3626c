//! Backups of a real server by pgBackRest, and the way back to a moment.

use std::fs;
use std::path::Path;
use std::time::Duration;

use banyan_config::BackupSettings;
use banyan_runtime::Clock;
use banyan_supervisor::engine::postgres::backup::restore::{Restore, RestoreError, Target};
use banyan_supervisor::engine::postgres::backup::{Catalogue, Kind, program};
use banyan_supervisor::engine::postgres::{PostgresError, Server};

use crate::postgres::{query, server};
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(120);

fn settings(path: &Path) -> BackupSettings {
    let second = Duration::from_secs(1);
    BackupSettings {
        path: path.to_owned(),
        full: second * 3600,
        differential: None,
        incremental: None,
        at: "03:00".parse().unwrap(),
        keep: 1,
        limit: LIMIT,
        processes: 1,
        archive_timeout: second * 60,
        queue_bytes: 1 << 30,
    }
}

fn with_backups(world: &World) -> Server {
    let mut server = server(world);
    let repository = world.path().join("backups");
    server.database.backup = Some(settings(&repository));
    server
}

async fn back_up(server: &Server, world: &World, kind: Kind) {
    let outcome = world.handle.run(server.backup(kind), LIMIT).await.unwrap();
    assert!(outcome.success, "{}", outcome.log_tail);
}

fn catalogue(server: &Server) -> Catalogue {
    let path = &server.database.backup.as_ref().unwrap().path;
    program::catalogue(path, server.stanza(), &server.run_as).unwrap()
}

fn restore(server: &Server, into: &Path, target: Target) -> Restore {
    Restore {
        repository: server.database.backup.as_ref().unwrap().path.clone(),
        stanza: server.stanza().to_owned(),
        target,
        into: into.to_owned(),
        bin: server.bin.clone(),
        run_as: server.run_as.clone(),
        processes: 1,
        secrets: server.secrets.clone(),
    }
}

async fn count(server: &Server) -> String {
    let address = server.address().unwrap();
    query(&address, "SELECT count(*)::text FROM notes").await.unwrap()
}

async fn insert(server: &Server, rows: u32) {
    let address = server.address().unwrap();
    let sql = format!("INSERT INTO notes SELECT generate_series(1, {rows}) RETURNING id::text");
    query(&address, &sql).await.unwrap();
}

/// The moment between two writes, by the server's clock.
async fn now(server: &Server) -> u64 {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8::text";
    query(&server.address().unwrap(), sql)
        .await
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_until_a_moment_is_there_after_a_restore_and_nothing_of_later() {
    let world = World::new();
    let mut server = with_backups(&world);
    server.start(&world.handle).await.unwrap();
    server.prepare_backups(&world.handle).await.unwrap();
    server.prepare_backups(&world.handle).await.unwrap();
    server.check_backups(&world.handle).await.unwrap();
    query(&server.address().unwrap(), "CREATE TABLE notes (id int)")
        .await
        .unwrap();
    insert(&server, 10).await;
    back_up(&server, &world, Kind::Full).await;
    back_up(&server, &world, Kind::Incremental).await;
    let found = catalogue(&server);
    let kinds: Vec<Kind> = found.backups.iter().map(|backup| backup.kind).collect();
    assert_eq!(kinds, [Kind::Full, Kind::Incremental]);

    // A backup's end is known in whole seconds.
    let end = found.backups[1].stop_ms;
    while now(&server).await / 1000 <= end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    insert(&server, 5).await;
    let moment = now(&server).await;
    insert(&server, 100).await;
    server.store_log(LIMIT).await.unwrap();
    assert!(!server.archiving().await.unwrap().fails());

    let into = world.path().join("data").join("restored");
    let early = restore(&server, &into, Target::At(found.backups[0].start_ms * 1000));
    assert!(matches!(
        early.check(Clock.unix_ms()),
        Err(RestoreError::BeforeFirst { .. })
    ));

    let at = restore(&server, &into, Target::At(moment));
    let backup = at.check(Clock.unix_ms()).unwrap();
    assert_eq!(backup.kind, Kind::Incremental);
    let restored = at.run(backup, &mut |_| ()).await.unwrap();
    assert_eq!(restored.timeline, 2);
    assert!(matches!(
        at.check(Clock.unix_ms()),
        Err(RestoreError::NotEmpty(_))
    ));

    // It starts like any other data, with the administrator's password of here.
    assert_eq!(count(&server).await, "115");
    world.handle.stop(&server.id()).await;
    let original = server.data.clone();
    server.data = into.clone();
    server.start(&world.handle).await.unwrap();
    assert_eq!(count(&server).await, "15");
    // And stores its log again.
    server.check_backups(&world.handle).await.unwrap();
    world.handle.stop(&server.id()).await;
    fs::remove_dir_all(&into).unwrap();
    server.data = original;

    // Beyond the end of the log there is nothing to restore, and nothing is left of the try.
    let beyond = restore(&server, &into, Target::At(Clock.unix_ms() * 1000));
    let backup = beyond.check(Clock.unix_ms()).unwrap();
    match beyond.run(backup, &mut |_| ()).await {
        Err(RestoreError::LogEnds { last, .. }) => assert!(last.is_some()),
        other => panic!("{other:?}"),
    }
    assert!(!into.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_is_not_verified() {
    let world = World::new();
    let server = with_backups(&world);
    server.start(&world.handle).await.unwrap();
    server.prepare_backups(&world.handle).await.unwrap();
    server.check_backups(&world.handle).await.unwrap();
    query(
        &server.address().unwrap(),
        "CREATE TABLE notes (id int PRIMARY KEY)",
    )
    .await
    .unwrap();
    insert(&server, 1000).await;
    back_up(&server, &world, Kind::Full).await;
    world.handle.stop(&server.id()).await;

    let into = world.path().join("data").join("verify");
    let latest = restore(&server, &into, Target::Latest);
    let backup = latest.check(Clock.unix_ms()).unwrap();
    let stored = server.database.backup.as_ref().unwrap().path.join("backup");
    damage_largest(&stored.join(server.stanza()).join(&backup.label).join("pg_data"));
    let found = latest.verify(backup, &mut |_| ()).await;
    assert!(matches!(found, Err(RestoreError::Copy(_))), "{found:?}");
    assert!(!into.exists());
}

/// Flips a byte of the largest file.
fn damage_largest(folder: &Path) {
    let mut folders = vec![folder.to_owned()];
    let mut largest = (0, folder.to_owned());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.len() > largest.0 {
                largest = (metadata.len(), entry.path());
            }
        }
    }
    let mut bytes = fs::read(&largest.1).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&largest.1, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_of_another_database_is_left_alone() {
    let (one, other) = (World::new(), World::new());
    let first = with_backups(&one);
    first.start(&one.handle).await.unwrap();
    first.prepare_backups(&one.handle).await.unwrap();
    let mut second = server(&other);
    second.database.backup = first.database.backup.clone();
    second.start(&other.handle).await.unwrap();
    let refused = second.prepare_backups(&other.handle).await;
    match refused {
        Err(PostgresError::Backup { reason, .. }) => assert!(reason.contains("do not match"), "{reason}"),
        other => panic!("{other:?}"),
    }
    first.prepare_backups(&one.handle).await.unwrap();
}
