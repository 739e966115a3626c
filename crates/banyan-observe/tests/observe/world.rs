//! A state folder with a snapshot, a pretended system that tells what it measures, and the role.

use std::path::PathBuf;
use std::time::Duration;

use banyan_alert::Kept;
use banyan_observe::traces::store::{self, Store};
use banyan_observe::view::View;
use banyan_observe::{Config, Handle, view_socket};
use banyan_runtime::control::{self, Connection, Listener};
use banyan_runtime::shutdown::{self, ShutdownTrigger};
use banyan_runtime::{Clock, ShutdownStage, TaskKind, Tasks, spans, token, watched};
use banyan_telemetry::families::Kind::{Counter, Gauge, Histogram};
use banyan_telemetry::span::{Span, SpanId, TraceId};
use banyan_telemetry::{Counted, Durations, Families};
use banyan_testkit::ports::Port;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixDatagram};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(90);

/// How the pretended system is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct System {
    /// Seconds for which it has served.
    served: u64,
    /// Seconds' worth of requests that came besides, of which a tenth is slow.
    crowd: u64,
    pub(crate) fault: Fault,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    InstanceKilled,
    PrimaryLost,
    FlashCrowd,
}

impl System {
    /// It serves on.
    pub(crate) fn serve(&mut self) {
        self.served += 1;
        if self.fault == Fault::FlashCrowd {
            self.crowd += 8;
        }
    }
}

pub(crate) struct World {
    pub(crate) handle: Handle,
    pub(crate) system: watch::Sender<System>,
    dir: TempDir,
    _port: Port,
    ends: ShutdownTrigger,
}

impl Drop for World {
    fn drop(&mut self) {
        self.ends.advance(ShutdownStage::Now);
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(json!({})).await
    }

    /// `otlp`: the settings of OTLP.
    pub(crate) async fn with(otlp: serde_json::Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path();
        std::fs::create_dir_all(state.join("snapshots")).unwrap();
        std::fs::create_dir_all(state.join("metrics")).unwrap();
        std::fs::create_dir_all(state.join("journal")).unwrap();
        let header = json!({"entry": "plan", "number": 1, "reason": "deploy"});
        std::fs::write(state.join("journal/0001.jsonl"), format!("{header}\n")).unwrap();
        let port = Port::free();
        let snapshot = json!({
            "epoch": 1, "app": "shop", "listen": port.address(), "token_file": state.join("token"),
            "settings": {"disk_bytes": 67_108_864_u64, "keep": "60d", "otlp": otlp},
            "layout": {
                "release": 3, "edge": ["127.0.0.1:8080"], "places": {}, "processes": {"web": true, "worker": false},
                "instances": {
                    "web.1@r3": {"port": 1, "in_rotation": true}, "web.2@r3": {"port": 2, "in_rotation": true},
                    "web.3@r3": {"port": 3, "in_rotation": true}, "worker.1@r3": {"port": 4, "in_rotation": false},
                },
                "pgproxy": "127.0.0.1:6432", "nodes": {"db1": 5432, "db2": 5433}, "primary": "db1",
                "redis": {"sessions": 6380, "cache": 6379},
            },
        });
        std::fs::write(state.join("snapshots/observe.json"), snapshot.to_string()).unwrap();
        let (ends, ended) = shutdown::channel();
        let tasks = Tasks::new(ends.clone());
        let system = watch::Sender::new(System::default());
        let listener = Listener::bind(&state.join("metrics/system.sock")).unwrap();
        let told = system.subscribe();
        tasks.spawn(TaskKind::Background, "pretended system", async move {
            let say = async || {
                let system = *told.borrow();
                Some(families(system))
            };
            control::tell(&listener, "system", say).await;
        });
        let (service, handle) = banyan_observe::build(Config::new(state)).unwrap();
        tasks.spawn(TaskKind::Role, "observe", service.run(ended));
        let mut world = Self {
            handle,
            system,
            dir,
            _port: port,
            ends,
        };
        let listens = world.handle.wait_for(|report| report.listening.is_some());
        timeout(PATIENCE, listens).await.unwrap().unwrap();
        world
    }

    pub(crate) fn breaks(&self, fault: Fault) {
        self.system.send_modify(|system| system.fault = fault);
    }

    /// As if it had been judged so. The snapshot has no rules: nobody judges otherwise.
    pub(crate) fn fires(&self) {
        let now = Clock.unix_ms();
        let alert = |rule: &str, severity: &str, summary: &str, more: serde_json::Value| {
            let mut alert = json!({
                "rule": rule, "severity": severity, "area": "database", "labels": {}, "summary": summary, "value": 7.5,
                "measure": "seconds", "since_ms": now - 200_000, "phase": {"firing": {"fired_ms": now - 100_000}}, "told": true,
            });
            let fields = alert.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            alert
        };
        let count = json!({"measure": "count", "value": 0});
        let lag = json!({"labels": {"node": "db2"}});
        let silenced = json!({"muted": {"silenced": "it moves to another machine"}});
        let alerts = json!([
            alert("no-primary", "P0", "the primary database does not answer", count),
            alert("replica-lag", "P1", "a replica is more than 5s behind", lag),
            alert(
                "sessions-down",
                "P1",
                "Redis for sessions does not answer",
                silenced
            ),
        ]);
        let state = json!({"at_ms": now, "alerts": alerts});
        let kept = Kept {
            state: serde_json::from_value(state).unwrap(),
            ..Kept::default()
        };
        self.write_alerts(&kept);
    }

    pub(crate) fn nothing_fires(&self) {
        self.write_alerts(&Kept::default());
    }

    fn write_alerts(&self, kept: &Kept) {
        let folder = self.dir.path().join("alerts");
        std::fs::create_dir_all(&folder).unwrap();
        watched::publish(&folder.join("state.json"), kept).unwrap();
    }

    /// Keeps one trace, of a checkout that a payment made slow.
    pub(crate) fn traced(&self) {
        let now_us = Clock.unix_us();
        let step = |id: u64, parent: u64, who: &str, name: &str, from_ms: u64, took_ms: u64| Span {
            trace: TraceId(0x4bf9_2f35),
            id: SpanId(id),
            parent: (parent > 0).then_some(SpanId(parent)),
            who: who.to_owned(),
            name: name.to_owned(),
            start_us: now_us + from_ms * 1000,
            took_us: took_ms * 1000,
            failed: id == 4,
            keep: true,
            fields: [("status".to_owned(), "200".to_owned())].into(),
        };
        let spans = [
            step(1, 0, "edge", "POST /checkout", 0, 450),
            step(2, 1, "edge", "wait for an instance", 0, 2),
            step(3, 1, "web.1@r3", "answer", 2, 448),
            step(4, 3, "pgproxy", "SELECT * FROM users WHERE id = ?", 20, 45),
            step(5, 3, "payment", "charge", 70, 320),
        ];
        let folder = store::folder(self.dir.path());
        Store::new(folder).write(&spans, now_us / 1000).unwrap();
    }

    /// Waits until the page of metrics shows a request that an edge tells of, in a line that has all of `wanted`.
    pub(crate) async fn metrics_with_exemplar(&self, wanted: &[&str]) {
        let socket = UnixDatagram::unbound().unwrap();
        let fields = [("route", "api"), ("status", "200")];
        let slow = Span {
            trace: TraceId(0x77aa),
            id: SpanId(1),
            parent: None,
            who: "edge".to_owned(),
            name: "GET /slow".to_owned(),
            start_us: Clock.unix_us(),
            took_us: 2_100_000,
            failed: false,
            keep: true,
            fields: fields
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let datagram = serde_json::to_vec(&slow).unwrap();
        let shown = async {
            loop {
                // Until somebody listens.
                let _sent = socket.send_to(&datagram, spans::socket(self.dir.path())).await;
                let page = self
                    .get_with_token("/metrics", "Accept: application/openmetrics-text\r\n")
                    .await;
                let exemplar = "# {trace_id=\"000000000000000000000000000077aa\"} 2.1 ";
                let is_it =
                    |line: &str| line.contains(exemplar) && wanted.iter().all(|part| line.contains(part));
                if page.lines().any(is_it) {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, shown).await.unwrap();
    }

    fn token(&self) -> String {
        token::read(&self.dir.path().join("token")).unwrap()
    }

    pub(crate) fn link(&self) -> String {
        let address = self.handle.report().listening.unwrap();
        format!("http://{address}/?token={}", self.token())
    }

    /// The answer, head and body, to a request with these further lines in its head.
    pub(crate) async fn get(&self, path: &str, more: &str) -> String {
        let address = self.handle.report().listening.unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        answer
    }

    pub(crate) async fn get_with_token(&self, path: &str, more: &str) -> String {
        let bearer = format!("Authorization: Bearer {}\r\n{more}", self.token());
        self.get(path, &bearer).await
    }

    /// The first view, as the terminal gets it, that is so; the system serves on meanwhile.
    pub(crate) async fn view(&self, wanted: impl Fn(&View) -> bool) -> View {
        let looked = async {
            loop {
                let mut connection = Connection::connect(&self.socket()).await.unwrap();
                if let Ok(Some(view)) = connection.receive::<View>().await
                    && wanted(&view)
                {
                    return view;
                }
                self.system.send_modify(System::serve);
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, looked).await.unwrap()
    }

    fn socket(&self) -> PathBuf {
        view_socket(self.dir.path())
    }
}

/// So many answers, between 2 and 20 ms; and slow ones, above a second.
fn counted(count: u64, slow: u64) -> Counted {
    let durations = Durations::default();
    for n in 0..count {
        durations.record(Duration::from_micros(2_000 + 200 * (n % 90)));
    }
    for n in 0..slow {
        durations.record(Duration::from_millis(1_000 + 20 * (n % 90)));
    }
    Durations::sum([&durations])
}

/// What edge, controller, proxy and Redis would tell.
fn families(system: System) -> Families {
    let mut all = Families::default();
    let children = [
        "edge",
        "web.1@r3",
        "web.2@r3",
        "web.3@r3",
        "worker.1@r3",
        "pgproxy",
    ];
    let engines = ["postgres", "postgres-db2", "redis-sessions", "redis-cache"];
    let dies = |child: &str| match system.fault {
        Fault::InstanceKilled => child == "web.2@r3",
        Fault::PrimaryLost => child == "postgres",
        Fault::None | Fault::FlashCrowd => false,
    };
    let failing = matches!(system.fault, Fault::InstanceKilled | Fault::PrimaryLost);
    for child in children.into_iter().chain(engines) {
        let labels = [("child", child)];
        all.family(Gauge, "banyan_child_up", "")
            .count(&labels, u64::from(!dies(child)));
        all.family(Counter, "banyan_child_restarts_total", "")
            .count(&labels, u64::from(dies(child)));
        if !dies(child) {
            all.family(Gauge, "banyan_child_pid", "").count(&labels, 7);
            all.family(Gauge, "banyan_child_memory_bytes", "")
                .count(&labels, 61 << 20);
            let cpu = system.served as f64 * 0.08;
            all.family(Counter, "banyan_child_cpu_seconds_total", "")
                .number(&labels, cpu);
        }
    }
    let served = (system.served + system.crowd) * 40;
    for (route, code, count, slow) in [
        ("*", "2xx", served, system.crowd * 4),
        ("api", "2xx", served / 2, 0),
        ("api", "5xx", if failing { served / 8 } else { 0 }, 0),
    ] {
        let labels = [("http_route", route), ("http_response_status_code", code)];
        all.family(Histogram, "http_server_request_duration_seconds", "")
            .durations(&labels, counted(count, slow));
    }
    for route in ["*", "api"] {
        all.family(Gauge, "http_server_active_requests", "")
            .count(&[("http_route", route)], 2);
    }
    for endpoint in ["web.1@r3", "web.2@r3", "web.3@r3"] {
        let labels = [("upstream", "web"), ("endpoint", endpoint)];
        let up = !dies(endpoint);
        all.family(Gauge, "banyan_edge_endpoint_ready", "")
            .count(&labels, u64::from(up));
        let asked = counted(if up { served / 3 } else { 0 }, 0);
        all.family(Histogram, "http_client_request_duration_seconds", "")
            .durations(&labels, asked);
    }
    let labels = [("group", "web"), ("state", "serving")];
    all.family(Gauge, "banyan_instances", "")
        .count(&labels, if dies("web.2@r3") { 2 } else { 3 });
    let crowded = system.fault == Fault::FlashCrowd;
    all.family(Gauge, "banyan_desired_instances", "")
        .count(&[("group", "web")], if crowded { 9 } else { 3 });
    all.family(Gauge, "banyan_edge_queue_length", "")
        .count(&[("upstream", "web")], if crowded { 34 } else { 0 });
    all.family(Counter, "banyan_pgproxy_units_total", "")
        .count(&[], served * 3);
    all.family(Counter, "banyan_pgproxy_reads_on_replicas_total", "")
        .count(&[], served);
    all.family(Gauge, "banyan_pgproxy_backends", "")
        .count(&[("state", "active")], 3)
        .count(&[("state", "idle")], 9);
    all.family(Gauge, "banyan_postgres_up", "")
        .count(&[], u64::from(!dies("postgres")));
    for redis in ["sessions", "cache"] {
        let labels = [("redis", redis)];
        all.family(Gauge, "redis_up", "").count(&labels, 1);
        all.family(Counter, "redis_commands_total", "")
            .count(&labels, served * 2);
        all.family(Counter, "redis_keyspace_hits_total", "")
            .count(&labels, served);
        all.family(Counter, "redis_keyspace_misses_total", "")
            .count(&labels, served / 9);
    }
    all
}
