//! Proven reads on real replicas, through the proxy: fresh, monotonic, and run again on the primary where a replica cannot answer.

use std::time::Duration;

use banyan_testkit::Postgres;
use banyan_testkit::postgres::connect;
use banyan_topology::snapshot::pgproxy::Reads;

use crate::replicated::{REGISTERS, Replicated, load, node, place, simple};
use crate::world::{code, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_fresh_and_most_run_on_replicas_when_lag_is_low() {
    let replicated = Replicated::start(&[&[], &[]], Reads::Fresh).await;
    let (reads, elsewhere, stale, back) = load(&replicated.world, "low lag", 6, 250).await;
    assert_eq!((stale, back), (0, 0));
    assert!(elsewhere * 10 > reads * 6, "{elsewhere} of {reads}");
}

/// Replay stops and goes on, again and again.
async fn pauses(url: &str) {
    let replica = connect(url).await.unwrap();
    loop {
        for (sql, length) in [
            ("SELECT pg_wal_replay_pause()", 60),
            ("SELECT pg_wal_replay_resume()", 40),
        ] {
            replica.batch_execute(sql).await.unwrap();
            tokio::time::sleep(Duration::from_millis(length)).await;
        }
    }
}

/// Load with one replica that is 300 ms late and one that stops replaying now and then.
async fn loaded_with_pauses(replicated: &Replicated, what: &str, clients: i32, rounds: i32) -> u32 {
    let url = replicated.replicas[1].url();
    let (reads, _, stale, back) = tokio::select! {
        tally = load(&replicated.world, what, clients, rounds) => tally,
        () = pauses(&url) => unreachable!("pauses have no end"),
    };
    assert_eq!((stale, back), (0, 0));
    reads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_stale_with_a_delayed_and_a_paused_replica() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=300ms"], &[]], Reads::Fresh).await;
    loaded_with_pauses(&replicated, "300 ms and pauses", 6, 250).await;
}

/// The check can fail: with `fresh=off` hints the same replica gives stale answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_freshness_the_delayed_replica_is_caught() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=300ms"]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    client
        .batch_execute("UPDATE register SET v = 77 WHERE k = 0")
        .await
        .unwrap();
    let careless = simple(
        &client,
        "/* banyan: fresh=off */ SELECT v, which() FROM register WHERE k = 0",
    )
    .await;
    assert_eq!(careless, ["0", "replica"]);
    for hint in ["", "/* banyan: fresh=primary */", "/* banyan: fresh=index */"] {
        assert_eq!(
            simple(&client, &format!("{hint} SELECT v FROM register WHERE k = 0")).await,
            ["77"],
            "{hint}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_transactions_sequences_and_session_state_stay_on_the_primary() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    let server = "SELECT which()";
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(simple(&client, server).await, [""]);
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(simple(&client, "SELECT nextval('numbers')").await, ["1"]);
    assert_eq!(
        simple(&client, "SELECT which() FROM register LIMIT 1 FOR UPDATE").await,
        [""]
    );
    client
        .batch_execute("CREATE TEMP TABLE mine (a int)")
        .await
        .unwrap();
    assert_eq!(
        simple(&client, server).await,
        [""],
        "its temporary table keeps it on its backend"
    );
    client.batch_execute("DROP TABLE mine").await.unwrap();
    // A batch is routed whole, however it begins.
    client
        .batch_execute("SELECT 1; INSERT INTO cold VALUES (1)")
        .await
        .unwrap();
    assert_eq!(simple(&client, "SELECT count(*) FROM cold").await, ["1"]);
}

/// The settings of the session travel to replicas, and what is prepared there is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_the_same_on_a_replica() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    client
        .batch_execute("SET application_name = 'mine'; SET work_mem = '123kB'")
        .await
        .unwrap();
    let statement = client
        .prepare("SELECT current_setting('work_mem'), which(), $1::int")
        .await
        .unwrap();
    let other = replicated.world.client().await;
    for round in 0..10 {
        let row = client.query_one(&statement, &[&round]).await.unwrap();
        assert_eq!(
            (row.get::<_, String>(0), row.get::<_, i32>(2)),
            ("123kB".to_owned(), round)
        );
        let theirs = simple(&other, "SELECT current_setting('work_mem'), which()").await;
        assert_eq!(theirs[0], "4MB");
    }
    eventually("the statement on a replica", || async {
        client
            .query_one(&statement, &[&1])
            .await
            .unwrap()
            .get::<_, String>(1)
            == "replica"
    })
    .await;
}

/// Errors are the primary's; those that come of being a replica are never seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_cannot_run_runs_again_on_the_primary() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    // Labelled stable, and yet it fails on a standby; the catalog cannot know.
    client
        .batch_execute("CREATE FUNCTION liar() RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN IF pg_catalog.current_setting('transaction_read_only') = 'on' THEN RAISE EXCEPTION 'read only' USING ERRCODE = '25006'; END IF; RETURN 'primary'; END $$")
        .await
        .unwrap();
    let statement = client.prepare("SELECT liar()").await.unwrap();
    for _ in 0..5 {
        assert_eq!(simple(&client, "SELECT liar()").await, ["primary"]);
        assert_eq!(
            client
                .query_one(&statement, &[])
                .await
                .unwrap()
                .get::<_, String>(0),
            "primary"
        );
        assert_eq!(
            client
                .query_one("SELECT liar() WHERE $1", &[&true])
                .await
                .unwrap()
                .get::<_, String>(0),
            "primary"
        );
    }
    assert_eq!(
        code(&client.simple_query("SELECT 1/0").await.unwrap_err()),
        "22012"
    );
    assert_eq!(
        code(&client.simple_query("SELECT * FROM nowhere").await.unwrap_err()),
        "42P01"
    );
    assert_eq!(simple(&client, "SELECT 1").await, ["1"]);
}

/// A query that a replica cancels, because replay must remove rows that it sees, is answered by the primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_with_replay_is_not_seen() {
    let replicated = Replicated::start(&[&["max_standby_streaming_delay=50ms"]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    let slow = client.query_one(
        "SELECT count(*), (SELECT 1 FROM pg_sleep(1)) FROM register, (SELECT which()) w",
        &[],
    );
    let writer = replicated.world.client().await;
    let disturb = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        writer
            .batch_execute("UPDATE register SET v = v + 1")
            .await
            .unwrap();
        writer.batch_execute("VACUUM register").await.unwrap();
        writer
            .batch_execute("ALTER TABLE register ADD COLUMN x int")
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(slow, disturb);
    assert_eq!(answer.unwrap().get::<_, i64>(0), i64::from(REGISTERS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_costs_no_error() {
    let mut replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    let statement = client
        .prepare("SELECT v FROM register WHERE k = $1")
        .await
        .unwrap();
    replicated.replicas.clear();
    for round in 0..50 {
        let row = client
            .query_one(&statement, &[&(round % REGISTERS)])
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), 0);
    }
}

/// Long answers stream, and what the client has sent behind them waits for its own backend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_streams_and_the_next_unit_is_routed_anew() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    let long = client.query(
        "SELECT repeat('x', 1000), which() FROM generate_series(1, 5000)",
        &[],
    );
    let write = client.batch_execute("INSERT INTO cold VALUES (1)");
    let count = client.query_one("SELECT count(*) FROM cold", &[]);
    let (long, write, count) = tokio::join!(long, write, count);
    assert_eq!(long.unwrap().len(), 5000);
    write.unwrap();
    assert_eq!(count.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_and_bounded_reads_keep_their_word() {
    let mut replicated = Replicated::start(&[&["recovery_min_apply_delay=200ms"]], Reads::Session).await;
    let (one, two) = (replicated.world.client().await, replicated.world.client().await);
    one.batch_execute("UPDATE register SET v = 5 WHERE k = 1")
        .await
        .unwrap();
    assert_eq!(
        simple(&one, "SELECT v FROM register WHERE k = 1").await,
        ["5"],
        "its own write"
    );
    assert_eq!(
        simple(&two, "SELECT v, which() FROM register WHERE k = 1").await,
        ["0", "replica"],
        "another's"
    );
    let reads = Reads::Bounded {
        lag: Duration::from_secs(5),
    };
    replicated
        .world
        .publish(|snapshot| snapshot.database.reads = reads)
        .await;
    eventually("a bounded read on the replica", || async {
        place(&one).await == "replica"
    })
    .await;
}

/// A replica shows a commit that the primary still hides, because it waits for its synchronous standby. Nobody may see it before its
/// writer is told: who then asked the primary would go back in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_waits_for_its_standby_is_not_shown_by_a_replica() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let world = &replicated.world;
    let admin = connect(&world.postgres.url()).await.unwrap();
    let waits_for = async |standbys: &str| {
        admin
            .batch_execute(&format!(
                "ALTER SYSTEM SET synchronous_standby_names = '{standbys}'"
            ))
            .await
            .unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };
    waits_for("nobody").await;
    let (writer, reader) = (world.client().await, world.client().await);
    eventually("the setting", || async {
        simple(
            &reader,
            "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'",
        )
        .await
            == ["nobody"]
    })
    .await;
    let write = world.spawn(async move {
        writer
            .batch_execute("UPDATE register SET v = 9 WHERE k = 3")
            .await
            .unwrap()
    });
    let replica = connect(&replicated.replicas[0].url_of("app")).await.unwrap();
    eventually("the commit on the replica", || async {
        simple(&replica, "SELECT v FROM register WHERE k = 3").await == ["9"]
    })
    .await;
    for _ in 0..2 {
        assert_eq!(simple(&reader, "SELECT v FROM register WHERE k = 3").await, ["0"]);
    }
    assert!(!write.is_finished());
    waits_for("").await;
    write.await.unwrap().unwrap();
    assert_eq!(simple(&reader, "SELECT v FROM register WHERE k = 3").await, ["9"]);
}

/// Writers that the proxy does not see are for `fresh=index`: the primary is asked after the read has come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_write_is_seen_by_a_read_with_the_index_hint() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=200ms"]], Reads::Fresh).await;
    let (direct, client) = (replicated.world.admin().await, replicated.world.client().await);
    for value in 1..20 {
        direct
            .batch_execute(&format!("UPDATE register SET v = {value} WHERE k = 5"))
            .await
            .unwrap();
        let seen = simple(
            &client,
            "/* banyan: fresh=index */ SELECT v FROM register WHERE k = 5",
        )
        .await;
        assert_eq!(seen, [value.to_string()]);
    }
}

/// What a replica's state is, and why it gets nothing, is in the report.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_says_how_far_replicas_are_and_why_one_gets_nothing() {
    let mut replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let stranger = Postgres::start().unwrap();
    stranger.create_database("app").await.unwrap();
    let admin = connect(&stranger.url()).await.unwrap();
    admin
        .batch_execute(
            "CREATE ROLE banyan_control LOGIN PASSWORD 'control'; GRANT pg_monitor TO banyan_control",
        )
        .await
        .unwrap();
    let strange = node(9, &stranger);
    replicated
        .world
        .publish(|snapshot| snapshot.database.nodes.push(strange))
        .await;
    let handle = replicated.world.handle.clone();
    eventually("the report", || async {
        let nodes = handle.report().nodes;
        let primary = nodes[0].in_recovery == Some(false) && nodes[0].reason.is_none();
        let replica =
            nodes[1].in_recovery == Some(true) && nodes[1].lag_bytes.is_some() && nodes[1].reason.is_none();
        let other =
            nodes[2].reachable && nodes[2].reason.as_deref() == Some("not in recovery: it is no replica");
        primary && replica && other
    })
    .await;
    let console = replicated.world.console();
    let console = replicated.world.connect(&console).await.unwrap();
    let shown = console.query("SHOW NODES", &[]).await.unwrap();
    assert_eq!(
        shown[2].get::<_, String>("reason"),
        "not in recovery: it is no replica"
    );
    let route = console
        .query("EXPLAIN ROUTE SELECT v FROM register", &[])
        .await
        .unwrap();
    assert_eq!(route[0].get::<_, String>("value"), "proven read");
    replicated.replicas.clear();
    eventually("the loss in the report", || async {
        let nodes = handle.report().nodes;
        !nodes[1].reachable && nodes[1].reason.as_deref() == Some("not reachable")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: part of make drill"]
async fn drill_of_a_million_reads_none_is_stale() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=300ms"], &[]], Reads::Fresh).await;
    let mut reads = 0;
    while reads < 1_000_000 {
        reads += loaded_with_pauses(&replicated, "drill", 32, 4_000).await;
    }
}

/// A write that runs for long holds no read up: before its COMMIT there is nothing that a replica could show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_write_holds_no_read_up() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    for (sql, on_replica) in [
        (
            "UPDATE register SET v = v WHERE k = 3 AND pg_sleep(60) IS NOT NULL",
            true,
        ),
        ("DO $$ BEGIN PERFORM pg_sleep(60); END $$", false),
    ] {
        let writer = replicated.world.client().await;
        let cancel = writer.cancel_token();
        let slow = replicated.world.spawn(async move {
            writer.batch_execute(sql).await.unwrap_err();
        });
        let admin = replicated.world.admin().await;
        let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()";
        eventually("the write runs", || async {
            simple(&admin, running).await == ["1"]
        })
        .await;
        let read = "SELECT v, which() FROM register WHERE k = 1";
        let mut elsewhere = 0;
        for _ in 0..50 {
            elsewhere += u32::from(simple(&client, read).await[1] == "replica");
        }
        assert_eq!(elsewhere > 25, on_replica, "{elsewhere}");
        cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
        slow.await.unwrap();
    }
}

/// A replica has the new default later: what it has connected before is not used for reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_default_counts_on_a_replica_that_is_late() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=300ms"]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    for value in ["7MB", "8MB"] {
        let sql = format!("ALTER ROLE app SET work_mem = '{value}'");
        client.batch_execute(&sql).await.unwrap();
        let new = replicated.world.client().await;
        // It is connected while it is late, too.
        new.simple_query("/* banyan: fresh=off */ SELECT which()")
            .await
            .unwrap();
        eventually("a read on the replica", || async {
            let found = simple(&new, "SELECT current_setting('work_mem'), which()").await;
            assert_eq!(found[0], value, "{found:?}");
            found[1] == "replica"
        })
        .await;
    }
}

/// A client of the proxy can always write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_is_told_that_it_cannot_write() {
    let replicated = Replicated::start(&[&[]], Reads::Fresh).await;
    let client = replicated.world.client().await;
    for sql in [
        "SELECT current_setting('transaction_read_only')",
        "SELECT current_setting('in_hot_standby')",
        "SELECT setting FROM pg_settings WHERE name = 'transaction_read_only'",
    ] {
        let prepared = client.prepare(sql).await.unwrap();
        for _ in 0..3 {
            assert_eq!(simple(&client, sql).await, ["off"], "{sql}");
            let row = client.query_one(&prepared, &[]).await.unwrap();
            assert_eq!(row.get::<_, String>(0), "off", "{sql}");
        }
    }
}
