//! An edge in this process with its own state folder, driven by snapshots like the real one.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;

use banyan_config::{EdgeSettings, EdgeTimeouts, Protocol, Trace};
use banyan_edge::{Config, Error, Handle};
use banyan_runtime::ShutdownStage;
use banyan_runtime::shutdown::{self, ShutdownTrigger};
use banyan_runtime::watched;
use banyan_testkit::upstream::{Message, Wire};
use banyan_topology::report::EdgeReport;
use banyan_topology::snapshot::{EdgeSnapshot, Endpoint, EndpointState, Listener, Speaks, Upstream};
use banyan_topology::{Epoch, PlaceName};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub snapshot: EdgeSnapshot,
    pub handle: Handle,
    pub dir: Arc<TempDir>,
    pub log: Log,
    pub service: JoinHandle<Result<(), Error>>,
    trigger: ShutdownTrigger,
}

/// The access log, kept in memory.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn lines(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

pub(crate) fn settings() -> EdgeSettings {
    EdgeSettings {
        timeouts: EdgeTimeouts {
            response: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            ..EdgeSettings::default().timeouts
        },
        workers: Some(2),
        // What instances hear is compared; tests of traces ask for them.
        trace: Trace::Off,
        ..EdgeSettings::default()
    }
}

/// Plain HTTP there.
pub(crate) fn listener(address: SocketAddr) -> Listener {
    Listener {
        address,
        speaks: Speaks::Http,
    }
}

pub(crate) fn endpoint(slot: usize, address: SocketAddr) -> Endpoint {
    Endpoint {
        id: format!("web.{slot}@r1").parse().unwrap(),
        address,
        protocol: Protocol::Http1,
        zone: None,
        state: EndpointState::Active,
    }
}

impl World {
    /// Serving these endpoints, all found ready.
    pub(crate) async fn start(addresses: &[SocketAddr]) -> Self {
        Self::with(addresses, |_| {}).await
    }

    /// As [`World::start`] with a changed first snapshot. Every core knows that the endpoints are ready, not control alone:
    /// one that does not would still wait, or ask a backup.
    pub(crate) async fn with(addresses: &[SocketAddr], change: impl FnOnce(&mut EdgeSnapshot)) -> Self {
        let before = |snapshot: &mut EdgeSnapshot| {
            change(snapshot);
            snapshot.epoch = Epoch(snapshot.epoch.0 - 1);
        };
        let mut world = Self::launch(addresses, before).await;
        world.until(|r| r.endpoints.iter().all(|e| e.healthy)).await;
        world.settled().await;
        world
    }

    /// Serving, but not waiting for any endpoint.
    pub(crate) async fn launch(addresses: &[SocketAddr], change: impl FnOnce(&mut EdgeSnapshot)) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        std::fs::create_dir(dir.path().join("snapshots")).unwrap();
        let mut snapshot = EdgeSnapshot {
            epoch: Epoch(10),
            app: "photos".parse().unwrap(),
            listeners: vec![listener("127.0.0.1:0".parse().unwrap())],
            settings: settings(),
            upstream: Upstream {
                process: "web".parse().unwrap(),
                ready: None,
                proxy_protocol: None,
                endpoints: addresses
                    .iter()
                    .enumerate()
                    .map(|(i, a)| endpoint(i + 1, *a))
                    .collect(),
            },
            others: Vec::new(),
            routes: Vec::new(),
            streams: Vec::new(),
            passthrough: Default::default(),
            places: Default::default(),
            challenges: Default::default(),
        };
        change(&mut snapshot);
        let mut world = Self::run(dir, snapshot, None);
        world.put();
        let epoch = world.snapshot.epoch;
        world.until(|r| r.epoch == epoch && !r.listening.is_empty()).await;
        world
    }

    /// Another edge in the same state folder, not waited for.
    pub(crate) fn successor(&self) -> Self {
        Self::run(Arc::clone(&self.dir), self.snapshot.clone(), None)
    }

    /// As after kill -9: another process serves from the same folder, and the one before tells it nothing.
    pub(crate) async fn restart(&mut self) {
        self.end().await;
        self.begin().await;
    }

    /// Without a word to anybody.
    pub(crate) async fn end(&mut self) {
        self.end_now();
        self.ended().await;
    }

    /// Another edge after one that ended.
    pub(crate) async fn begin(&mut self) {
        *self = self.successor();
        let epoch = self.snapshot.epoch;
        self.until(|r| r.epoch == epoch && !r.listening.is_empty() && r.endpoints.iter().all(|e| e.healthy))
            .await;
        self.settled().await;
    }

    /// Another edge at that place, not waited for.
    pub(crate) fn successor_at(&self, place: &str) -> Self {
        let place = place.parse().unwrap();
        Self::run(Arc::clone(&self.dir), self.snapshot.clone(), Some(place))
    }

    /// The edge at a place of the snapshot, serving.
    pub(crate) async fn at(&self, place: &str) -> Self {
        let mut world = self.successor_at(place);
        let epoch = world.snapshot.epoch;
        world
            .until(|r| r.epoch == epoch && !r.listening.is_empty() && r.endpoints.iter().all(|e| e.healthy))
            .await;
        world
    }

    #[expect(clippy::disallowed_methods, reason = "the role under test")]
    fn run(dir: Arc<TempDir>, snapshot: EdgeSnapshot, place: Option<PlaceName>) -> Self {
        let log = Log::default();
        let config = Config {
            state_dir: dir.path().to_owned(),
            place,
            access_log: Box::new(log.clone()),
            // A busy machine is no reason to count alone.
            limits_deadline: Duration::from_secs(3),
        };
        let (service, handle) = banyan_edge::build(config).unwrap();
        let (trigger, shutdown) = shutdown::channel();
        let service = tokio::spawn(service.run(shutdown));
        Self {
            snapshot,
            handle,
            dir,
            log,
            service,
            trigger,
        }
    }

    pub(crate) fn put(&self) {
        watched::publish(&self.dir.path().join("snapshots/edge.json"), &self.snapshot).unwrap();
    }

    /// Publishes the next epoch and waits until every core serves it.
    pub(crate) async fn publish(&mut self, change: impl FnOnce(&mut EdgeSnapshot)) {
        change(&mut self.snapshot);
        self.snapshot.epoch = self.snapshot.epoch.next();
        self.put();
        let epoch = self.snapshot.epoch;
        self.until(|r| r.epoch == epoch).await;
    }

    /// Waits until every core has taken what control told it before, as commands come in order and epochs are acknowledged:
    /// a report says only what control knows.
    pub(crate) async fn settled(&mut self) {
        self.publish(|_| {}).await;
    }

    /// As [`World::until`] without waiting for the report of each second: an epoch is reported at once, with all counts.
    pub(crate) async fn soon(&mut self, mut wanted: impl FnMut(&EdgeReport) -> bool) -> EdgeReport {
        let soon = async {
            loop {
                self.publish(|_| {}).await;
                let report = self.handle.report();
                if wanted(&report) {
                    return report;
                }
            }
        };
        tokio::time::timeout(PATIENCE, soon)
            .await
            .expect("never reported")
    }

    pub(crate) async fn until(&mut self, wanted: impl FnMut(&EdgeReport) -> bool) -> EdgeReport {
        match tokio::time::timeout(PATIENCE, self.handle.wait_for(wanted)).await {
            Ok(report) => report.expect("the edge ended"),
            Err(_) => panic!("never reported; the last report is {:#?}", self.handle.report()),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.report().listening[0]
    }

    pub(crate) async fn client(&self) -> Wire {
        Wire::connect(self.address()).await
    }

    /// One request on its own connection.
    pub(crate) async fn ask(&self, request: &str) -> Message {
        let mut client = self.client().await;
        client.send(request).await;
        client.message().await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str) -> Message {
        self.ask(&get(path)).await
    }

    pub(crate) fn drain(&self) {
        self.trigger.advance(ShutdownStage::Draining);
    }

    pub(crate) fn end_now(&self) {
        self.trigger.advance(ShutdownStage::Now);
    }

    /// Waits for the role's own end.
    pub(crate) async fn ended(&mut self) {
        let ended = tokio::time::timeout(PATIENCE, &mut self.service).await;
        ended.expect("the edge does not end").unwrap().unwrap();
    }

    /// The access log once it has so many lines.
    pub(crate) async fn logged(&self, lines: usize) -> Vec<serde_json::Value> {
        let wait = async {
            while self.log.lines().len() < lines {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("not logged");
        self.log.lines()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.trigger.advance(ShutdownStage::Now);
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n")
}

pub(crate) fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: app.example\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
