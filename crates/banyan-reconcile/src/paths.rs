//! Where things lie in the state folder (`.banyan/`). Names only: nothing here reads or writes, but [`StateDir::prepare`].

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use banyan_topology::ReleaseId;
use banyan_topology::snapshot::LIMITS_URL;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Held by the one controller of the installation; its content is that controller's pid.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// People and verbs talk to the controller here.
    pub fn control_socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Roles report here.
    pub fn report_socket(&self) -> PathBuf {
        self.0.join("report.sock")
    }

    /// Where the proxy tells what it has measured.
    pub fn signals_socket(&self) -> PathBuf {
        self.0.join("pgproxy.sock")
    }

    /// The last reached topology.
    pub fn topology(&self) -> PathBuf {
        self.0.join("topology.json")
    }

    pub fn intent(&self) -> PathBuf {
        self.0.join("intent.json")
    }

    /// What the autoscaler remembers.
    pub fn scale(&self) -> PathBuf {
        self.0.join("scale.json")
    }

    /// What the autoscaler has decided, a line each time it was something new.
    pub fn decisions(&self) -> PathBuf {
        self.0.join("autoscale.jsonl")
    }

    /// What people should know of backups.
    pub fn backup(&self) -> PathBuf {
        self.0.join("backup.json")
    }

    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    pub fn edge_snapshot(&self) -> PathBuf {
        self.0.join("snapshots").join("edge.json")
    }

    /// Where edges answer questions about their caches.
    pub fn cdn(&self) -> PathBuf {
        self.0.join("cdn")
    }

    /// What was purged from caches; beside what edges watch already.
    pub fn purge_log(&self) -> PathBuf {
        self.0.join("snapshots").join("purge.log")
    }

    pub fn pgproxy_snapshot(&self) -> PathBuf {
        self.0.join("snapshots").join("pgproxy.json")
    }

    pub fn observe_snapshot(&self) -> PathBuf {
        self.0.join("snapshots").join("observe.json")
    }

    /// What a person shows the dashboard.
    pub fn dashboard_token(&self) -> PathBuf {
        self.secrets().join("dashboard-token")
    }

    /// Where edges read which Redis counts their rate limits together.
    pub fn limits_url(&self) -> PathBuf {
        self.secrets().join(LIMITS_URL)
    }

    /// Where the processes of the machine tell each other what they measure.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics")
    }

    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Copies of banyan itself, by their digest: what a running edge can be started again from.
    pub fn programs(&self) -> PathBuf {
        self.0.join("programs")
    }

    pub fn releases(&self) -> PathBuf {
        self.0.join("releases")
    }

    pub fn release(&self, id: ReleaseId) -> PathBuf {
        self.releases().join(id.0.to_string())
    }

    /// The installation's own CA, and what it has signed.
    pub fn tls(&self) -> PathBuf {
        self.0.join("tls")
    }

    pub fn secrets(&self) -> PathBuf {
        self.0.join("secrets")
    }

    /// Makes the folders that are missing. Children of other users pass through the state folder to their data, so it
    /// can be traversed (0711); what only the controller reads is 0700.
    pub fn prepare(&self) -> io::Result<()> {
        make(&self.0, 0o711)?;
        for (name, mode) in [
            ("journal", 0o700),
            ("snapshots", 0o700),
            ("secrets", 0o700),
            ("programs", 0o711),
            ("releases", 0o711),
            ("logs", 0o711),
            ("data", 0o711),
        ] {
            make(&self.0.join(name), mode)?;
        }
        Ok(())
    }
}

fn make(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().recursive(false).mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(mode).create(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    // The umask may have taken more away than meant.
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}
