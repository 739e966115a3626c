//! Flush: what is answered and has no Sync yet is not committed, and its server connection nobody else's.

use crate::raw::{Message, Raw, execute, message, parse, sync};
use crate::world::{World, one, pool};

fn flush(out: &mut Vec<u8>) {
    message(out, b'H', &[]);
}

fn bind(out: &mut Vec<u8>) {
    message(out, b'B', &[0, 0, 0, 0, 0, 0, 0, 0]);
}

async fn until(raw: &mut Raw, tag: u8) -> Vec<Message> {
    let mut found = Vec::new();
    loop {
        let next = raw.next().await.unwrap();
        assert_ne!(next.tag, b'E', "{}", next.code());
        found.push(next);
        if found.last().is_some_and(|last| last.tag == tag) {
            return found;
        }
    }
}

/// A row is inserted and the client has seen that; its Sync is still to come.
async fn inserted(world: &World) -> Raw {
    let mut raw = Raw::connect(world.port()).await.unwrap();
    let mut out = Vec::new();
    parse(&mut out, "", "INSERT INTO t VALUES (1)");
    bind(&mut out);
    execute(&mut out, 0);
    flush(&mut out);
    raw.send(&out).await.unwrap();
    until(&mut raw, b'C').await;
    raw
}

async fn rows(world: &World) -> String {
    one(&world.client().await, "SELECT count(*) FROM t").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_sync_yet_is_not_touched_by_others() {
    let world = World::start(pool(2)).await;
    let other = world.client().await;
    other.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    for synced in 1..=5 {
        let mut raw = inserted(&world).await;
        for _ in 0..3 {
            other.batch_execute("SELECT 1 / 0").await.unwrap_err();
            assert_eq!(
                one(&other, "SELECT count(*) FROM t").await,
                (synced - 1).to_string(),
                "committed without its Sync"
            );
        }
        let mut out = Vec::new();
        sync(&mut out);
        raw.send(&out).await.unwrap();
        until(&mut raw, b'Z').await;
        assert_eq!(
            rows(&world).await,
            synced.to_string(),
            "rolled back with another's"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_sync_is_undone_when_its_client_goes() {
    let world = World::start(pool(1)).await;
    let other = world.client().await;
    other.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    for _ in 0..5 {
        drop(inserted(&world).await);
        assert_eq!(rows(&world).await, "0");
    }
}

/// As postgres.js reads by a cursor: no Sync before its end. Definitions have changed, so the server is to be asked what
/// the statement has left in the session: not before it has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_that_is_read_in_parts_stays_until_its_sync() {
    let world = World::start(pool(2)).await;
    let other = world.client().await;
    for round in 0..5 {
        let sql = format!("CREATE TABLE t{round} (a int)");
        other.batch_execute(&sql).await.unwrap();
        let mut raw = Raw::connect(world.port()).await.unwrap();
        let mut out = Vec::new();
        parse(&mut out, "", "SELECT n FROM generate_series(1, 5) n");
        bind(&mut out);
        let mut read = Vec::new();
        for end in [b's', b's', b'C'] {
            execute(&mut out, 2);
            flush(&mut out);
            raw.send(&out).await.unwrap();
            out.clear();
            read.extend(until(&mut raw, end).await);
            other.batch_execute("SELECT 1").await.unwrap();
        }
        let rows = read.iter().filter(|message| message.tag == b'D');
        let rows: Vec<String> = rows.map(|row| row.columns().concat()).collect();
        assert_eq!(rows, ["1", "2", "3", "4", "5"]);
        sync(&mut out);
        raw.send(&out).await.unwrap();
        until(&mut raw, b'Z').await;
    }
}

/// COPY by the extended protocol: the server ignores the Sync that comes before the data, so another has to follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copied_rows_are_committed_by_the_sync_behind_them() {
    let world = World::start(pool(1)).await;
    let other = world.client().await;
    other.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    let mut raw = Raw::connect(world.port()).await.unwrap();
    let mut out = Vec::new();
    parse(&mut out, "", "COPY t FROM STDIN");
    bind(&mut out);
    execute(&mut out, 0);
    sync(&mut out);
    raw.send(&out).await.unwrap();
    until(&mut raw, b'G').await;
    out.clear();
    message(&mut out, b'd', b"1\n2\n");
    message(&mut out, b'c', &[]);
    flush(&mut out);
    raw.send(&out).await.unwrap();
    until(&mut raw, b'C').await;
    out.clear();
    sync(&mut out);
    raw.send(&out).await.unwrap();
    until(&mut raw, b'Z').await;
    assert_eq!(rows(&world).await, "2");
}

/// As asyncpg prepares: one connection is enough for many that have prepared something and do not go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_only_prepared_holds_no_server_connection() {
    let world = World::start(pool(1)).await;
    let other = world.client().await;
    let mut waiting = Vec::new();
    for number in 1..=3 {
        let mut raw = Raw::connect(world.port()).await.unwrap();
        let mut out = Vec::new();
        parse(&mut out, "mine", &format!("SELECT {number} AS n"));
        message(&mut out, b'D', b"Smine\0");
        flush(&mut out);
        raw.send(&out).await.unwrap();
        until(&mut raw, b'T').await;
        assert_eq!(one(&other, "SELECT 'goes on'").await, "goes on");
        waiting.push((number, raw));
    }
    for (number, mut raw) in waiting {
        let mut out = Vec::new();
        crate::raw::run(&mut out, "mine", &[]);
        sync(&mut out);
        raw.send(&out).await.unwrap();
        let rows = raw.unit().await.unwrap();
        let row = rows.iter().find(|message| message.tag == b'D').unwrap();
        assert_eq!(row.columns(), [number.to_string()]);
    }
}
