//! Dashboards of Grafana (schema 39: version 10 and later) over the page of metrics, as JSON to import or provision.

use serde_json::{Value, json};

/// A dashboard with the name of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Dashboard {
    /// `banyan-requests.json`
    pub file: String,
    pub json: Value,
    /// What its panels ask.
    pub queries: Vec<&'static str>,
}

struct Board {
    name: &'static str,
    title: &'static str,
    panels: &'static [Panel],
}

struct Panel {
    title: &'static str,
    /// Of Grafana: `reqps`, `percentunit`, `s`, `bytes`, `short`.
    unit: &'static str,
    /// Expressions with their legends.
    queries: &'static [(&'static str, &'static str)],
}

/// Five: requests, resources, database, cache, scaling.
pub fn dashboards() -> Vec<Dashboard> {
    BOARDS.iter().map(dashboard).collect()
}

fn dashboard(board: &Board) -> Dashboard {
    let panels: Vec<Value> = board
        .panels
        .iter()
        .enumerate()
        .map(|(at, panel)| self::panel(at, panel))
        .collect();
    let queries = board
        .panels
        .iter()
        .flat_map(|panel| panel.queries.iter().map(|(query, _)| *query));
    let json = json!({
        "uid": format!("banyan-{}", board.name),
        "title": format!("Banyan: {}", board.title),
        "tags": ["banyan"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "refresh": "30s",
        "time": { "from": "now-3h", "to": "now" },
        "timezone": "",
        "templating": { "list": [{
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        }] },
        "panels": panels,
    });
    Dashboard {
        file: format!("banyan-{}.json", board.name),
        json,
        queries: queries.collect(),
    }
}

const WIDTH: usize = 12;
const HEIGHT: usize = 8;

/// Two in a row.
fn panel(at: usize, panel: &Panel) -> Value {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let target = |(at, (query, legend)): (usize, &(&str, &str))| {
        json!({
            "refId": char::from(b'A' + u8::try_from(at).unwrap_or(25)).to_string(),
            "datasource": source, "expr": query, "legendFormat": legend, "range": true,
        })
    };
    let targets: Vec<Value> = panel.queries.iter().enumerate().map(target).collect();
    json!({
        "id": at + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": { "x": at % 2 * WIDTH, "y": at / 2 * HEIGHT, "w": WIDTH, "h": HEIGHT },
        "fieldConfig": {
            "defaults": { "unit": panel.unit, "min": 0, "custom": { "fillOpacity": 10, "showPoints": "never" } },
            "overrides": [],
        },
        "options": {
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
            "tooltip": { "mode": "multi", "sort": "desc" },
        },
        "targets": targets,
    })
}

const fn of(
    title: &'static str,
    unit: &'static str,
    queries: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel { title, unit, queries }
}

static BOARDS: [Board; 5] = [
    Board {
        name: "requests",
        title: "requests by route",
        panels: REQUESTS,
    },
    Board {
        name: "resources",
        title: "resources",
        panels: RESOURCES,
    },
    Board {
        name: "database",
        title: "database",
        panels: DATABASE,
    },
    Board {
        name: "cache",
        title: "cache and content delivery",
        panels: CACHE,
    },
    Board {
        name: "scaling",
        title: "instances and queues",
        panels: SCALING,
    },
];

static REQUESTS: &[Panel] = &[
    of(
        "Requests",
        "reqps",
        &[(
            "sum by (http_route) (rate(http_server_request_duration_seconds_count[$__rate_interval]))",
            "{{http_route}}",
        )],
    ),
    of(
        "Share of server errors",
        "percentunit",
        &[(
            "(sum by (http_route) (rate(http_server_request_duration_seconds_count{http_response_status_code=~\"5..\"}[$__rate_interval])) or 0 * sum by (http_route) (rate(http_server_request_duration_seconds_count[$__rate_interval]))) / sum by (http_route) (rate(http_server_request_duration_seconds_count[$__rate_interval]))",
            "{{http_route}}",
        )],
    ),
    of(
        "Duration of all requests",
        "s",
        &[
            (
                "histogram_quantile(0.5, sum by (le) (rate(http_server_request_duration_seconds_bucket[$__rate_interval])))",
                "p50",
            ),
            (
                "histogram_quantile(0.95, sum by (le) (rate(http_server_request_duration_seconds_bucket[$__rate_interval])))",
                "p95",
            ),
            (
                "histogram_quantile(0.99, sum by (le) (rate(http_server_request_duration_seconds_bucket[$__rate_interval])))",
                "p99",
            ),
        ],
    ),
    of(
        "p95 by route",
        "s",
        &[(
            "histogram_quantile(0.95, sum by (le, http_route) (rate(http_server_request_duration_seconds_bucket[$__rate_interval])))",
            "{{http_route}}",
        )],
    ),
    of(
        "Answers by class",
        "reqps",
        &[(
            "sum by (http_response_status_code) (rate(http_server_request_duration_seconds_count[$__rate_interval]))",
            "{{http_response_status_code}}",
        )],
    ),
    of(
        "Refused by the edge itself",
        "reqps",
        &[(
            "sum by (http_response_status_code) (rate(banyan_edge_refusals_total[$__rate_interval]))",
            "{{http_response_status_code}}",
        )],
    ),
    of(
        "Being answered",
        "short",
        &[(
            "sum by (http_route) (http_server_active_requests)",
            "{{http_route}}",
        )],
    ),
    of(
        "Bytes of bodies",
        "Bps",
        &[
            (
                "sum(rate(banyan_edge_sent_bytes_total[$__rate_interval]))",
                "sent",
            ),
            (
                "sum(rate(banyan_edge_received_bytes_total[$__rate_interval]))",
                "received",
            ),
        ],
    ),
];

static RESOURCES: &[Panel] = &[
    of(
        "CPU of Banyan's processes",
        "short",
        &[(
            "sum by (role) (rate(process_cpu_seconds_total[$__rate_interval]))",
            "{{role}}",
        )],
    ),
    of(
        "Memory of Banyan's processes",
        "bytes",
        &[("sum by (role) (process_resident_memory_bytes)", "{{role}}")],
    ),
    of(
        "CPU of the machine",
        "percentunit",
        &[(
            "1 - sum(rate(system_cpu_time_seconds_total{cpu_mode=\"idle\"}[$__rate_interval])) / sum(rate(system_cpu_time_seconds_total[$__rate_interval]))",
            "busy",
        )],
    ),
    of(
        "Memory of the machine",
        "percentunit",
        &[(
            "sum(system_memory_usage_bytes{system_memory_state=\"used\"}) / sum(system_memory_usage_bytes)",
            "used",
        )],
    ),
    of(
        "Disk of the state",
        "percentunit",
        &[(
            "sum(system_filesystem_usage_bytes{system_filesystem_state=\"used\"}) / sum(system_filesystem_usage_bytes)",
            "used",
        )],
    ),
    of(
        "Open files",
        "short",
        &[("sum by (role) (process_open_fds)", "{{role}}")],
    ),
    of(
        "Connections of clients",
        "short",
        &[(
            "sum by (listener) (banyan_edge_listener_open_connections)",
            "{{listener}}",
        )],
    ),
    of(
        "TLS handshakes",
        "ops",
        &[
            (
                "sum(rate(banyan_edge_tls_handshakes_total[$__rate_interval]))",
                "completed",
            ),
            (
                "sum(rate(banyan_edge_tls_handshake_failures_total[$__rate_interval]))",
                "failed",
            ),
        ],
    ),
];

static DATABASE: &[Panel] = &[
    of(
        "Statements",
        "ops",
        &[(
            "sum by (db_operation_name) (rate(db_client_operation_duration_seconds_count[$__rate_interval]))",
            "{{db_operation_name}}",
        )],
    ),
    of(
        "Duration of statements",
        "s",
        &[
            (
                "histogram_quantile(0.5, sum by (le) (rate(db_client_operation_duration_seconds_bucket[$__rate_interval])))",
                "p50",
            ),
            (
                "histogram_quantile(0.95, sum by (le) (rate(db_client_operation_duration_seconds_bucket[$__rate_interval])))",
                "p95",
            ),
        ],
    ),
    of(
        "Waits for a connection or in a hold, p95",
        "s",
        &[(
            "histogram_quantile(0.95, sum by (le, for) (rate(banyan_pgproxy_wait_seconds_bucket[$__rate_interval])))",
            "{{for}}",
        )],
    ),
    of(
        "Connections to servers",
        "short",
        &[("sum by (state) (banyan_pgproxy_backends)", "{{state}}")],
    ),
    of(
        "Clients",
        "short",
        &[
            ("sum(banyan_pgproxy_clients)", "connected"),
            ("sum(banyan_pgproxy_waiting)", "waiting"),
            ("sum(banyan_pgproxy_pinned)", "keep their connection"),
        ],
    ),
    of(
        "How far replicas are behind",
        "s",
        &[("max by (node) (banyan_pgproxy_lag_seconds)", "{{node}}")],
    ),
    of(
        "What sessions do",
        "short",
        &[(
            "sum by (wait_event_type) (rate(banyan_postgres_wait_samples_total[$__rate_interval]))",
            "{{wait_event_type}}",
        )],
    ),
    of(
        "Connections to the server",
        "short",
        &[
            ("sum by (state) (banyan_postgres_connections)", "{{state}}"),
            ("max(banyan_postgres_max_connections)", "at most"),
        ],
    ),
    of(
        "Size of the database",
        "bytes",
        &[("max(banyan_postgres_database_bytes)", "database")],
    ),
    of(
        "Log written",
        "Bps",
        &[(
            "sum(rate(banyan_postgres_wal_bytes_total[$__rate_interval]))",
            "log",
        )],
    ),
];

static CACHE: &[Panel] = &[
    of(
        "Requests to the edge's cache",
        "reqps",
        &[(
            "sum by (tier, result) (rate(banyan_cache_requests_total[$__rate_interval]))",
            "{{tier}} {{result}}",
        )],
    ),
    of(
        "Hit ratio of the edge's cache",
        "percentunit",
        &[(
            "sum by (tier) (rate(banyan_cache_requests_total{result=~\"hit|stale|validated|collapsed|stood-in\"}[$__rate_interval])) / sum by (tier) (rate(banyan_cache_requests_total[$__rate_interval]))",
            "{{tier}}",
        )],
    ),
    of(
        "What the edge's cache holds",
        "bytes",
        &[
            ("sum(banyan_edge_cache_bytes)", "memory"),
            ("sum(banyan_edge_cache_disk_bytes)", "disk"),
        ],
    ),
    of(
        "Given up for others",
        "ops",
        &[(
            "sum(rate(banyan_edge_cache_evictions_total[$__rate_interval]))",
            "URIs",
        )],
    ),
    of(
        "Hit ratio of Redis",
        "percentunit",
        &[(
            "sum by (redis) (rate(redis_keyspace_hits_total[$__rate_interval])) / (sum by (redis) (rate(redis_keyspace_hits_total[$__rate_interval])) + sum by (redis) (rate(redis_keyspace_misses_total[$__rate_interval])))",
            "{{redis}}",
        )],
    ),
    of(
        "Memory of Redis",
        "percentunit",
        &[(
            "sum by (redis) (redis_memory_used_bytes) / sum by (redis) (redis_memory_max_bytes)",
            "{{redis}}",
        )],
    ),
    of(
        "Thrown away by Redis",
        "ops",
        &[
            (
                "sum by (redis) (rate(redis_evicted_keys_total[$__rate_interval]))",
                "{{redis}} evicted",
            ),
            (
                "sum by (redis) (rate(redis_expired_keys_total[$__rate_interval]))",
                "{{redis}} expired",
            ),
        ],
    ),
    of(
        "Commands of Redis",
        "ops",
        &[(
            "sum by (redis) (rate(redis_commands_total[$__rate_interval]))",
            "{{redis}}",
        )],
    ),
];

static SCALING: &[Panel] = &[
    of(
        "Instances that are ready",
        "short",
        &[("sum by (upstream) (banyan_edge_endpoint_ready)", "{{upstream}}")],
    ),
    of(
        "Requests of each process",
        "reqps",
        &[(
            "sum by (upstream) (rate(banyan_edge_upstream_requests_total[$__rate_interval]))",
            "{{upstream}}",
        )],
    ),
    of(
        "Requests at each instance",
        "short",
        &[(
            "sum by (upstream, endpoint) (banyan_edge_endpoint_active_requests)",
            "{{endpoint}}",
        )],
    ),
    of(
        "Waiting for an instance",
        "short",
        &[("sum by (upstream) (banyan_edge_queue_length)", "{{upstream}}")],
    ),
    of(
        "Wait for an instance, p99",
        "s",
        &[(
            "histogram_quantile(0.99, sum by (le, upstream) (rate(banyan_edge_queue_wait_seconds_bucket[$__rate_interval])))",
            "{{upstream}}",
        )],
    ),
    of(
        "Refused by the queue",
        "reqps",
        &[(
            "sum by (upstream) (rate(banyan_edge_queue_refused_total[$__rate_interval]))",
            "{{upstream}}",
        )],
    ),
    of(
        "Tried once more",
        "reqps",
        &[(
            "sum by (upstream) (rate(banyan_edge_upstream_retries_total[$__rate_interval]))",
            "{{upstream}}",
        )],
    ),
    of(
        "Taken out by passive health",
        "short",
        &[("sum by (upstream) (banyan_edge_endpoint_ejected)", "{{upstream}}")],
    ),
];
