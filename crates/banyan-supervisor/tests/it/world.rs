//! A supervisor in a temporary folder; whatever it started is killed when the test ends, also when it fails.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_runtime::shutdown::{self, ShutdownTrigger};
use banyan_runtime::{ShutdownStage, TaskKind, Tasks};
use banyan_supervisor::{
    ChildId, ChildSpec, ChildState, ChildStatus, Handle, Probe, RunAs, StopSignal, SupervisorConfig,
};

pub(crate) const HELPER: &str = env!("CARGO_BIN_EXE_banyan-supervisor-helper");
/// Nothing here may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) handle: Handle,
    trigger: ShutdownTrigger,
    runtime_tasks: Tasks,
}

/// The helper where every user can execute it: the build folder may be closed to others.
pub(crate) fn helper_for_all(folder: &Path) -> PathBuf {
    let copy = folder.join("helper");
    if !copy.exists() {
        fs::copy(HELPER, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    }
    copy
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (handle, trigger, runtime_tasks) = supervisor(folder.path());
        Self {
            folder,
            handle,
            trigger,
            runtime_tasks,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the service, not the children; then a new one looks at the same folder.
    pub(crate) async fn restart_controller(&mut self) {
        self.trigger.advance(ShutdownStage::Now);
        self.runtime_tasks.finished().await;
        (self.handle, self.trigger, self.runtime_tasks) = supervisor(self.folder.path());
    }

    pub(crate) async fn end(self) {
        self.handle.kill_all().await;
        self.trigger.advance(ShutdownStage::Now);
    }

    /// Runs as `argv`, ready at once.
    pub(crate) fn spec(&self, id: &str, argv: &[&str]) -> ChildSpec {
        ChildSpec {
            id: ChildId(id.to_owned()),
            argv: argv.iter().map(ToString::to_string).collect(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            cwd: self.path().to_owned(),
            user: RunAs::Same,
            log: self.path().join(format!("logs/{id}.log")),
            ready: Probe::Running {
                for_at_least: Duration::ZERO,
            },
            live: None,
            start_grace: Duration::from_secs(60),
            stop: StopSignal::Terminate,
            stop_grace: Duration::from_secs(10),
            port: None,
        }
    }

    /// As [`World::spec`], with a probe of `port`.
    pub(crate) fn http_spec(&self, id: &str, port: u16, argv: &[&str]) -> ChildSpec {
        ChildSpec {
            ready: http(port, "/readyz"),
            port: Some(port),
            ..self.spec(id, argv)
        }
    }

    pub(crate) async fn status_of(&self, id: &str) -> Option<ChildStatus> {
        let all = self.handle.status().await;
        all.into_iter().find(|status| status.id.0 == id)
    }

    /// Waits until the child's state is as wanted.
    pub(crate) async fn until(&self, id: &str, wanted: impl Fn(&ChildStatus) -> bool) -> ChildStatus {
        let look = async {
            loop {
                if let Some(status) = self.status_of(id).await
                    && wanted(&status)
                {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(status) => status,
            Err(_) => panic!("{id} is {:?}", self.status_of(id).await),
        }
    }

    pub(crate) async fn until_ready(&self, id: &str) -> ChildStatus {
        self.until(id, |status| status.state == ChildState::Ready).await
    }

    pub(crate) fn log(&self, id: &str) -> String {
        fs::read_to_string(self.path().join(format!("logs/{id}.log"))).unwrap_or_default()
    }
}

impl Drop for World {
    /// For a test that failed half way: the children bear the folder's marker, so kill_all of a new service finds them.
    fn drop(&mut self) {
        let folder = self.folder.path().to_owned();
        let kill = move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let (handle, trigger, _tasks) = supervisor(&folder);
                handle.kill_all().await;
                trigger.advance(ShutdownStage::Now);
            });
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a runtime cannot be entered from within another"
        )]
        std::thread::spawn(kill).join().ok();
    }
}

fn supervisor(folder: &Path) -> (Handle, ShutdownTrigger, Tasks) {
    let (trigger, shutdown) = shutdown::channel();
    let tasks = Tasks::new(trigger.clone());
    let config = SupervisorConfig {
        state_dir: folder.to_owned(),
        program: helper_for_all(folder),
    };
    let (service, handle) = banyan_supervisor::build(config, &tasks).unwrap();
    tasks.spawn(TaskKind::Role, "supervisor", service.run(shutdown));
    (handle, trigger, tasks)
}

pub(crate) fn http(port: u16, path: &str) -> Probe {
    Probe::Http {
        greeting: &[],
        address: ([127, 0, 0, 1], port).into(),
        protocol: Default::default(),
        path: path.to_owned(),
        host: None,
        service: None,
        status: 200,
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(1),
        rise: 1,
        fall: 2,
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'))
    })
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let look = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, look).await.is_ok(),
        "never: {what}"
    );
}
