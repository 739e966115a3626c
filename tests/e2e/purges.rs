//! `banyan purge` and `POST /purge` on the running system: what was purged is served to nobody who asks later, whatever dies.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::http::Client;
use banyan_testkit::{Port, wait};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::edge_restarts::edge_pid;

const LIMIT: Duration = Duration::from_secs(60);
const PATHS: u64 = 4;

/// An app whose answers are what a file says when they begin, half of each coming later; all of them are cached for an hour.
struct Site {
    installation: Installation,
    file: PathBuf,
    endpoint: Port,
    /// Those of other places, if there are any.
    places: Vec<Port>,
}

impl Site {
    async fn up() -> Self {
        let endpoint = Port::free();
        let cache = format!(
            "cache = {{ rules = [{{ path = \"/*\", ttl = \"1h\", tags = [\"all\"] }}], purge = {{ listen = \"127.0.0.1:{}\" }} }}",
            endpoint.number()
        );
        let mut installation = Installation::new(Manifest::misfit("--file said.txt").edge(&cache));
        installation.manifest.count = 2;
        installation.write_manifest();
        let file = installation.app().join("said.txt");
        fs::write(&file, "00000000").unwrap();
        installation.up().await;
        Self {
            installation,
            file,
            endpoint,
            places: Vec::new(),
        }
    }

    /// With two more edges.
    async fn with_three_edges() -> Self {
        let mut site = Self::up().await;
        site.places = vec![Port::free(), Port::free()];
        let at = ["south", "west"].into_iter().zip(&site.places);
        let tables = at.map(|(name, port)| {
            [
                format!("[edge.place.{name}]"),
                format!("port = {}", port.number()),
            ]
        });
        let tables: Vec<String> = tables.flatten().collect();
        site.installation.apply(|manifest| manifest.more = tables).await;
        site
    }

    fn edges(&self) -> Vec<SocketAddr> {
        let places = self.places.iter().map(Port::address);
        std::iter::once(self.installation.edge_address())
            .chain(places)
            .collect()
    }

    async fn kill_south(&self) {
        let status = self.installation.status().await;
        let rows = status["children"].as_array().unwrap();
        let south = rows.iter().find(|row| row["id"] == "edge-south");
        signal(south.unwrap()["pid"].as_u64().unwrap(), Signal::KILL);
    }

    /// A reader sees the old or the new.
    fn say(&self, version: u64) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{version:08}")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.installation.edge_address())
    }

    /// Of every edge, as its readers name it.
    fn urls(&self) -> Vec<String> {
        let edges = self.edges();
        let of_one = |n| edges.iter().map(move |edge| format!("http://{edge}/{n}"));
        (0..PATHS).flat_map(of_one).collect()
    }

    fn token(&self) -> String {
        let path = self.installation.state().join("secrets/purge-token");
        fs::read_to_string(path).unwrap().trim().to_owned()
    }

    async fn post(&self, token: &str, body: &Value) -> (StatusCode, Value) {
        let client = Client::fresh_connections(self.endpoint.address());
        let request = Request::post("/purge")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let answer = client.send(request).await.unwrap();
        let body = serde_json::from_slice(answer.body()).unwrap_or_default();
        (answer.status(), body)
    }

    async fn told(&self, path: &str) -> u64 {
        let answer = self.installation.client().get(path).await.unwrap();
        number(answer.body()).unwrap()
    }
}

fn number(body: &[u8]) -> Option<u64> {
    std::str::from_utf8(body).ok()?.trim().parse().ok()
}

fn signal(pid: u64, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Asks for all paths over and over; each answer must be as new as what was acknowledged before it was asked for.
struct Readers {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Readers {
    #[expect(clippy::disallowed_methods, reason = "a test is not part of Banyan's runtime")]
    fn start(site: &Site) -> Self {
        let edges = site.edges();
        let this = Self {
            acknowledged: Arc::default(),
            stop: Arc::default(),
            answers: Arc::default(),
            tasks: Vec::new(),
        };
        let reader = |at: u64| {
            let (acknowledged, stop) = (Arc::clone(&this.acknowledged), Arc::clone(&this.stop));
            let answers = Arc::clone(&this.answers);
            let edge = edges[usize::try_from(at).unwrap() % edges.len()];
            tokio::spawn(async move {
                let client = Client::keep_alive(edge);
                let mut wrong = Vec::new();
                let mut turn = at;
                while !stop.load(Ordering::SeqCst) {
                    turn += 1;
                    let path = format!("/{}", turn % PATHS);
                    let least = acknowledged.load(Ordering::SeqCst);
                    let got = match client.get(&path).await {
                        Ok(answer) if answer.status() == 200 => number(answer.body()),
                        // An edge was killed.
                        Ok(_) | Err(_) => {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            continue;
                        }
                    };
                    answers.fetch_add(1, Ordering::SeqCst);
                    if got.is_none_or(|got| got < least) {
                        wrong.push(format!("{path}: {got:?} after {least} was acknowledged"));
                    }
                }
                wrong
            })
        };
        let tasks = (0..8).map(reader).collect();
        Self { tasks, ..this }
    }

    async fn answered(&self, more: u64) {
        let goal = self.answers.load(Ordering::SeqCst) + more;
        wait::until("the readers to go on", LIMIT, async || {
            match self.answers.load(Ordering::SeqCst) {
                count if count >= goal => Ok(()),
                count => Err(count),
            }
        })
        .await
        .unwrap();
    }

    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut wrong = Vec::new();
        for task in self.tasks {
            wrong.extend(task.await.unwrap());
        }
        println!("{} answers", self.answers.load(Ordering::SeqCst));
        wrong
    }
}

/// Everything that is served, named in another way each time; `false`: it was not acknowledged.
async fn purge(site: &Site, version: u64) -> bool {
    let token = site.token();
    let everything = match version % 4 {
        0 => json!({ "all": true, "hard": true }),
        1 => json!({ "tags": ["all"], "hard": true }),
        2 => json!({ "globs": ["http://127.0.0.1:*"], "hard": true }),
        _ => json!({ "urls": site.urls(), "hard": true }),
    };
    let client = Client::fresh_connections(site.endpoint.address());
    let request = Request::post("/purge")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {token}"))
        .body(Bytes::from(everything.to_string()))
        .unwrap();
    client
        .send(request)
        .await
        .is_ok_and(|answer| answer.status() == 200)
}

async fn acknowledged(site: &Site, readers: &Readers, versions: std::ops::RangeInclusive<u64>) {
    for version in versions {
        site.say(version);
        wait::until("an acknowledged purge", LIMIT, async || {
            if purge(site, version).await {
                Ok(())
            } else {
                Err(version)
            }
        })
        .await
        .unwrap_or_else(|late| panic!("{late}\n{}", site.installation.logs()));
        readers.acknowledged.store(version, Ordering::SeqCst);
        readers.answered(20).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_purged_is_served_after_the_acknowledgement_whatever_is_killed_or_replaced_under_load() {
    let mut site = Site::up().await;
    let readers = Readers::start(&site);
    acknowledged(&site, &readers, 1..=20).await;
    let first = edge_pid(&site.installation).await;
    site.say(21);
    let (purged, ()) = tokio::join!(purge(&site, 21), async { signal(first, Signal::KILL) });
    if purged {
        readers.acknowledged.store(21, Ordering::SeqCst);
    }
    acknowledged(&site, &readers, 22..=30).await;
    // In the middle of purges, too.
    site.say(31);
    {
        let going = purge(&site, 31);
        let mut going = std::pin::pin!(going);
        let _pending = tokio::time::timeout(Duration::from_millis(1), &mut going).await;
    }
    site.installation.kill_controller();
    site.installation.start_controller();
    site.installation.serving("/").await;
    acknowledged(&site, &readers, 32..=40).await;
    site.installation
        .apply(|manifest| manifest.edge.push("workers = 3".to_owned()))
        .await;
    acknowledged(&site, &readers, 41..=50).await;
    let wrong = readers.end().await;
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", site.installation.logs());
    site.installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_waits_for_the_edge_names_it_when_it_is_silent_and_holds_when_it_is_back() {
    let mut site = Site::up().await;
    assert_eq!(site.told("/a").await, 0);
    site.say(1);
    assert_eq!(site.told("/a").await, 0, "it is cached");
    let url = site.url("/a");
    let said = site.installation.verb(&["purge", "--hard", &url]).await;
    assert!(said.stdout.contains("is applied by the edge"), "{}", said.stdout);
    assert_eq!(site.told("/a").await, 1);
    let pid = edge_pid(&site.installation).await;
    site.say(2);
    signal(pid, Signal::STOP);
    wait::until("the edge to be stopped", LIMIT, async || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        if stat.contains(") T ") { Ok(()) } else { Err(stat) }
    })
    .await
    .unwrap();
    let silent = site
        .installation
        .try_verb(&["--json", "cdn", "purge", "--hard", &url])
        .await;
    signal(pid, Signal::CONT);
    assert_eq!(silent.code(), 1, "{}", silent.output());
    assert!(
        silent.stderr.contains(&format!("(pid {pid})")),
        "{}",
        silent.output()
    );
    let told: Value = serde_json::from_str(&silent.stdout).unwrap();
    assert_eq!(
        (told["complete"].as_bool(), told["purged"]["seq"].as_u64()),
        (Some(false), Some(2))
    );
    wait::until("the purge to be applied", LIMIT, async || {
        match site.told("/a").await {
            2 => Ok(()),
            old => Err(old),
        }
    })
    .await
    .unwrap();
    let wrong = site.installation.try_verb(&["purge", "/a"]).await;
    assert_eq!(wrong.code(), 1);
    assert!(
        wrong.stderr.contains("no whole URL: write scheme and host"),
        "{}",
        wrong.stderr
    );
    let warmed = ["/w1", "/w2"].map(|path| site.url(path));
    for expected in ["2 stored, 0 were there", "0 stored, 2 were there"] {
        let said = site
            .installation
            .verb(&["cdn", "warm", "--rate", "1000", &warmed[0], &warmed[1]])
            .await;
        assert!(said.stdout.contains(expected), "{}", said.output());
    }
    let stats = site.installation.verb(&["cdn", "stats"]).await;
    assert!(
        stats.stdout.contains("OF CACHEABLE") && stats.stdout.contains("/a"),
        "{}",
        stats.stdout
    );
    let told = site.installation.verb(&["cdn", "explain", &url]).await;
    for expected in [
        format!("key      {url}"),
        "verdict  a hit".to_owned(),
        "a change is seen after 1h".to_owned(),
    ] {
        assert!(told.stdout.contains(&expected), "{expected}\n{}", told.stdout);
    }
    site.installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_reaches_three_edges_and_so_does_what_a_change_makes_untrue_also_when_one_is_killed() {
    let mut site = Site::with_three_edges().await;
    let addresses = site.edges();
    // One name for all of them, as users have.
    let ask = async |method: Method, address| {
        let request = Request::builder()
            .method(method)
            .uri("/a")
            .header("host", "shop.example");
        let client = Client::fresh_connections(address);
        let answer = client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
        number(answer.body()).unwrap()
    };
    let told = async || {
        let mut told = Vec::new();
        for address in &addresses {
            told.push(ask(Method::GET, *address).await);
        }
        told
    };
    assert_eq!(told().await, [0, 0, 0]);
    site.say(1);
    assert_eq!(told().await, [0, 0, 0], "each has it");
    let url = "http://shop.example/a";
    let said = site.installation.verb(&["--json", "purge", "--hard", url]).await;
    let said: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(said["purged"]["edges"].as_array().unwrap().len(), 3, "{said}");
    println!("three edges after {} ms", said["purged"]["took_ms"]);
    assert_eq!(told().await, [1, 1, 1]);
    site.say(2);
    site.kill_south().await;
    site.installation.verb(&["purge", "--hard", url]).await;
    site.installation.serving("/").await;
    let all = async || match Client::fresh_connections(addresses[1]).get("/").await {
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.to_string()),
    };
    wait::until("the killed edge to serve again", LIMIT, all)
        .await
        .unwrap();
    assert_eq!(told().await, [2, 2, 2]);
    // What passes one edge and changes something, the others hear of.
    site.say(3);
    ask(Method::POST, addresses[1]).await;
    wait::until("all edges to have forgotten it", LIMIT, async || {
        match told().await {
            told if told == [3, 3, 3] => Ok(()),
            told => Err(format!("{told:?}")),
        }
    })
    .await
    .unwrap_or_else(|late| panic!("{late}\n{}", site.installation.logs()));
    site.installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_edges_none_serves_what_was_purged_also_when_one_is_killed_in_the_middle_under_load() {
    let mut site = Site::with_three_edges().await;
    let readers = Readers::start(&site);
    acknowledged(&site, &readers, 1..=8).await;
    site.say(9);
    let (purged, ()) = tokio::join!(purge(&site, 9), site.kill_south());
    if purged {
        readers.acknowledged.store(9, Ordering::SeqCst);
    }
    acknowledged(&site, &readers, 10..=16).await;
    let wrong = readers.end().await;
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", site.installation.logs());
    site.installation.down().await;
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_over_http_are_for_whoever_has_the_token() {
    let mut site = Site::up().await;
    let url = site.url("/a");
    assert_eq!(site.told("/a").await, 0);
    site.say(1);
    let token = site.token();
    assert_eq!(
        mode(&site.installation.state().join("secrets/purge-token")),
        0o600
    );
    let (status, said) = site.post("0123456789abcdef", &json!({ "all": true })).await;
    assert_eq!(status, 401, "{said}");
    let (status, said) = site.post(&token, &json!({ "urls": ["/a"] })).await;
    assert_eq!(status, 400);
    assert!(said["error"].as_str().unwrap().contains("no whole URL"), "{said}");
    let (status, said) = site.post(&token, &json!({ "url": url })).await;
    assert_eq!(status, 400);
    assert!(
        said["error"]
            .as_str()
            .unwrap()
            .contains("urls, prefixes, globs, tags"),
        "{said}"
    );
    assert_eq!(site.told("/a").await, 0, "none of it has purged anything");
    let (status, said) = site.post(&token, &json!({ "urls": [url], "hard": true })).await;
    assert_eq!(
        (status.as_u16(), said["complete"].as_bool()),
        (200, Some(true)),
        "{said}"
    );
    assert_eq!(site.told("/a").await, 1);
    // Without a cache there is nothing to purge, and nobody listens.
    site.installation.apply(|manifest| manifest.edge.clear()).await;
    let refused = site.installation.try_verb(&["purge", "--all"]).await;
    assert!(
        refused.stderr.contains("there is no cache to purge"),
        "{}",
        refused.output()
    );
    let address = site.endpoint.address();
    wait::until(
        "the port to be given up",
        LIMIT,
        async || match tokio::net::TcpStream::connect(address).await {
            Ok(_) => Err("somebody listens"),
            Err(_) => Ok(()),
        },
    )
    .await
    .unwrap();
    site.installation.down().await;
}
