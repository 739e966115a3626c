//! Real servers that follow each other: copied, promoted, rewound, copied anew.

use std::time::Duration;

use banyan_config::Durability;
use banyan_supervisor::engine::postgres::Server;
use banyan_topology::NodeId;

use crate::postgres::{node, query, server};
use crate::world::World;

/// The server of this number in the same database, as the topology would have it with this primary.
fn of(world: &World, like: &Server, number: u32, primary: u32) -> Server {
    let mut server = like.clone();
    server.node = NodeId(number);
    server.database.primary = NodeId(primary);
    let place = banyan_supervisor::engine::postgres::place;
    server.data = place(world.path(), "photos", &server.run_as, server.node, None).unwrap();
    server.log = world.path().join(format!("logs/{}.log", server.id()));
    server
}

/// A primary with one replica.
async fn pair(world: &World, durability: Durability) -> (Server, Server) {
    let first = server(world);
    first.start(&world.handle).await.unwrap();
    query(&first.address().unwrap(), "CREATE TABLE note (text text)")
        .await
        .unwrap();
    let mut with_two = first.clone();
    with_two.database.nodes.extend([node(2)]);
    with_two.database.durability = durability;
    let replica = of(world, &with_two, 2, 1);
    replica.follow(&world.handle, &with_two).await.unwrap();
    with_two.reload().await.unwrap();
    (with_two, replica)
}

async fn write(server: &Server, text: &str) {
    let statement = format!("INSERT INTO note VALUES ('{text}')");
    query(&server.address().unwrap(), &statement).await.unwrap();
}

/// What a server has, once `others` have it too.
async fn notes(server: &Server) -> String {
    let statement = "SELECT coalesce(string_agg(text, ' ' ORDER BY text), '') FROM note";
    query(&server.address().unwrap(), statement).await.unwrap()
}

async fn until_notes(server: &Server, expected: &str) {
    let mut last = String::new();
    for _ in 0..200 {
        last = notes(server).await;
        if last == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{} has `{last}`, not `{expected}`", server.node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_copied_streams_and_takes_over_and_the_old_primary_comes_back_behind_it() {
    let world = World::new();
    let (first, replica) = pair(&world, Durability::Sync).await;
    first.synchronous(Duration::from_secs(10)).await.unwrap();
    write(&first, "one").await;
    until_notes(&replica, "one").await;
    let refused = query(&replica.address().unwrap(), "INSERT INTO note VALUES ('x')").await;
    assert!(refused.unwrap_err().contains("read-only"));
    let seen = replica.facts().await.unwrap().system_identifier;
    assert_eq!(
        [
            first.system_identifier().unwrap(),
            replica.system_identifier().unwrap()
        ],
        [seen; 2]
    );

    // The primary dies; nothing of it is left when it is fenced.
    world.handle.fence(&first.id()).await.unwrap();
    let facts = replica.caught_up(Duration::from_secs(5)).await.unwrap();
    assert!(facts.in_recovery && facts.replayed >= facts.received, "{facts:?}");
    let bound = replica.bound().await.unwrap();
    assert_eq!(bound.timeline, 2);
    let second = of(&world, &first, 2, 2);
    second.promote().await.unwrap();
    // Twice is once.
    second.promote().await.unwrap();
    assert!(!second.facts().await.unwrap().in_recovery);

    // A synchronous write waits until the old one is back, as a replica.
    let rejoining = of(&world, &first, 1, 2);
    rejoining.follow(&world.handle, &second).await.unwrap();
    write(&second, "two").await;
    until_notes(&rejoining, "one two").await;
    let followers = second.followers().await.unwrap();
    assert_eq!(followers.len(), 1);
    assert_eq!(followers[0].name, "db1");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_primary_alone_had_written_is_undone_when_it_comes_back() {
    let world = World::new();
    let (first, replica) = pair(&world, Durability::Async).await;
    write(&first, "one").await;
    until_notes(&replica, "one").await;
    // The replica is cut off, so what follows is only the primary's.
    world.handle.fence(&replica.id()).await.unwrap();
    write(&first, "lost").await;
    world.handle.fence(&first.id()).await.unwrap();

    let second = of(&world, &first, 2, 2);
    // It was stopped as a replica and is one until it is promoted.
    replica.come_up(&world.handle).await.unwrap();
    second.promote().await.unwrap();
    write(&second, "two").await;
    let rejoining = of(&world, &first, 1, 2);
    rejoining.follow(&world.handle, &second).await.unwrap();
    until_notes(&rejoining, "one two").await;
    // It was not copied: only what had parted was.
    assert!(
        world.log("db1").contains("pg_rewind: Done!") || world.log("postgres").contains("pg_rewind: Done!")
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_away_too_long_is_copied_anew() {
    let world = World::new();
    let (first, replica) = pair(&world, Durability::Async).await;
    world.handle.stop(&replica.id()).await.unwrap();
    // Another primary's history: its data fits nobody.
    std::fs::remove_file(replica.data.join("global/pg_control")).unwrap();
    write(&first, "one").await;
    replica.follow(&world.handle, &first).await.unwrap();
    until_notes(&replica, "one").await;
    assert!(!replica.data.with_extension("former").exists());
    world.end().await;
}

/// Lower numbers than the log asks for that it has not replayed yet: PostgreSQL would end it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_away_while_a_number_was_lowered_goes_on_with_its_data() {
    let world = World::new();
    let (mut first, mut replica) = pair(&world, Durability::Async).await;
    world.handle.stop(&replica.id()).await.unwrap();
    let kept = replica.data.join("kept");
    std::fs::write(&kept, "").unwrap();
    world.handle.stop(&first.id()).await.unwrap();
    for server in [&mut first, &mut replica] {
        server.database.max_connections = 15;
    }
    first.start(&world.handle).await.unwrap();
    replica.follow(&world.handle, &first).await.unwrap();
    write(&first, "one").await;
    until_notes(&replica, "one").await;
    assert!(kept.exists(), "it was copied");
    let offered = "SELECT current_setting('max_connections')";
    let address = replica.address().unwrap();
    assert_eq!(query(&address, offered).await.unwrap(), "20");
    world.handle.stop(&replica.id()).await.unwrap();
    replica.follow(&world.handle, &first).await.unwrap();
    assert_eq!(query(&address, offered).await.unwrap(), "15");
    assert!(kept.exists(), "it was copied");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verifiers_are_told_to_the_proxy_alone_and_not_of_administrators() {
    let world = World::new();
    let server = server(&world);
    server.start(&world.handle).await.unwrap();
    let mut proxy = server.address().unwrap();
    proxy.user = "banyan_pgproxy".to_owned();
    proxy.password = std::fs::read_to_string(world.path().join("secrets/postgres-banyan_pgproxy")).unwrap();
    let ask = |name: &str| format!("SELECT coalesce(banyan.verifier('{name}'), 'nothing')");
    let verifier = query(&proxy, &ask("photos-app")).await.unwrap();
    assert!(verifier.starts_with("SCRAM-SHA-256$4096:"), "{verifier}");
    for hidden in ["postgres", "banyan_replication", "pg_monitor", "nobody"] {
        assert_eq!(query(&proxy, &ask(hidden)).await.unwrap(), "nothing");
    }
    let refused = query(&server.address().unwrap(), &ask("photos-app"))
        .await
        .unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
    // The app owns its database, not this.
    let refused = query(&server.address().unwrap(), "DROP SCHEMA banyan CASCADE")
        .await
        .unwrap_err();
    assert!(refused.contains("must be owner"), "{refused}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_has_the_rows_of_shared_tables_and_not_the_tables() {
    let world = World::new();
    let server = server(&world);
    server.start(&world.handle).await.unwrap();
    let app = server.address().unwrap();
    let text = |sql: &str| format!("WITH done AS ({sql} RETURNING 1) SELECT 'done'");
    for allowed in [
        "INSERT INTO banyan.invalidation (key) VALUES ('user:7')",
        "UPDATE banyan.invalidation SET applied_at = now()",
        "DELETE FROM banyan.invalidation",
        "INSERT INTO banyan.count_mark VALUES ('views', 7)",
    ] {
        assert_eq!(query(&app, &text(allowed)).await.unwrap(), "done", "{allowed}");
    }
    // What an app's own table tells the cache by.
    let own = "CREATE TABLE users (id bigint PRIMARY KEY)";
    query(&app, own).await.ok();
    query(&app, "SELECT banyan.track('users', 'user:{id}')::text")
        .await
        .ok();
    query(&app, "INSERT INTO users VALUES (7)").await.ok();
    let told = query(&app, "SELECT key FROM banyan.invalidation").await.unwrap();
    assert_eq!(told, "user:7");
    for refused in [
        "CREATE TABLE banyan.verifiers (name text)",
        "CREATE FUNCTION banyan.verifier(name) RETURNS text LANGUAGE sql AS 'SELECT NULL'",
        "DROP TABLE banyan.invalidation",
        "TRUNCATE banyan.session",
        "ALTER TABLE banyan.session ADD COLUMN more text",
        "CREATE TRIGGER evil AFTER INSERT ON banyan.invalidation EXECUTE FUNCTION banyan.tracked()",
        "UPDATE banyan.installed SET version = 1",
    ] {
        let error = query(&app, refused).await.unwrap_err();
        assert!(
            error.contains("permission denied") || error.contains("must be owner"),
            "{refused}: {error}"
        );
    }
    world.end().await;
}
