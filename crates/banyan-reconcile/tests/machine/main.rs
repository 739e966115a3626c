//! The controller with the real supervisor, a real app without an edge, on this machine.

#![expect(clippy::unwrap_used, reason = "a test may end by a panic")]

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use banyan_config::{FileError, Source, Sources};
use banyan_reconcile::proto::{ConfigPaths, Outcome, Reply, Request, Row};
use banyan_reconcile::{ControllerConfig, Ending, Handle, Loaded, StateDir, build};
use banyan_runtime::shutdown::{self, ShutdownTrigger};
use banyan_runtime::{ShutdownStage, TaskKind, Tasks};
use tokio::task::JoinHandle;

const HELPER: &str = env!("CARGO_BIN_EXE_banyan-reconcile-helper");
const DEADLINE: Duration = Duration::from_secs(90);

struct Machine {
    handle: Handle,
    trigger: ShutdownTrigger,
    service: JoinHandle<Option<Ending>>,
    folder: tempfile::TempDir,
}

impl Machine {
    fn new(command: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "version = 1\nname = \"photos\"\nobserve.enabled = false\n[process.worker]\ncommand = \"{HELPER} {command}\"\ncount = 2\nready = {{ path = \"/\" }}\n"
        );
        std::fs::write(folder.path().join("banyan.toml"), config).unwrap();
        let (handle, trigger, service) = start(folder.path());
        Self {
            handle,
            trigger,
            service,
            folder,
        }
    }

    /// As by SIGKILL; then a new controller.
    async fn replace_controller(&mut self) {
        self.service.abort();
        assert!((&mut self.service).await.is_err());
        let until = tokio::time::Instant::now() + DEADLINE;
        // The lock goes with the last of what the old one owned.
        loop {
            if let Ok(started) = try_start(self.folder.path()) {
                (self.handle, self.trigger, self.service) = started;
                return;
            }
            assert!(tokio::time::Instant::now() < until, "the lock was never free");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn rows(&self) -> Vec<Row> {
        self.handle.status().await.unwrap().children
    }

    /// Looks again and again until `seen` holds.
    async fn until(&self, seen: impl Fn(&[Row]) -> bool) -> Vec<Row> {
        let look = async {
            loop {
                let rows = self.rows().await;
                if seen(&rows) {
                    return rows;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, look)
            .await
            .expect("it never came true")
    }

    async fn down(&mut self) {
        let done = self.handle.request(Request::Down, |_| {}).await;
        assert_eq!(done.error, None);
        assert_eq!((&mut self.service).await.unwrap(), Some(Ending::Down));
    }
}

impl Drop for Machine {
    /// A test that panics leaves no process: those in the record are its own.
    fn drop(&mut self) {
        self.trigger.advance(ShutdownStage::Now);
        let recorded =
            std::fs::read_to_string(self.folder.path().join(".banyan/children.json")).unwrap_or_default();
        for pid in recorded.split("\"pid\":").skip(1) {
            let digits: String = pid.trim().chars().take_while(char::is_ascii_digit).collect();
            if let Some(pid) = digits.parse().ok().and_then(rustix::process::Pid::from_raw) {
                rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).ok();
            }
        }
    }
}

type Started = (Handle, ShutdownTrigger, JoinHandle<Option<Ending>>);

fn start(folder: &Path) -> Started {
    try_start(folder).unwrap()
}

fn try_start(folder: &Path) -> Result<Started, String> {
    let (trigger, shutdown) = shutdown::channel();
    let tasks = Tasks::new(trigger.clone());
    let config = ControllerConfig {
        state: StateDir::new(folder.join(".banyan")),
        program: PathBuf::from(HELPER),
        config: ConfigPaths {
            file: folder.join("banyan.toml"),
            overlay: None,
        },
        load: Arc::new(load),
        base_env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
    };
    let (service, handle) = build(config, &tasks).map_err(|error| error.to_string())?;
    let service = tasks.spawn(TaskKind::Role, "controller", service.run(shutdown));
    Ok((handle, trigger, service))
}

fn load(paths: &ConfigPaths) -> Result<Loaded, Vec<String>> {
    let bytes = std::fs::read(&paths.file).unwrap();
    let sources = Sources {
        main: Source::new("banyan.toml", bytes),
        overlay: None,
        files: &|_| Err(FileError::Missing),
        certificates: &|_, _| Ok(Vec::new()),
    };
    let loaded = banyan_config::load(&sources).map_err(|errors| vec![errors.to_string()])?;
    Ok(Loaded {
        config: loaded.config,
        root: paths.file.parent().unwrap().to_owned(),
        secrets: loaded.secrets,
        hash: "1".to_owned(),
        notes: Vec::new(),
    })
}

fn pids(rows: &[Row]) -> Vec<Option<u32>> {
    rows.iter().map(|row| row.child.pid).collect()
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_comes_back_and_a_new_controller_takes_over_what_runs() {
    let mut machine = Machine::new("serve $PORT");
    let done = machine.handle.bring_up(|_| {}).await;
    assert_eq!((done.outcome, done.error), (Outcome::Changed, None));
    let rows = machine.rows().await;
    let ports: Vec<u16> = rows.iter().filter_map(|row| row.child.port).collect();
    assert_eq!(rows.len(), 2);

    let victim = rows[0].child.pid.unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(victim).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let back = machine
        .until(|rows| {
            rows.iter()
                .all(|row| row.child.pid.is_some_and(|pid| pid != victim))
        })
        .await;

    machine.replace_controller().await;
    let done = machine.handle.bring_up(|_| {}).await;
    assert_eq!((done.outcome, done.error), (Outcome::Nothing, None));
    assert_eq!(pids(&machine.rows().await), pids(&back));
    machine.down().await;
    assert!(ports.iter().all(|port| !listens(*port)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_exits_at_once_is_named_with_its_last_words_and_nothing_is_left() {
    let mut machine = Machine::new("fail");
    let done = machine.handle.bring_up(|_| {}).await;
    assert_eq!(done.outcome, Outcome::RolledBack);
    let error = done.error.unwrap();
    for part in [
        "failed to start worker.1@r1",
        "exit code 7",
        "no coffee left",
        "worker.1@r1.log",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!((&mut machine.service).await.unwrap(), Some(Ending::NotStarted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_judges_one_more_instance_and_leaves_the_others_alone() {
    let mut machine = Machine::new("serve $PORT");
    machine.handle.bring_up(|_| {}).await;
    let before = pids(&machine.rows().await);
    let config = ConfigPaths {
        file: machine.folder.path().join("banyan.toml"),
        overlay: None,
    };
    let mut replies = machine.handle.ask(Request::Trial { config }).await;
    let Some(Reply::Trial(trial)) = replies.recv().await else {
        panic!("no trial")
    };
    let held: Vec<(&str, bool)> = trial
        .findings
        .iter()
        .map(|finding| (finding.name.as_str(), finding.holds))
        .collect();
    assert_eq!(held[0], ("answers its readiness path", true), "{trial:?}");
    assert_eq!(pids(&machine.rows().await), before);
    machine.down().await;
}
