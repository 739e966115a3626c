//! Apps in other languages: `examples/python` and `examples/node` keep their sessions on REDIS_URL, and nobody is logged out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_e2e::site::variable;
use banyan_e2e::{Installation, Manifest};
use banyan_testkit::http::Client;
use banyan_testkit::redis::command;
use banyan_testkit::wait;
use bytes::Bytes;
use http::Request;
use rustix::process::{Pid, Signal, kill_process};

use crate::servers::row;

const LIMIT: Duration = Duration::from_secs(120);

/// One person's cookie.
pub(crate) struct Browser {
    client: Client,
    cookie: String,
    visits: u32,
}

impl Browser {
    pub(crate) fn of(it: &Installation) -> Self {
        Self {
            client: it.client(),
            cookie: String::new(),
            visits: 0,
        }
    }

    pub(crate) async fn ask(&mut self, method: &str, path: &str) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("cookie", &self.cookie);
        let answer = self
            .client
            .send(request.body(Bytes::new()).unwrap())
            .await
            .unwrap();
        if let Some(set) = answer.headers().get("set-cookie") {
            let set = set.to_str().unwrap();
            assert!(set.contains("HttpOnly; SameSite=Lax"), "{set}");
            self.cookie = set.split(';').next().unwrap().to_owned();
        }
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        (answer.status().as_u16(), body)
    }

    /// Comes often enough to meet every instance, and is always known.
    async fn visit(&mut self, it: &Installation) {
        for _ in 0..12 {
            self.visits += 1;
            let answer = self.ask("GET", "/").await;
            assert_eq!(
                answer,
                (200, format!("visit {} of ann\n", self.visits)),
                "{}",
                it.logs()
            );
        }
    }
}

fn installation(language: &str, command: &str) -> Installation {
    let mut manifest = Manifest::misfit("");
    manifest.command = command.to_owned();
    manifest.count = 2;
    manifest.ready = Some("/readyz".to_owned());
    manifest.process = vec!["stop_grace = \"15s\"".to_owned()];
    manifest.more = vec!["[sessions]".to_owned(), "memory = \"64MiB\"".to_owned()];
    let it = Installation::new(manifest);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(language);
    for file in fs::read_dir(examples).unwrap() {
        let from: PathBuf = file.unwrap().path();
        if from.is_file() {
            let to = it.app().join(from.file_name().unwrap());
            fs::copy(from, &to).unwrap();
            fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    it
}

async fn pid_of_redis(it: &Installation) -> i32 {
    let row = row(it, "redis sessions").await.expect("a Redis for sessions");
    i32::try_from(row["pid"].as_u64().unwrap()).unwrap()
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

async fn stays_logged_in(language: &str, command_line: &str) {
    let mut it = installation(language, command_line);
    it.up().await;
    let mut ann = Browser::of(&it);
    assert_eq!(
        ann.ask("POST", "/log-in/ann").await,
        (200, "hello ann\n".to_owned())
    );
    ann.visit(&it).await;

    it.apply(|manifest| manifest.count = 3).await;
    ann.visit(&it).await;
    it.verb(&["deploy"]).await;
    ann.visit(&it).await;
    it.apply(|manifest| manifest.count = 1).await;
    ann.visit(&it).await;

    let (_, app) = it.instances().await.into_iter().next().unwrap();
    let url = variable(app, "REDIS_URL").unwrap();
    let url = url.strip_suffix("/0").unwrap_or(&url).to_owned();
    let before = pid_of_redis(&it).await;
    kill(before);
    let back = wait::until("Redis to be back", LIMIT, async || {
        let answer = command(&url, &["PING"]).map_err(|error| error.to_string())?;
        let again = pid_of_redis(&it).await != before && answer == "PONG";
        if again { Ok(()) } else { Err(answer) }
    });
    back.await.unwrap();
    ann.visit(&it).await;

    let cookie = ann.cookie.clone();
    assert_eq!(ann.ask("POST", "/log-out").await, (200, "bye\n".to_owned()));
    ann.cookie = cookie;
    assert_eq!(ann.ask("GET", "/").await.1, "visit 1 of a stranger\n");
    it.down().await;
    it.assert_nothing_runs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_logged_out_of_the_python_app() {
    stays_logged_in("python", "/usr/bin/python3 app.py").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_logged_out_of_the_node_app() {
    stays_logged_in("node", "/usr/bin/node app.js").await;
}
