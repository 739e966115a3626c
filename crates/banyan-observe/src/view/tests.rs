//! Views of systems that are written down.

use banyan_topology::snapshot::ObserveSnapshot;

use super::*;
use crate::collect::Round;
use crate::series::Series;

fn snapshot() -> ObserveSnapshot {
    serde_json::from_value(serde_json::json!({
        "epoch": 1, "app": "shop", "listen": "127.0.0.1:9470", "token_file": "/t",
        "settings": {"disk_bytes": 1, "keep": "60d"},
        "layout": {
            "release": 3, "edge": ["127.0.0.1:8080"], "places": {}, "processes": {"web": true},
            "instances": {
                "web.1@r3": {"port": 1, "in_rotation": true},
                "web.2@r3": {"port": 2, "in_rotation": true},
            },
            "pgproxy": "127.0.0.1:6432", "nodes": {"db1": 5432, "db2": 5433}, "primary": "db1",
            "redis": {"cache": 6379},
        },
    }))
    .unwrap()
}

/// Lines as of a page of metrics: `name{a="b"} 1`.
fn round(at_ms: u64, lines: &str) -> Round {
    let series = |line: &str| {
        let (name, value) = line.trim().rsplit_once(' ')?;
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let labels = labels
            .trim_end_matches('}')
            .split(',')
            .filter_map(|pair| pair.split_once('='));
        let labels: Vec<(&str, &str)> = labels
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect();
        Some((Series::new(name, &labels), value.parse().unwrap()))
    };
    Round {
        at_ms,
        values: lines.lines().filter_map(series).collect(),
    }
}

const CHILDREN: &str = r#"
    banyan_child_up{child="edge"} 1
    banyan_child_up{child="web.1@r3"} 1
    banyan_child_up{child="web.2@r3"} 1
    banyan_child_up{child="pgproxy"} 1
    banyan_child_up{child="postgres"} 1
    banyan_child_up{child="postgres-db2"} 1
    banyan_child_up{child="redis-cache"} 1
    banyan_edge_endpoint_ready{endpoint="web.1@r3"} 1
    banyan_edge_endpoint_ready{endpoint="web.2@r3"} 1
    http_server_active_requests{http_route="*"} 2
"#;

fn counted(ok: u32, failed: u32, below: u32) -> String {
    let name = "http_server_request_duration_seconds";
    let all = ok + failed;
    format!(
        "{name}_count{{http_route=\"*\",http_response_status_code=\"2xx\"}} {ok}
         {name}_count{{http_route=\"*\",http_response_status_code=\"5xx\"}} {failed}
         {name}_bucket{{http_route=\"*\",http_response_status_code=\"2xx\",le=\"0.01\"}} {below}
         {name}_bucket{{http_route=\"*\",http_response_status_code=\"2xx\",le=\"0.1\"}} {all}
         {name}_bucket{{http_route=\"*\",http_response_status_code=\"2xx\",le=\"+Inf\"}} {all}
         http_client_request_duration_seconds_count{{endpoint=\"web.1@r3\"}} {ok}"
    )
}

fn seen(before: &str, newest: &str) -> View {
    seen_with(before, newest, &Shown::default())
}

fn seen_with(before: &str, newest: &str, shown: &Shown) -> View {
    let (before, newest) = (round(10_000, before), round(20_000, newest));
    let figures = Figures {
        before: Some(&before),
        newest: Some(&newest),
    };
    view(&snapshot(), &figures, None, shown, Vec::new())
}

#[test]
fn a_healthy_system_has_no_trouble_and_its_rates_are_of_the_time_between() {
    let view = seen(
        &format!("{CHILDREN}{}", counted(100, 0, 50)),
        &format!("{CHILDREN}{}", counted(200, 0, 140)),
    );
    assert_eq!(view.troubles, []);
    assert_eq!(view.total.per_second, Some(10.0));
    assert_eq!(view.total.error_share, Some(0.0));
    assert!(
        view.total.p50_seconds.unwrap() < 0.01 && view.total.p99_seconds.unwrap() > 0.09,
        "{:?}",
        view.total
    );
    assert!(
        view.parts.iter().all(|part| part.level == Level::Fine),
        "{:?}",
        view.parts
    );
    let flow = view.flows.iter().find(|flow| flow.to == "web.1@r3").unwrap();
    assert_eq!((flow.from.as_str(), flow.per_second), ("edge", Some(10.0)));
    let says = |id: &str| view.parts.iter().find(|part| part.id == id).unwrap().says.clone();
    assert_eq!([says("db1"), says("db2")], ["primary", "replica"]);
}

#[test]
fn the_cdn_is_shown_by_tier_and_what_the_disk_gave_is_no_hit_of_the_memory() {
    let of = |hits: u32, misses: u32, read: u32, made: u32| {
        let name = "banyan_cache_requests_total";
        format!(
            "{name}{{tier=\"edge\",result=\"hit\"}} {hits}
             {name}{{tier=\"edge\",result=\"miss\"}} {misses}
             {name}{{tier=\"edge\",result=\"bypass\"}} {misses}
             {name}{{tier=\"beside\",result=\"hit\"}} {read}
             {name}{{tier=\"beside\",result=\"miss\"}} {misses}
             {name}{{tier=\"shield\",result=\"hit\"}} {misses}
             banyan_edge_cache_disk_reads_total {read}
             banyan_edge_pictures_made_total{{format=\"webp\"}} {made}
             banyan_edge_pictures_left_total{{reason=\"unmade\"}} {made}"
        )
    };
    let view = seen(&of(0, 0, 0, 0), &of(800, 200, 300, 20));
    let told: Vec<_> = view
        .caches
        .iter()
        .map(|cache| (cache.name.as_str(), cache.per_second, cache.hit_ratio))
        .collect();
    let expected = [
        ("edge (CDN)", Some(100.0), Some(0.8)),
        ("  in memory", Some(100.0), Some(0.5)),
        ("  on its disk", Some(50.0), Some(0.6)),
        ("edges of each other (CDN)", Some(50.0), Some(0.6)),
        ("shield (CDN)", Some(20.0), Some(1.0)),
        ("pictures made", Some(4.0), Some(0.5)),
    ];
    assert_eq!(told, expected);
    assert!(seen("x 1", "x 1").caches.is_empty());
}

#[test]
fn a_killed_instance_and_failing_requests_are_named_worst_first() {
    let children = CHILDREN
        .replace(
            "banyan_child_up{child=\"web.2@r3\"} 1",
            "banyan_child_up{child=\"web.2@r3\"} 0",
        )
        .replace("ready{endpoint=\"web.2@r3\"} 1", "ready{endpoint=\"web.2@r3\"} 0");
    let view = seen(
        &format!("{CHILDREN}{}", counted(100, 0, 50)),
        &format!("{children}{}", counted(190, 10, 140)),
    );
    let said: Vec<&str> = view
        .troubles
        .iter()
        .map(|trouble| trouble.what.as_str())
        .collect();
    assert_eq!(
        said,
        [
            "10 % of the requests fail",
            "web.2@r3 has ended, is started again"
        ]
    );
    assert!(view.troubles.iter().all(|trouble| trouble.level == Level::Bad));
}

#[test]
fn without_a_controller_parts_are_unknown_and_not_broken() {
    let view = seen("x 1", "x 1");
    assert!(
        view.parts.iter().all(|part| part.level == Level::Unknown),
        "{:?}",
        view.parts
    );
    assert_eq!(view.troubles.len(), 1);
    assert!(
        view.troubles[0]
            .what
            .starts_with("the controller does not answer")
    );
}

#[test]
fn urgent_alerts_are_first_of_what_is_wrong_and_muted_ones_only_in_their_list() {
    let alert = |rule: &str, severity: &str, more: serde_json::Value| {
        let mut alert = serde_json::json!({
            "rule": rule, "severity": severity, "area": "database", "labels": {"node": "db2"}, "summary": "it lags",
            "value": 7.5, "measure": "seconds", "since_ms": 5000, "phase": {"firing": {"fired_ms": 6000}}, "told": true,
        });
        let fields = alert.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        serde_json::from_value(alert).unwrap()
    };
    let shown = Shown {
        alerts: vec![
            alert("no-primary", "P0", serde_json::json!({"labels": {}})),
            alert(
                "sessions-down",
                "P1",
                serde_json::json!({"muted": {"silenced": "a drill"}}),
            ),
            alert("disk-full", "P1", serde_json::json!({"phase": "pending"})),
            alert("replica-lag", "P1", serde_json::json!({})),
            alert(
                "queries-slow",
                "P2",
                serde_json::json!({"muted": {"by": "replica-lag"}}),
            ),
            alert("memory-high", "P2", serde_json::json!({})),
        ],
        undelivered: [("oncall".to_owned(), "it answered 500".to_owned())].into(),
        ..Shown::default()
    };
    let view = seen_with(
        &format!("{CHILDREN}{}", counted(100, 0, 50)),
        &format!("{CHILDREN}{}", counted(190, 10, 140)),
        &shown,
    );
    let troubles = view.troubles.iter();
    let lines = troubles.map(|trouble| format!("{:?} {}\n", trouble.level, trouble.what));
    expect_test::expect![[r#"
        Bad P0 no-primary: it lags (7.5 s)
        Bad 10 % of the requests fail
        Warn P1 replica-lag node=db2: it lags (7.5 s)
        Warn alerts.to.oncall could not be told, it is tried again: it answered 500
    "#]]
    .assert_eq(&lines.collect::<String>());
    let row = |row: &Firing| {
        let muted = row.muted.as_deref().unwrap_or("-");
        format!("{:?} {} {} {muted}\n", row.level, row.severity, row.rule)
    };
    expect_test::expect![[r#"
        Bad P0 no-primary -
        Warn P1 replica-lag -
        Warn P2 memory-high -
        Unknown P1 sessions-down silenced: a drill
        Unknown P2 queries-slow muted by replica-lag
    "#]]
    .assert_eq(&view.alerts.iter().map(row).collect::<String>());
}
