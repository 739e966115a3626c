//! What comes behind a write in one unit, while replicas answer reads: the proxy puts a BEGIN and a COMMIT of its own around it.

use banyan_topology::snapshot::pgproxy::Reads;

use crate::raw::{Message, Raw, message, parse, query, run, sync};
use crate::replicated::{Replicated, simple};
use crate::world::eventually;

/// A row into `cold`, then these.
fn behind_a_write(out: &mut Vec<u8>, statements: &[&str]) {
    for sql in [&["INSERT INTO cold VALUES (1)"], statements].concat() {
        parse(out, "", sql);
        run(out, "", &[]);
    }
}

/// What a unit has begun with becomes part of the transaction that it begins (psycopg's pipelines), though its BEGIN was ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_begins_behind_a_write_of_its_unit_is_the_clients() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    for (controls, end, left) in [
        (&["BEGIN"][..], "ROLLBACK", "0"),
        (&["BEGIN"], "COMMIT", "2"),
        (&["COMMIT", "BEGIN"], "ROLLBACK", "1"),
        (&["ROLLBACK", "BEGIN"], "COMMIT", "1"),
    ] {
        client.batch_execute("TRUNCATE cold").await.unwrap();
        let mut raw = Raw::connect(replicated.world.port()).await.unwrap();
        let mut out = Vec::new();
        behind_a_write(&mut out, controls);
        sync(&mut out);
        query(&mut out, "INSERT INTO cold VALUES (2)");
        query(&mut out, end);
        raw.send(&out).await.unwrap();
        for _ in 0..3 {
            let found = raw.unit().await.unwrap();
            let failed: Vec<_> = found
                .iter()
                .filter(|m| m.tag == b'E')
                .map(Message::code)
                .collect();
            assert!(failed.is_empty(), "{controls:?}: {failed:?}");
        }
        assert_eq!(
            simple(&client, "SELECT count(*) FROM cold").await,
            [left],
            "{controls:?}, {end}"
        );
    }
}

/// What is no BEGIN and no end of one leaves the transaction ours, to be committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_behind_a_write_of_its_unit_is_committed_with_it() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    let mut raw = Raw::connect(replicated.world.port()).await.unwrap();
    let mut out = Vec::new();
    behind_a_write(&mut out, &["DO $$ BEGIN INSERT INTO cold VALUES (2); END $$"]);
    sync(&mut out);
    raw.send(&out).await.unwrap();
    let found = raw.unit().await.unwrap();
    assert!(found.iter().all(|m| m.tag != b'E'), "{found:?}");
    assert_eq!(simple(&client, "SELECT count(*) FROM cold").await, ["2"]);
}

/// A write's answer is kept back until it is committed; what else its unit reads would fill the memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_behind_a_write_of_its_unit_is_not_kept_back() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let mut raw = Raw::connect(replicated.world.port()).await.unwrap();
    let mut out = Vec::new();
    behind_a_write(
        &mut out,
        &[
            "SELECT repeat('x', 1000), CASE WHEN n = 500 THEN pg_sleep(600) END FROM generate_series(1, 1000) n",
        ],
    );
    sync(&mut out);
    raw.send(&out).await.unwrap();
    // The rows before the pause come before it ends.
    while raw.next().await.unwrap().tag != b'D' {}
    Raw::cancel(raw.port, raw.key).await.unwrap();
    let found = raw.unit().await.unwrap();
    assert_eq!(found.last().map(Message::code).as_deref(), Some("57014"));
    let client = replicated.world.client().await;
    assert_eq!(simple(&client, "SELECT count(*) FROM cold").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_behind_a_write_of_its_unit_is_answered_and_committed_with_it() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let mut raw = Raw::connect(replicated.world.port()).await.unwrap();
    let mut out = Vec::new();
    behind_a_write(&mut out, &[]);
    // reverse('x')
    let mut body = 3062_u32.to_be_bytes().to_vec();
    body.extend([0, 0, 0, 1, 0, 0, 0, 1, b'x', 0, 0]);
    message(&mut out, b'F', &body);
    raw.send(&out).await.unwrap();
    let found = raw.unit().await.unwrap();
    assert_eq!(found.last().map(|m| m.tag), Some(b'V'), "{found:?}");
    let client = replicated.world.client().await;
    assert_eq!(simple(&client, "SELECT count(*) FROM cold").await, ["1"]);
}

/// It commits when it is executed, in a unit of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_bound_in_an_earlier_unit_is_read_by_all() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=300ms"]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    let mut raw = Raw::connect(replicated.world.port()).await.unwrap();
    let read = "SELECT v, which() FROM register WHERE k = 0";
    for round in 1..=2 {
        let mut out = Vec::new();
        query(&mut out, "BEGIN");
        query(&mut out, &format!("UPDATE register SET v = {round} WHERE k = 0"));
        parse(&mut out, "", "COMMIT");
        message(&mut out, b'B', b"c\0\0\0\0\0\0\0\0");
        sync(&mut out);
        raw.send(&out).await.unwrap();
        for _ in 0..3 {
            raw.unit().await.unwrap();
        }
        eventually("a read on the replica", || async {
            simple(&client, read).await[1] == "replica"
        })
        .await;
        let mut out = Vec::new();
        message(&mut out, b'E', b"c\0\0\0\0\0");
        sync(&mut out);
        raw.send(&out).await.unwrap();
        raw.unit().await.unwrap();
        assert_eq!(simple(&client, read).await[0], round.to_string());
    }
}
