//! Rules are fired and cleared by real faults, a receiver is told of both, and of nothing else.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use banyan_e2e::{Installation, Manifest, judge};
use banyan_testkit::load::Load;
use banyan_testkit::upstream::{Upstream, Wire};
use banyan_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(90);
const RATE: u32 = 60;

/// Hours as seconds. What a machine that runs tests may have anyway (a full disk, used memory) is off until it is asked for.
const SHORT: &str = r#"
[alerts]
every = "1s"
clear = "2s"
slo = 0.9
rule.errors-most = { over = "4s", for = "1s", least = 20 }
rule.errors-high = { over = "4s", for = "1s", least = 20 }
rule.errors-some = { over = "4s", for = "1s", least = 20 }
rule.budget-fast = { over = "36s", for = "1s", least = 20, limit = 3 }
rule.budget-medium = { over = "48s", for = "1s", least = 20, limit = 2 }
rule.budget-slow = { over = "60s", for = "1s", least = 20 }
rule.latency-high = { over = "4s", for = "1s", least = 20, limit = "200ms" }
rule.no-instance = { for = "1s" }
rule.no-primary = { for = "1s" }
rule.no-data = { over = "5s", for = "1s" }
rule.disk-full = { for = "1s", limit = 1.0 }
rule.disk-filling = { enabled = false }
"#;

struct World {
    installation: Installation,
    mood: PathBuf,
    /// `firing errors-most`, in the order in which the receiver was told.
    told: Arc<Mutex<Vec<String>>>,
    port: u16,
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
    async fn new(mut manifest: Manifest, mood: PathBuf) -> Self {
        let told = Arc::default();
        let (receiver, port) = receiver(Arc::clone(&told)).await;
        manifest.more.extend(table(0.999, port));
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

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    async fn is_told(&self, what: &str) {
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

    /// Everything that was told of is over, and nothing is left.
    async fn all_clear(&self) {
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
    async fn judged_for(&self, time: Duration) {
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

    fn load(&self) -> Load {
        let client = Arc::new(self.installation.client());
        Load::start(RATE, move |_| {
            let client = Arc::clone(&client);
            async move { judge("read", "/", client.get("/").await) }
        })
    }

    async fn pid(&self, kind: &str) -> Pid {
        let status = self.installation.status().await;
        let child = status["children"]
            .as_array()
            .unwrap()
            .iter()
            .find(|child| child["kind"] == kind);
        let pid = child
            .and_then(|child| child["pid"].as_i64())
            .unwrap_or_else(|| panic!("{kind} in {status}"));
        Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }
}

/// `memory`: the share of memory that is too much.
fn table(memory: f64, port: u16) -> Vec<String> {
    vec![
        SHORT.to_owned(),
        format!("rule.memory-high = {{ for = \"1s\", limit = {memory} }}"),
        format!("to.hook = {{ webhook = \"http://127.0.0.1:{port}/hook\" }}"),
    ]
}

/// Held until it is dropped, also by a panic: nothing stopped is left behind.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: Pid) -> Self {
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _gone = kill_process(self.0, Signal::CONT);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_app_and_the_machine_are_told_and_so_is_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let mood = folder.path().join("mood");
    let mut manifest = Manifest::misfit(&format!("--mood {}", mood.display()));
    manifest.ready = Some("/".to_owned());
    let mut world = World::new(manifest, mood).await;
    let load = world.load();

    // As many judgements as ten minutes have by default.
    world.judged_for(Duration::from_secs(20)).await;
    assert_eq!(world.told(), [""; 0], "a steady load");

    std::fs::write(&world.mood, "sleep 400").unwrap();
    world.is_told("firing latency-high").await;
    std::fs::remove_file(&world.mood).unwrap();
    world.all_clear().await;

    let web = Stopped::new(world.pid("web").await);
    world.is_told("firing no-instance").await;
    drop(web);
    world.all_clear().await;

    std::fs::write(&world.mood, "status 500").unwrap();
    world.is_told("firing errors-most").await;
    std::fs::remove_file(&world.mood).unwrap();
    world.all_clear().await;
    load.stop().await;

    let edge = Stopped::new(world.pid("edge").await);
    world.is_told("firing no-data").await;
    drop(edge);
    world.all_clear().await;
    world.installation.down().await;
}

/// A server and all its sessions.
fn family(pid: Pid) -> Vec<Pid> {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_primary_is_told_and_what_fires_outlives_the_judge_and_is_silenced() {
    let mut world = World::new(Manifest::photos(1), PathBuf::new()).await;
    world.judged_for(Duration::from_secs(5)).await;
    assert_eq!(world.told(), [""; 0], "nothing is wrong");

    let stopped: Vec<Stopped> = family(world.pid("postgres 15").await)
        .into_iter()
        .map(Stopped::new)
        .collect();
    world.is_told("firing no-primary").await;
    drop(stopped);
    world.all_clear().await;

    let port = world.port;
    world
        .installation
        .apply(|manifest| manifest.more = table(0.001, port))
        .await;
    world.is_told("firing memory-high").await;
    let status = world.installation.verb(&["status"]).await.stdout;
    assert!(status.contains("P2 memory-high:"), "{status}");

    kill_process(world.pid("observe").await, Signal::KILL).unwrap();
    world.judged_for(Duration::from_secs(10)).await;
    assert_eq!(world.told(), ["firing memory-high"], "nobody is told twice");

    let silence = [
        "alerts",
        "silence",
        "memory-high",
        "--for",
        "1h",
        "--why",
        "a drill",
    ];
    world.installation.verb(&silence).await;
    wait::until("the silence to hold", LIMIT, async || {
        let page = world.installation.verb(&["alerts"]).await.stdout;
        if page.contains("silenced  ") && page.contains("a drill") {
            Ok(())
        } else {
            Err(page)
        }
    })
    .await
    .unwrap();
    world
        .installation
        .verb(&["alerts", "unsilence", "memory-high"])
        .await;
    world
        .installation
        .apply(|manifest| manifest.more = table(0.999, port))
        .await;
    world.all_clear().await;
    let history = world.installation.verb(&["alerts", "history"]).await.stdout;
    assert!(history.contains("P0 no-primary is over"), "{history}");
    world.installation.down().await;
}
