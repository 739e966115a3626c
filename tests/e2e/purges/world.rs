//! The site that is purged, and readers who find out what is still served.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::http::{Client, Failure};
use banyan_testkit::{Port, wait};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::edge_restarts::edge_pid;

const LIMIT: Duration = Duration::from_secs(120);
const PATHS: u64 = 4;

/// An app whose answers are what a file says when they begin, half of each coming later; all of them are cached for an hour.
pub(super) struct Site {
    pub(super) installation: Installation,
    pub(super) file: PathBuf,
    pub(super) endpoint: Port,
    /// Those of other places, if there are any.
    pub(super) places: Vec<Port>,
    /// By which readers know all edges; `None`: each by its address.
    name: Option<&'static str>,
}

impl Site {
    pub(super) async fn up() -> Self {
        Self::up_with("").await
    }

    /// With more settings of the cache, each with its comma.
    pub(super) async fn up_with(more: &str) -> Self {
        let endpoint = Port::free();
        let cache = format!(
            "cache = {{ {more} rules = [{{ path = \"/*\", ttl = \"1h\", tags = [\"all\"] }}], purge = {{ listen = \"127.0.0.1:{}\" }} }}",
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
            name: None,
        }
    }

    /// With two more edges.
    pub(super) async fn with_three_edges() -> Self {
        let mut site = Self::up().await;
        site.add_places("").await;
        site
    }

    /// With two more edges that share with the first what they keep, each with a disk.
    pub(super) async fn with_edges_beside() -> Self {
        let mut site = Self::up_with("disk = \"64MiB\",").await;
        site.name = Some("shop.example");
        site.add_places("beside = \"edge\"").await;
        site.shares().await;
        site
    }

    async fn add_places(&mut self, setting: &str) {
        self.places = vec![Port::free(), Port::free()];
        let at = ["south", "west"].into_iter().zip(&self.places);
        let tables = at.map(|(name, port)| {
            [
                format!("[edge.place.{name}]"),
                format!("port = {}", port.number()),
                setting.to_owned(),
            ]
        });
        let tables: Vec<String> = tables.flatten().collect();
        self.installation.apply(|manifest| manifest.more = tables).await;
    }

    /// Each edge has heard that the others are there: of some keys it asks them.
    async fn shares(&self) {
        for edge in self.edges() {
            let round = AtomicU64::new(0);
            wait::until("the edges to share", LIMIT, async || {
                for n in 0..8 {
                    let path = format!("/shares?{}-{n}", round.fetch_add(1, Ordering::SeqCst));
                    let answer = self.ask(&Client::fresh_connections(edge), &path).await;
                    let answer = answer.map_err(|failure| failure.to_string())?;
                    let said = answer.headers().get_all("cache-status").iter();
                    let members = said.map(|line| {
                        String::from_utf8_lossy(line.as_bytes())
                            .matches("banyan-edge")
                            .count()
                    });
                    if members.sum::<usize>() > 1 {
                        return Ok(());
                    }
                }
                Err(format!("{edge} asks nobody"))
            })
            .await
            .unwrap();
        }
    }

    /// The edge that has this key for the others, as `status` names it.
    pub(super) async fn owner(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.name.unwrap_or_default());
        let told = self.installation.verb(&["cdn", "explain", &url]).await.stdout;
        let place = told
            .split("the edge at ")
            .nth(1)
            .unwrap_or_else(|| panic!("{told}"));
        match place.split(' ').next() {
            Some("edge") | None => "edge".to_owned(),
            Some(place) => format!("edge-{place}"),
        }
    }

    /// Of this name, where it serves.
    pub(super) async fn pid(&self, edge: &str) -> Option<u64> {
        let status = self.installation.status().await;
        let rows = status["children"].as_array()?;
        let ready = rows
            .iter()
            .find(|row| row["id"] == edge && row["state"] == "ready")?;
        ready["pid"].as_u64()
    }

    pub(super) async fn replaced(&self, edge: &str, old: u64) {
        wait::until("another edge", LIMIT, async || match self.pid(edge).await {
            Some(new) if new != old => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
        .await
        .unwrap_or_else(|late| panic!("{late}\n{}", self.installation.logs()));
    }

    /// As the readers ask.
    async fn ask(&self, client: &Client, path: &str) -> Result<Response<Bytes>, Failure> {
        ask(client, self.name, path).await
    }

    pub(super) fn edges(&self) -> Vec<SocketAddr> {
        let places = self.places.iter().map(Port::address);
        std::iter::once(self.installation.edge_address())
            .chain(places)
            .collect()
    }

    pub(super) async fn kill_south(&self) {
        let status = self.installation.status().await;
        let rows = status["children"].as_array().unwrap();
        let south = rows.iter().find(|row| row["id"] == "edge-south");
        signal(south.unwrap()["pid"].as_u64().unwrap(), Signal::KILL);
    }

    /// By kill -9, and another one serves.
    pub(super) async fn replace_edge(&mut self) {
        let old = edge_pid(&self.installation).await;
        signal(old, Signal::KILL);
        self.replaced("edge", old).await;
        self.installation.serving("/").await;
    }

    /// So many objects are on the disk, and none is on its way there.
    pub(super) async fn lie(&self, count: u64) {
        wait::until("the disk to have them", LIMIT, async || {
            let status = self.installation.status().await;
            let cache = &status["edge_report"]["cache"];
            let lie = (cache["disk_objects"].as_u64(), cache["under_way"].as_u64());
            match lie {
                (Some(there), Some(0)) if there == count => Ok(()),
                _ => Err(cache.to_string()),
            }
        })
        .await
        .unwrap();
    }

    /// A reader sees the old or the new.
    pub(super) fn say(&self, version: u64) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{version:08}")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.installation.edge_address())
    }

    /// What readers ask for begins so.
    fn beginnings(&self) -> Vec<String> {
        match self.name {
            Some(name) => vec![format!("http://{name}/")],
            None => self
                .edges()
                .iter()
                .map(|edge| format!("http://{edge}/"))
                .collect(),
        }
    }

    pub(super) fn urls(&self) -> Vec<String> {
        let all = self.beginnings();
        let of_one = |n| all.iter().map(move |beginning| format!("{beginning}{n}"));
        (0..PATHS).flat_map(of_one).collect()
    }

    pub(super) fn globs(&self) -> Vec<String> {
        self.beginnings()
            .into_iter()
            .map(|beginning| beginning + "*")
            .collect()
    }

    pub(super) fn token(&self) -> String {
        let path = self.installation.state().join("secrets/purge-token");
        fs::read_to_string(path).unwrap().trim().to_owned()
    }

    pub(super) async fn post(&self, token: &str, body: &Value) -> (StatusCode, Value) {
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

    pub(super) async fn told(&self, path: &str) -> u64 {
        let answer = self.installation.client().get(path).await.unwrap();
        number(answer.body()).unwrap()
    }
}

async fn ask(client: &Client, name: Option<&str>, path: &str) -> Result<Response<Bytes>, Failure> {
    let Some(name) = name else {
        return client.get(path).await;
    };
    let request = Request::get(path).header("host", name);
    client.send(request.body(Bytes::new()).unwrap()).await
}

pub(super) fn number(body: &[u8]) -> Option<u64> {
    std::str::from_utf8(body).ok()?.trim().parse().ok()
}

pub(super) fn signal(pid: u64, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Asks for all paths over and over; each answer must be as new as what was acknowledged before it was asked for.
pub(super) struct Readers {
    pub(super) acknowledged: Arc<AtomicU64>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) answers: Arc<AtomicU64>,
    pub(super) tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Readers {
    #[expect(clippy::disallowed_methods, reason = "a test is not part of Banyan's runtime")]
    pub(super) fn start(site: &Site) -> Self {
        let (edges, name) = (site.edges(), site.name);
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
                    let got = match ask(&client, name, &path).await {
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

    pub(super) async fn answered(&self, more: u64) {
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

    pub(super) async fn end(self) -> Vec<String> {
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
pub(super) async fn purge(site: &Site, version: u64) -> bool {
    let token = site.token();
    let everything = match version % 4 {
        0 => json!({ "all": true, "hard": true }),
        1 => json!({ "tags": ["all"], "hard": true }),
        2 => json!({ "globs": site.globs(), "hard": true }),
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

pub(super) async fn acknowledged(site: &Site, readers: &Readers, versions: std::ops::RangeInclusive<u64>) {
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
