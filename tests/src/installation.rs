//! One installation of Banyan in a temporary folder: its banyan.toml, its controller, its verbs.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_runtime::Clock;
use banyan_testkit::http::Client;
use banyan_testkit::process::{Finished, Process, Run};
use banyan_testkit::{Port, wait};
use serde_json::Value;

use crate::binaries;
use crate::guard::Guard;
use crate::manifest::Manifest;

/// A verb that takes longer than this is stuck.
const VERB_LIMIT: Duration = Duration::from_secs(90);
const SERVING_LIMIT: Duration = Duration::from_secs(60);

/// By link where that works: debug binaries are large. Nobody writes into it; a new version takes its name.
fn place(program: &Path, at: &Path) {
    if fs::hard_link(program, at).is_err() {
        fs::copy(program, at).unwrap();
    }
}

/// Its folder, its ports and its controller; everything ends with it.
#[derive(Debug)]
pub struct Installation {
    controller: Option<Process>,
    guard: Guard,
    dir: PathBuf,
    /// `None`: the one that was built.
    banyan: Option<PathBuf>,
    edge: Port,
    database: Port,
    pub manifest: Manifest,
}

impl Installation {
    /// Writes banyan.toml and puts the sample app's binary into the app's folder. Starts nothing.
    pub fn new(manifest: Manifest) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("banyan-e2e-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap()
            // The guard deletes it, also when this process is killed.
            .keep();
        let guard = Guard::over(&dir);
        fs::create_dir(dir.join("app")).unwrap();
        fs::set_permissions(dir.join("app"), fs::Permissions::from_mode(0o755)).unwrap();
        let this = Self {
            controller: None,
            guard,
            dir,
            banyan: None,
            edge: Port::free(),
            database: Port::free(),
            manifest,
        };
        if this.manifest.command.starts_with("./photos") {
            place(&binaries::photos(), &this.app().join("photos"));
        }
        place(&binaries::misfit(), &this.app().join("misfit"));
        place(&binaries::chatter(), &this.app().join("chatter"));
        this.write_manifest();
        this
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The app's folder.
    pub fn app(&self) -> PathBuf {
        self.dir.join("app")
    }

    pub fn state(&self) -> PathBuf {
        self.dir.join(".banyan")
    }

    pub fn manifest_path(&self) -> PathBuf {
        self.dir.join("banyan.toml")
    }

    pub fn edge_address(&self) -> std::net::SocketAddr {
        self.edge.address()
    }

    pub fn database_port(&self) -> u16 {
        self.database.number()
    }

    /// Another port for the database, from the next [`Self::write_manifest`] on.
    pub fn move_database(&mut self) {
        self.database = Port::free();
    }

    /// Another port for the edge, from the next [`Self::write_manifest`] on.
    pub fn move_edge(&mut self) {
        self.edge = Port::free();
    }

    pub fn write_manifest(&self) {
        let text = self.manifest.text(self.edge.number(), self.database.number());
        fs::write(self.manifest_path(), text).unwrap();
    }

    /// Edits banyan.toml and applies it.
    pub async fn apply(&mut self, change: impl FnOnce(&mut Manifest)) -> Finished {
        change(&mut self.manifest);
        self.write_manifest();
        self.verb(&["apply"]).await
    }

    /// A client's connection pool to the edge.
    pub fn client(&self) -> Client {
        Client::keep_alive(self.edge.address())
    }

    /// From now on, banyan is a program of this installation's own, as a build would make it: runnable and unlike any
    /// other. Replaced while it runs, as builds and packages do.
    pub fn rebuild_banyan(&mut self, build: &str) {
        let (path, new) = (self.dir.join("banyan"), self.dir.join("banyan.new"));
        fs::copy(binaries::banyan(), &new).unwrap();
        let mut program = fs::OpenOptions::new().append(true).open(&new).unwrap();
        program.write_all(build.as_bytes()).unwrap();
        drop(program);
        fs::rename(new, &path).unwrap();
        self.banyan = Some(path);
    }

    /// Another program takes banyan's name; returns where the good one is now.
    pub fn replace_banyan_by(&self, text: &str) -> PathBuf {
        let (path, good, new) = ["banyan", "banyan.good", "banyan.new"]
            .map(|name| self.dir.join(name))
            .into();
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&path, &good).unwrap();
        fs::rename(new, path).unwrap();
        good
    }

    pub fn command(&self, verb: &[&str]) -> Run {
        self.command_of(self.banyan.as_deref().unwrap_or(&binaries::banyan()), verb)
    }

    pub fn command_of(&self, banyan: &Path, verb: &[&str]) -> Run {
        let config = self.manifest_path();
        Run::new(banyan)
            .args(["--config".as_ref(), config.as_os_str()])
            .args(verb)
            .cwd(&self.dir)
    }

    /// Runs a verb to its end, whatever that is.
    pub async fn try_verb(&self, verb: &[&str]) -> Finished {
        self.command(verb)
            .finish(VERB_LIMIT)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.logs()))
    }

    /// Runs a verb that must succeed.
    pub async fn verb(&self, verb: &[&str]) -> Finished {
        let finished = self.try_verb(verb).await;
        assert_eq!(
            finished.code(),
            0,
            "banyan {verb:?} failed:\n{}\n{}",
            finished.output(),
            self.logs()
        );
        finished
    }

    /// `banyan up` in the foreground, until the first 200 through the edge. Returns how long that took.
    pub async fn up(&mut self) -> Duration {
        let began = Clock.now();
        self.start_controller();
        self.serving("/").await;
        Clock.now() - began
    }

    /// `banyan up` in the foreground; does not wait for anything.
    pub fn start_controller(&mut self) {
        self.controller = Some(self.command(&["up"]).start().unwrap());
    }

    /// Waits for a 200 on `path` and for the end of every plan.
    pub async fn serving(&mut self, path: &str) {
        let client = Client::fresh_connections(self.edge.address());
        let controller = self.controller.as_mut().expect("a controller in the foreground");
        let waited = wait::until("a 200 through the edge", SERVING_LIMIT, async || {
            if let Some(status) = controller.has_ended() {
                return Ok(Err(format!("up ended with {status}")));
            }
            match client.get(path).await {
                Ok(answer) if answer.status() == 200 => Ok(Ok(())),
                Ok(answer) => Err(answer.status().to_string()),
                Err(failure) => Err(failure.to_string()),
            }
        });
        let served = waited
            .await
            .map_err(|timed_out| timed_out.to_string())
            .and_then(|end| end);
        if let Err(reason) = served {
            panic!("{reason}\n{}\n{}", self.controller_output(), self.logs());
        }
        self.settled().await;
    }

    /// Waits until `up` says that it is done, if it was started in the foreground, and the controller has no unfinished plan.
    pub async fn settled(&mut self) -> Value {
        if let Some(controller) = &mut self.controller {
            let announced = wait::until("`up` to say that it serves", SERVING_LIMIT, async || {
                match (controller.stdout().contains(" is up at "), controller.has_ended()) {
                    (true, _) => Ok(Ok(())),
                    (false, Some(status)) => Ok(Err(format!("up ended with {status}"))),
                    (false, None) => Err("not yet"),
                }
            });
            let announced = announced
                .await
                .map_err(|timed_out| timed_out.to_string())
                .and_then(|end| end);
            if let Err(reason) = announced {
                panic!("{reason}\n{}\n{}", self.controller_output(), self.logs());
            }
        }
        let waited = wait::until(
            "the controller to have nothing left to do",
            SERVING_LIMIT,
            async || match self.try_status().await {
                Ok(status) if status["unfinished"].is_null() && status["url"].is_string() => Ok(status),
                Ok(status) => Err(format!("status {status}")),
                Err(output) => Err(format!("status failed: {output}")),
            },
        );
        waited
            .await
            .unwrap_or_else(|timed_out| panic!("{timed_out}\n{}\n{}", self.controller_output(), self.logs()))
    }

    pub async fn status(&self) -> Value {
        let finished = self.verb(&["status", "--json"]).await;
        serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.stdout))
    }

    async fn try_status(&self) -> Result<Value, String> {
        let finished = self.try_verb(&["status", "--json"]).await;
        serde_json::from_str(&finished.stdout).map_err(|_| finished.output())
    }

    /// The pids of the app's instances, by name (`web.1@r1`).
    pub async fn instances(&self) -> Vec<(String, u32)> {
        self.instances_that(|_| true).await
    }

    /// As [`Self::instances`], without those that start or end right now.
    pub async fn ready_instances(&self) -> Vec<(String, u32)> {
        self.instances_that(|row| row["state"] == "ready").await
    }

    async fn instances_that(&self, wanted: impl Fn(&Value) -> bool) -> Vec<(String, u32)> {
        let status = self.status().await;
        let rows = status["children"].as_array().cloned().unwrap_or_default();
        let instance = |row: &Value| {
            let id = row["id"].as_str()?;
            let pid = u32::try_from(row["pid"].as_u64()?).ok()?;
            (id.contains('@') && wanted(row)).then(|| (id.to_owned(), pid))
        };
        rows.iter().filter_map(instance).collect()
    }

    /// SIGKILL to the controller alone; its children live on.
    pub fn kill_controller(&mut self) {
        self.controller_mut().kill();
    }

    pub fn controller_mut(&mut self) -> &mut Process {
        self.controller
            .as_mut()
            .expect("no controller was started in the foreground")
    }

    /// What the foreground `up` has printed.
    pub fn controller_output(&self) -> String {
        let text = |controller: &Process| format!("{}{}", controller.stdout(), controller.stderr());
        format!(
            "--- up\n{}",
            self.controller.as_ref().map(text).unwrap_or_default()
        )
    }

    /// `banyan down`, the end of the controller, and nothing left.
    pub async fn down(&mut self) {
        self.verb(&["down"]).await;
        if let Some(mut controller) = self.controller.take() {
            let status = controller.ended(Duration::from_secs(60)).await.unwrap();
            assert!(
                status.success(),
                "up ended with {status}: {}",
                controller.stderr()
            );
        }
        self.assert_nothing_runs();
    }

    pub fn running(&self) -> Vec<(u32, String)> {
        self.guard.running()
    }

    pub fn assert_nothing_runs(&self) {
        let running = self.running();
        assert!(running.is_empty(), "left running: {running:#?}\n{}", self.logs());
    }

    /// The last lines of each child's log: for the messages of failed tests.
    pub fn logs(&self) -> String {
        let Ok(entries) = fs::read_dir(self.state().join("logs")) else {
            return String::new();
        };
        let tail = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(25)..].join("\n");
            format!(
                "--- {}\n{last}",
                path.file_name().unwrap_or_default().to_string_lossy()
            )
        };
        let mut tails: Vec<String> = entries
            .filter_map(|entry| Some(tail(entry.ok()?.path())))
            .collect();
        tails.sort();
        tails.join("\n")
    }
}
