//! A system whose alerts come within seconds, a receiver of them, and faults that end with the test.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use banyan_e2e::{Installation, Manifest, judge};
use banyan_testkit::load::Load;
use banyan_testkit::upstream::{Upstream, Wire};
use banyan_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) const LIMIT: Duration = Duration::from_secs(180);
const RATE: u32 = 60;

/// Hours as seconds. What a machine that runs tests may have anyway (a full disk, used memory) is off until it is asked for.
const SHORT: &str = r#"
[alerts]
every = "1s"
clear = "2s"
slo = 0.9
rule.errors-most = { over = "4s", for = "1s", least = 20 }
rule.errors-critical = { over = "4s", for = "1s", least = 20 }
rule.errors-high = { over = "4s", for = "1s", least = 20 }
rule.errors-some = { over = "4s", for = "1s", least = 20 }
rule.budget-fast = { over = "36s", for = "1s", least = 20, limit = 3 }
rule.budget-medium = { over = "48s", for = "1s", least = 20, limit = 2 }
rule.budget-slow = { over = "60s", for = "1s", least = 20 }
rule.latency-high = { over = "4s", for = "1s", least = 20, limit = "200ms" }
rule.no-instance = { for = "1s" }
rule.no-primary = { for = "1s" }
rule.no-data = { over = "5s", for = "1s" }
rule.replica-lag = { for = "1s", limit = "2s" }
rule.sessions-down = { for = "1s" }
rule.queries-slow = { over = "8s", for = "1s", least = 20, limit = "300ms" }
rule.cache-misses = { over = "8s", for = "1s", least = 20 }
rule.certificate-expires = { for = "1s" }
"#;

pub(crate) struct World {
    pub(crate) installation: Installation,
    pub(crate) mood: PathBuf,
    /// `firing errors-most`, in the order in which the receiver was told.
    told: Arc<Mutex<Vec<String>>>,
    pub(crate) port: u16,
    _receiver: Upstream,
}

/// Everything the receiver says yes to; it begins with a no, so that the first notice must come again.
async fn receiver(told: Arc<Mutex<Vec<String>>>) -> (Upstream, u16) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let refused = Arc::new(Mutex::new(false));
    let upstream = Upstream::on(listener, move |mut wire: Wire| {
        let (told, refused) = (Arc::clone(&told), Arc::clone(&refused));
        async move {
            let Some(message) = wire.message().await else {
                return;
            };
            if !std::mem::replace(&mut *refused.lock().unwrap(), true) {
                return wire.answer(500, "").await;
            }
            let document: Value = serde_json::from_slice(&message.body).unwrap();
            let word = |alert: &Value, key: &str| alert[key].as_str().unwrap_or_default().to_owned();
            let alerts = document["alerts"].as_array().unwrap().iter();
            let lines = alerts.map(|alert| format!("{} {}", word(alert, "status"), word(alert, "rule")));
            told.lock().unwrap().extend(lines);
            wire.answer(200, "").await;
        }
    });
    (upstream, port)
}

impl World {
    /// `more`: lines of `[alerts]`.
    pub(crate) async fn new(mut manifest: Manifest, mood: PathBuf, more: &[&str]) -> Self {
        let told = Arc::default();
        let (receiver, port) = receiver(Arc::clone(&told)).await;
        manifest.more.extend(table(ANY, port));
        manifest.more.extend(more.iter().map(|line| (*line).to_owned()));
        let mut installation = Installation::new(manifest);
        installation.up().await;
        Self {
            installation,
            mood,
            told,
            port,
            _receiver: receiver,
        }
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    pub(crate) async fn is_told(&self, what: &str) {
        wait::until(what, LIMIT, async || {
            let told = self.told();
            if told.iter().any(|line| line == what) {
                Ok(())
            } else {
                Err(format!("{told:?}"))
            }
        })
        .await
        .unwrap();
    }

    /// All of these fire, muted or not.
    pub(crate) async fn fire(&self, rules: &[&str]) {
        wait::until(&rules.join(", "), LIMIT, async || {
            let shown = self.shown().await;
            let firing: Vec<&str> = shown["alerts"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|alert| alert["phase"].get("firing").is_some())
                .filter_map(|alert| alert["rule"].as_str())
                .collect();
            if rules.iter().all(|rule| firing.contains(rule)) {
                Ok(())
            } else {
                Err(format!("{firing:?}"))
            }
        })
        .await
        .unwrap();
    }

    /// Everything that was told of is over, and nothing is left.
    pub(crate) async fn all_clear(&self) {
        wait::until("the end of all alerts", LIMIT, async || {
            let shown = self.shown().await;
            let told = self.told();
            let count = |word: &str| told.iter().filter(|line| line.starts_with(word)).count();
            let quiet = shown["alerts"].as_array().is_some_and(Vec::is_empty);
            if quiet && count("firing") == count("cleared") {
                Ok(())
            } else {
                Err(format!("{told:?} {shown}"))
            }
        })
        .await
        .unwrap();
        self.told.lock().unwrap().clear();
    }

    async fn shown(&self) -> Value {
        let answer = self.installation.verb(&["alerts", "--json"]).await;
        serde_json::from_str(&answer.stdout).expect("JSON")
    }

    /// Rules are judged for so long from now on.
    pub(crate) async fn judged_for(&self, time: Duration) {
        let judged = async || self.shown().await["judged_ms"].as_u64().unwrap_or(0);
        let begin = judged().await;
        wait::until("rules to be judged", LIMIT, async || {
            let now = judged().await;
            if begin > 0 && now >= begin + u64::try_from(time.as_millis()).unwrap() {
                Ok(())
            } else {
                Err(now)
            }
        })
        .await
        .unwrap();
    }

    pub(crate) fn load(&self) -> Load {
        let client = Arc::new(self.installation.client());
        Load::start(RATE, move |_| {
            let client = Arc::clone(&client);
            async move { judge("read", "/", client.get("/").await) }
        })
    }

    pub(crate) async fn pid(&self, kind: &str) -> Pid {
        let status = self.installation.status().await;
        let mut children = status["children"].as_array().unwrap().iter();
        let child = children.find(|child| child["kind"].as_str().is_some_and(|own| own.starts_with(kind)));
        let pid = child
            .and_then(|child| child["pid"].as_i64())
            .unwrap_or_else(|| panic!("{kind} in {status}"));
        Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }
}

/// What of the machine is too much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// Shares of memory and of the disk.
    pub(crate) memory: f64,
    pub(crate) disk: f64,
    /// Whether a disk that fills is told.
    pub(crate) filling: bool,
}

/// Nothing is: tests run beside others.
pub(crate) const ANY: Machine = Machine {
    memory: 0.999,
    disk: 1.0,
    filling: false,
};

pub(crate) fn table(machine: Machine, port: u16) -> Vec<String> {
    let Machine {
        memory,
        disk,
        filling,
    } = machine;
    vec![
        SHORT.to_owned(),
        format!("rule.memory-high = {{ for = \"1s\", limit = {memory} }}"),
        format!("rule.disk-full = {{ for = \"1s\", limit = {disk} }}"),
        format!(
            "rule.disk-filling = {{ over = \"10s\", for = \"1s\", limit = \"365d\", enabled = {filling} }}"
        ),
        format!("to.hook = {{ webhook = \"http://127.0.0.1:{port}/hook\" }}"),
    ]
}

/// Held until it is dropped, also by a panic: nothing stopped is left behind.
pub(crate) struct Stopped(Pid);

impl Stopped {
    pub(crate) fn new(pid: Pid) -> Self {
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _gone = kill_process(self.0, Signal::CONT);
    }
}

/// A server and all its sessions.
pub(crate) fn family(pid: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let child = |of: &Pid| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", of.as_raw_nonzero())).unwrap_or_default();
        let parent = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.split(' ').nth(1)?.parse::<i32>().ok());
        parent == Some(pid.as_raw_nonzero().get())
    };
    [pid].into_iter().chain(pids.filter(child)).collect()
}
