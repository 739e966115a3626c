//! What `banyan status` prints, as text.

use banyan_reconcile::proto::Status;
use expect_test::expect;

use super::*;
use banyan_topology::report::{AuthReport, EdgeReport};

fn sample() -> Status {
    serde_json::from_value(serde_json::json!({
        "app": "photos", "controller_pid": 4000, "release": 3, "url": "http://127.0.0.1:8080",
        "edge": null, "epoch": 17, "rps": 212.4, "error_share": 0.0012,
        "processes": [
            {"process": "web", "rps": 200.0, "error_share": 0.0, "p50_us": 2900, "p99_us": 12_000},
            {"process": "thumbs", "rps": 12.4, "error_share": 0.25, "p50_us": null, "p99_us": null},
        ],
        "children": [
            {"id": "edge", "state": "ready", "pid": 4001, "since_ms": 1000, "restarts": 0, "memory_bytes": 9_437_184,
             "cpu_ms": 10, "port": 8080, "user": null, "kind": "edge", "in_rotation": null, "healthy": null,
             "rps": 212.4, "in_flight": 3},
            {"id": "postgres", "state": "ready", "pid": 4002, "since_ms": 1000, "restarts": 0,
             "memory_bytes": 69_206_016, "cpu_ms": 10, "port": 21000, "user": "postgres", "kind": "postgres 15",
             "in_rotation": null, "healthy": null, "rps": null, "in_flight": null},
            {"id": "web.1@r3", "state": "ready", "pid": 4003, "since_ms": 200_000, "restarts": 0,
             "memory_bytes": 12_582_912, "cpu_ms": 10, "port": 20001, "user": "nobody", "kind": "web",
             "in_rotation": true, "healthy": true, "rps": 106.0, "in_flight": 1},
            {"id": "web.2@r3", "state": "crash_loop", "exits": 6, "exit": "exit code 1", "wait_ms": 30_000,
             "pid": null, "since_ms": null, "restarts": 6, "memory_bytes": null, "cpu_ms": null, "port": 20002,
             "user": "nobody", "kind": "web", "in_rotation": true, "healthy": false, "rps": 0.0, "in_flight": 0},
            {"id": "web.3@r3", "state": "ready", "pid": 4005, "since_ms": 200_000, "restarts": 0,
             "memory_bytes": 12_582_912, "cpu_ms": 10, "port": 20003, "user": "nobody", "kind": "web",
             "in_rotation": true, "healthy": true, "rps": 0.0, "in_flight": 0,
             "ejected": "5 requests in a row failed, the last answered 500; back in 12 s"},
        ],
        "edge_report": null,
        "pgproxy_report": {
            "pid": 4006, "epoch": 9, "listening": ["127.0.0.1:20009"], "refused": null, "hold": "open", "clients": 4,
            "backends": 2, "waiting": 0, "units_per_second": 412.3, "slow": 3, "wait_p99_us": 4100,
            "wal_bytes_per_second": 1_258_291.0, "auth_problem": "the server does not answer",
            "nodes": [
                {"id": "db1", "reachable": true, "in_recovery": false, "lag_bytes": null, "lag_seconds": null,
                 "incarnation": 1, "replayed": 100},
                {"id": "db2", "reachable": true, "reason": "reads = \"primary\"", "in_recovery": true, "lag_bytes": 0,
                 "lag_seconds": 0.0, "incarnation": 1, "replayed": 100},
                {"id": "db3", "reachable": false, "reason": "it does not answer", "in_recovery": null, "lag_bytes": null,
                 "lag_seconds": null, "incarnation": null, "replayed": null},
            ],
            "signals": {"eof": 0, "shutdown": 0, "refused": 0},
        },
        "unfinished": [4, 9, "start web.3@r3: exited"], "rotation": [],
        "state_dir": ".banyan", "log_dir": ".banyan/logs",
    }))
    .unwrap()
}

#[test]
fn the_table_shows_what_runs_where_and_what_is_wrong() {
    expect![[r#"
        photos  http://127.0.0.1:8080  release r3  epoch 17
        212 requests/s, 0.12 % errors
        database 412 units/s, 4 clients on 2 connections, waiting for one p99 4.1 ms, 1 MiB of log/s
          web     200 requests/s, 0.00 % errors, p50 2.9 ms, p99 12 ms
          thumbs  12 requests/s, 25.00 % errors

        NAME      KIND         STATE        PID   PORT    SINCE  RESTARTS  RPS     MEM
        edge      edge         ready       4001   8080       1h         0  212   9 MiB
        postgres  postgres 15  ready       4002  21000       1h         0       66 MiB
        web.1@r3  web          ready       4003  20001  56m 41s         0  106  12 MiB
        web.2@r3  web          crash loop        20002                  6  0.0
        web.3@r3  web          ejected     4005  20003  56m 41s         0  0.0  12 MiB
        ! web.2@r3 exited 6 times, last with exit code 1; it is tried again in 30 s; see `banyan logs -p web.2@r3`
        ! web.3@r3 is ejected: 5 requests in a row failed, the last answered 500; back in 12 s
        ! pgproxy cannot check passwords: the server does not answer
        ! 3 slow statements in the last minute: `banyan database queries`, `banyan logs -p pgproxy`
        db2 gets no reads: reads = "primary"
        ! db3 gets no reads: it does not answer

        unfinished plan: 4 of 9 steps are done
          start web.3@r3: exited
        next: `banyan apply --resume` goes on, `banyan apply --revert` undoes it
    "#]].assert_eq(&render(&sample(), 3_601_000, Paint::OFF));
}

#[test]
fn a_change_that_runs_is_shown_instead_of_the_one_that_stopped_before_it() {
    let lines = |step: serde_json::Value| {
        let mut status = sample();
        let under_way = serde_json::json!({"what": "change", "since_ms": 3_589_000, "step": step});
        status.under_way = serde_json::from_value(under_way).unwrap();
        render(&status, 3_601_000, Paint::OFF)
            .lines()
            .last()
            .unwrap()
            .to_owned()
    };
    let step = |undoes| serde_json::json!({"number": 3, "of": 9, "what": "start web.2@r3", "since_ms": 3_597_000, "undoes": undoes});
    expect!["change under way for 12s: step 3 of 9, start web.2@r3, for 4s"].assert_eq(&lines(step(false)));
    expect!["change under way for 12s: step 3 of 9, undoing start web.2@r3, for 4s"]
        .assert_eq(&lines(step(true)));
    expect!["change under way for 12s: planning"].assert_eq(&lines(serde_json::Value::Null));
}

#[test]
fn an_app_that_listens_elsewhere_is_told_while_it_still_starts() {
    let mut status = sample();
    status.children[3].child.state = ChildState::Starting;
    status.children[3].child.hint = Some("it listens on 3000, but PORT is 20002".to_owned());
    let shown = render(&status, 3_601_000, Paint::OFF);
    let line = "! web.2@r3 is not ready yet: it listens on 3000, but PORT is 20002\n";
    assert!(shown.contains(line), "{shown}");
}

#[test]
fn a_database_that_failed_is_told_of_for_a_day() {
    let mut status = sample();
    status.mended = Some(banyan_reconcile::proto::MendedState {
        at_ms: 1_000,
        notes: vec![
            "db1 serves again after 310 ms".to_owned(),
            "db1 was started in its place: it has no replica".to_owned(),
        ],
    });
    let told = "the primary of the database failed, 2m ago: db1 serves again after 310 ms; db1 was started in its place: it has no replica\n";
    let page = render(&status, 121_000, Paint::OFF);
    assert!(page.contains(told), "{page}");
    assert!(!render(&status, 2 * 86_400_000, Paint::OFF).contains("db1 serves again"));
}

#[test]
fn backups_are_shown_with_what_is_wrong_with_them() {
    let mut status = sample();
    status.backup = serde_json::from_value(serde_json::json!({
        "path": "/var/backups/photos", "first_ms": 1000, "problem": "no space left", "gap_ms": 60_000,
        "last": {"label": "20261122-070533F", "kind": "full", "start_ms": 1000, "stop_ms": 61_000, "size_bytes": 9,
                 "stored_bytes": 3, "has_broken_pages": false},
        "next": ["differential", 7_261_000], "running": null,
        "archiving": {"stored_ms": 3_600_000, "failed_ms": 3_600_500, "waiting_bytes": 50_331_648},
    }))
    .unwrap();
    expect![[r#"
        backups in /var/backups/photos: last full 1h ago, next differential in 1h, log stored 1m 1s ago
        ! no backup could be made: no space left
        ! the log cannot be stored: 48 MiB of it wait on the database's disk; `banyan logs -p postgres` says why
        ! log was given up at 1970-01-01 00:01:00+00: moments from there to the next backup cannot be restored"#]].assert_eq(&backups(&status, 3_661_000, Paint::OFF).join("\n"));
}

#[test]
fn what_the_edge_refuses_and_cannot_read_is_told() {
    let mut status = sample();
    let mut report = EdgeReport::default();
    report.totals.turned_away = 3;
    report.auth = vec![AuthReport {
        name: "staff".to_owned(),
        entries: 2,
        problem: Some("failed to fetch https://login.example.org/keys".to_owned()),
    }];
    report.counts_alone = Some("no answer within 50 ms".to_owned());
    status.edge_report = Some(report);
    expect![[r#"
        ! auth.staff: failed to fetch https://login.example.org/keys; the last good ones hold
        ! 3 connections turned away: their address had too many, or new ones too fast (edge.limits)
        ! rate limits: each edge counts alone, its share of them: no answer within 50 ms"#]]
    .assert_eq(&refusals(&status, Paint::OFF).join("\n"));
}

#[test]
fn colour_moves_no_column() {
    let plain = render(&sample(), 3_601_000, Paint::OFF);
    let colour = render(&sample(), 3_601_000, Paint::ON);
    let mut stripped = String::new();
    let mut rest = colour.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    assert_eq!(plain, stripped);
}
