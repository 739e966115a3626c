//! A server on restored data for a short while: reached over a socket in a folder of its own, by nobody else.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use banyan_runtime::Clock;
use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::Config;

use super::super::SUPERUSER;
use super::super::control::Session;
use super::program::command;
use crate::child::{RunAs, log};
use crate::engine::files::{Owner, write_private};

/// Socket paths may have 107 bytes, so not in anybody's deep folder.
const SHORT: &str = "/tmp";
/// Only names the socket; nothing listens on it.
const PORT: u16 = 5432;
/// Writing what is in memory to the disk.
const STOP_LIMIT: Duration = Duration::from_secs(600);

/// A folder for sockets, logs and locks of programs that work on restored data; gone with this value.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn make(run_as: &RunAs) -> io::Result<Self> {
        let name = format!("banyan-{}-{}", std::process::id(), Clock.unix_ms());
        let path = Path::new(SHORT).join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Self(path);
        Owner::of(run_as).take(&folder.0)?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn log(&self, program: &str) -> PathBuf {
        self.0.join(format!("{program}.log"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // In /tmp: what cannot be deleted now is the system's to clear.
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A program with its output in a file of the folder; killed with this value.
pub(super) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    pub(super) fn start(
        program: &Path,
        arguments: &[String],
        run_as: &RunAs,
        folder: &Folder,
    ) -> io::Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let log = folder.log(&name);
        let file = File::create(&log)?;
        let child = command(program, run_as)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Self { child, log })
    }

    /// `None`: it runs.
    pub(super) fn ended(&mut self) -> io::Result<Option<std::process::ExitStatus>> {
        self.child.try_wait()
    }

    pub(super) fn said(&self) -> String {
        log::tail_since(&self.log, 0)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended.
            kill_process(pid, signal).ok();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // PostgreSQL's immediate shutdown; the others end by it, too.
        self.signal(Signal::QUIT);
        self.child.wait().ok();
    }
}

/// PostgreSQL on a data directory that nobody else uses.
pub(super) struct Scratch {
    program: Program,
    folder: Folder,
}

impl Scratch {
    /// Neither the network nor the repository learns of it: it stores no log, and waits for no replica.
    pub(super) fn start(bin: &Path, data: &Path, run_as: &RunAs, folder: Folder) -> io::Result<Self> {
        let access = folder.path().join("pg_hba.conf");
        write_private(&access, b"local all all trust\n", &Owner::of(run_as))?;
        let settings = [
            ("hba_file", access.display().to_string()),
            ("unix_socket_directories", folder.path().display().to_string()),
            ("listen_addresses", String::new()),
            ("port", PORT.to_string()),
            ("archive_mode", "off".to_owned()),
            ("synchronous_standby_names", String::new()),
            ("primary_conninfo", String::new()),
            ("primary_slot_name", String::new()),
            ("shared_buffers", "128MB".to_owned()),
            ("cluster_name", "restore".to_owned()),
            ("logging_collector", "off".to_owned()),
        ];
        let mut arguments = vec!["-D".to_owned(), data.display().to_string()];
        for (name, value) in settings {
            arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        let program = Program::start(&bin.join("postgres"), &arguments, run_as, &folder)?;
        Ok(Self { program, folder })
    }

    pub(super) fn ended(&mut self) -> io::Result<bool> {
        Ok(self.program.ended()?.is_some())
    }

    pub(super) fn said(&self) -> String {
        self.program.said()
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// For programs that log in: libpq's options.
    pub(super) fn options(&self) -> Vec<String> {
        vec![
            format!("--host={}", self.folder.path().display()),
            format!("--port={PORT}"),
            format!("--username={SUPERUSER}"),
            "--no-password".to_owned(),
        ]
    }

    pub(super) async fn session(&self) -> Result<Session, tokio_postgres::Error> {
        let mut config = Config::new();
        config
            .host_path(self.folder.path())
            .port(PORT)
            .user(SUPERUSER)
            .dbname("postgres")
            .connect_timeout(Duration::from_secs(5));
        Session::open(&config).await
    }

    /// In order; what it had written is on the disk then.
    pub(super) async fn stop(mut self) -> io::Result<Folder> {
        self.program.signal(Signal::INT);
        let until = Clock.now() + STOP_LIMIT;
        while self.program.ended()?.is_none() {
            if Clock.now() > until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(self.folder)
    }
}
