//! What a server connection holds under our names for prepared statements, when SQL and failures go between: what is believed of it is so.

use crate::raw::{Message, Raw, close, message, parse, query, run, sync};
use crate::world::{World, one, pool};

/// The unit's errors; empty: none.
async fn errors(raw: &mut Raw, write: impl FnOnce(&mut Vec<u8>)) -> Vec<String> {
    let mut out = Vec::new();
    write(&mut out);
    raw.send(&out).await.unwrap();
    let found = raw.unit().await.unwrap();
    found
        .iter()
        .filter(|m| m.tag == b'E')
        .map(Message::code)
        .collect()
}

const NONE: [&str; 0] = [];

/// No rollback undoes DEALLOCATE: others on the same connection prepare anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_deallocated_before_a_failure_is_prepared_anew() {
    let world = World::start(pool(1)).await;
    let (a, b) = (world.client().await, world.client().await);
    let mine = a.prepare("SELECT 1").await.unwrap();
    for sql in [
        "DEALLOCATE ALL; SELECT 1/0",
        "BEGIN; DEALLOCATE ALL; ROLLBACK; SELECT 1/0",
    ] {
        a.query_one(&mine, &[]).await.unwrap();
        b.simple_query(sql).await.unwrap_err();
        a.query_one(&mine, &[]).await.unwrap();
    }
    b.simple_query("SELECT 1/0; DEALLOCATE ALL").await.unwrap_err();
    a.query_one(&mine, &[]).await.unwrap();
}

/// Whether the name of the unit before is there has to be known first, and an error comes instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_the_unit_before_behind_an_error_is_not_waited_for() {
    let world = World::start(pool(1)).await;
    let mut raw = Raw::connect(world.port()).await.unwrap();
    let first = errors(&mut raw, |out| {
        parse(out, "mine", "SELECT 1");
        sync(out);
        run(out, "nowhere", &[]);
        run(out, "mine", &[]);
        sync(out);
    });
    assert_eq!(first.await, NONE);
    let second = raw.unit().await.unwrap();
    assert_eq!(second.iter().map(Message::code).collect::<Vec<_>>(), ["26000"]);
}

/// Two names of one text; one of them goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_that_was_deallocated_goes_and_no_other_of_its_text() {
    let world = World::start(pool(1)).await;
    for number in 0..8 {
        let mut raw = Raw::connect(world.port()).await.unwrap();
        let (gone, stays) = (format!("gone{number}"), format!("stays{number}"));
        let prepared = errors(&mut raw, |out| {
            parse(out, &gone, "SELECT 1");
            parse(out, &stays, "SELECT 1");
            sync(out);
        });
        assert_eq!(prepared.await, NONE);
        let deallocated = errors(&mut raw, |out| query(out, &format!("DEALLOCATE {gone}")));
        assert_eq!(deallocated.await, NONE);
        for (name, expected) in [(&stays, vec![]), (&gone, vec!["26000"])] {
            let found = errors(&mut raw, |out| {
                run(out, name, &[]);
                sync(out);
            });
            assert_eq!(found.await, expected, "{name}");
        }
    }
}

/// The Close by which an old statement makes room is skipped like all that stands behind an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_was_to_make_room_behind_an_error_is_still_there() {
    let world = World::start(pool(1)).await;
    let mut raw = Raw::connect(world.port()).await.unwrap();
    let prepared = errors(&mut raw, |out| {
        for number in 0..256 {
            parse(out, &format!("s{number}"), &format!("SELECT {number}"));
        }
        sync(out);
    });
    assert_eq!(prepared.await, NONE);
    let failed = errors(&mut raw, |out| {
        parse(out, "", "SELECT 1/0");
        run(out, "", &[]);
        parse(out, "new", "SELECT 'new'");
        run(out, "new", &[]);
        sync(out);
    });
    assert_eq!(failed.await, ["22012"]);
    for number in 0..256 {
        let name = format!("s{number}");
        let found = errors(&mut raw, |out| {
            run(out, &name, &[]);
            sync(out);
        });
        assert_eq!(found.await, NONE, "{name}");
    }
}

/// Our names show in `pg_prepared_statements`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_deallocates_by_our_name_takes_nothing_from_others() {
    let world = World::start(pool(1)).await;
    let (a, b) = (world.client().await, world.client().await);
    let mine = a.prepare("SELECT 1").await.unwrap();
    let name = one(
        &b,
        "SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT 1'",
    )
    .await;
    assert!(name.starts_with("_bn_"), "{name}");
    b.batch_execute(&format!("DEALLOCATE {name}")).await.unwrap();
    a.query_one(&mine, &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sql_has_prepared_is_closed_by_the_protocol() {
    let world = World::start(pool(1)).await;
    let mut raw = Raw::connect(world.port()).await.unwrap();
    for _ in 0..2 {
        let found = errors(&mut raw, |out| query(out, "PREPARE mine AS SELECT 1"));
        assert_eq!(found.await, NONE);
        let found = errors(&mut raw, |out| {
            close(out, "mine");
            sync(out);
        });
        assert_eq!(found.await, NONE);
    }
}

/// Each portal is executed after both were bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_portals_that_deallocate_are_both_known() {
    let world = World::start(pool(1)).await;
    let other = world.client().await;
    let theirs = [
        other.prepare("SELECT 1").await.unwrap(),
        other.prepare("SELECT 2").await.unwrap(),
    ];
    let mut raw = Raw::connect(world.port()).await.unwrap();
    let found = errors(&mut raw, |out| {
        for (name, sql) in [("a", "SELECT 1"), ("b", "SELECT 2")] {
            parse(out, name, sql);
        }
        sync(out);
        for name in ["a", "b"] {
            parse(out, &format!("without {name}"), &format!("DEALLOCATE {name}"));
            let bind = format!("portal {name}\0without {name}\0\0\0\0\0\0\0");
            message(out, b'B', bind.as_bytes());
        }
        for name in ["a", "b"] {
            message(out, b'E', format!("portal {name}\0\0\0\0\0").as_bytes());
        }
        sync(out);
    });
    assert_eq!(found.await, NONE);
    assert_eq!(
        raw.unit().await.unwrap().iter().filter(|m| m.tag == b'E').count(),
        0
    );
    for theirs in &theirs {
        other.query_one(theirs, &[]).await.unwrap();
    }
}

/// As PostgreSQL answers: the one error that counts, also where several are prepared anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_no_longer_be_prepared_is_told_once() {
    let world = World::start(pool(1)).await;
    let client = world.client().await;
    client.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    let mut raw = Raw::connect(world.port()).await.unwrap();
    let prepared = errors(&mut raw, |out| {
        parse(out, "a", "SELECT a FROM t");
        parse(out, "b", "SELECT a + 1 FROM t");
        sync(out);
    });
    assert_eq!(prepared.await, NONE);
    client.batch_execute("DROP TABLE t").await.unwrap();
    let console = world.connect(&world.console()).await.unwrap();
    console.simple_query("RECONNECT").await.unwrap();
    for _ in 0..2 {
        let found = errors(&mut raw, |out| query(out, "EXECUTE a; EXECUTE b"));
        assert_eq!(found.await, ["42P01"]);
        let found = errors(&mut raw, |out| query(out, "SELECT 1/0"));
        assert_eq!(found.await, ["22012"]);
    }
}
