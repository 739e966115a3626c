//! One process: started through the launch shim, or found running; watched by pidfd.
//!
//! It is reaped only when everything it left is gone: as a zombie it keeps its number, and with it the number of its
//! group, so that no signal can reach a stranger.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid};
use tokio::io::unix::AsyncFd;

use super::cgroup::{self, Cgroups};
use super::error::StartError;
use super::procfs::{self, Footprint, MARKER};
use super::spec::{ChildId, ChildSpec, RunAs, StopSignal};
use super::status::Adopted;
use crate::account;

/// What every start of this installation needs.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    /// Names the installation in markers and cgroups.
    pub(crate) installation: String,
    /// This binary: it has the `launch` verb.
    pub(crate) program: PathBuf,
    pub(crate) cgroups: Option<Cgroups>,
}

/// Open files that a child may have: the usual 1024 is too few for a server.
const OPEN_FILES: u64 = 65_536;

pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    pidfd: AsyncFd<OwnedFd>,
    /// `None`: adopted, so its exit code is not for us.
    child: Option<Child>,
    pub(crate) footprint: Footprint,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) success: bool,
    pub(crate) words: String,
}

impl Launcher {
    pub(crate) fn marker(&self, id: &ChildId) -> String {
        format!("{}:{id}", self.installation)
    }

    /// What a child without a process is recognised by.
    pub(crate) fn footprint(&self, spec: &ChildSpec) -> Footprint {
        Footprint {
            main: None,
            marker: self.marker(&spec.id),
            cgroup: None,
            engine: engine_folders(spec),
        }
    }

    /// Kills processes of this name that nobody adopted (their controller was killed): they would hold its port or its
    /// data. Blocking.
    pub(crate) fn clear_the_place(&self, spec: &ChildSpec) {
        let footprint = self.footprint(spec);
        for _round in 0..100 {
            if footprint.members().is_empty() {
                return;
            }
            footprint.kill();
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts `spec`; its output goes to `log`.
    pub(crate) fn launch(&self, spec: &ChildSpec, log: fs::File) -> Result<Process, StartError> {
        check(spec)?;
        let cgroup = self
            .cgroups
            .as_ref()
            .and_then(|cgroups| cgroups.create(&spec.id).ok());
        let spawned = self.spawn(spec, log, cgroup.as_deref());
        let spawned =
            spawned.and_then(|child| Process::of_child(child, self.footprint(spec), cgroup.clone()));
        spawned.map_err(|source| StartError::Spawn {
            id: spec.id.clone(),
            source,
        })
    }

    fn spawn(&self, spec: &ChildSpec, log: fs::File, cgroup: Option<&Path>) -> io::Result<Child> {
        shim(&self.program, spec, cgroup)
            .env(MARKER, self.marker(&spec.id))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
    }

    /// Takes over a process that runs already. `None`: it is gone, or was never the one that is meant.
    pub(crate) fn adopt(&self, spec: &ChildSpec, survivor: &Adopted) -> Option<Process> {
        if survivor.boot_id != procfs::boot_id() {
            return None;
        }
        let pidfd = pidfd_open(procfs::to_pid(survivor.pid)?, PidfdFlags::NONBLOCK).ok()?;
        let entry = procfs::entry(survivor.pid)?;
        if entry.start_ticks != survivor.start_ticks || !entry.lives() {
            return None;
        }
        let mut footprint = self.footprint(spec);
        footprint.main = Some((survivor.pid, survivor.start_ticks));
        footprint.cgroup = cgroup::of_process(survivor.pid, &self.installation, &spec.id);
        Some(Process {
            pid: survivor.pid,
            start_ticks: survivor.start_ticks,
            pidfd: banyan_runtime::fd::watch(pidfd).ok()?,
            child: None,
            footprint,
        })
    }
}

/// `spec` through the launch shim of `program` (this binary), with its whole environment.
fn shim(program: &Path, spec: &ChildSpec, cgroup: Option<&Path>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the one place that starts children")]
    let mut command = Command::new(program);
    command.arg("launch");
    if let RunAs::User(user) = &spec.user {
        command.args(["--user", user]);
    }
    if let Some(cgroup) = cgroup {
        command.arg("--cgroup").arg(cgroup);
    }
    command
        .args(["--nofile", &OPEN_FILES.to_string(), "--"])
        .args(&spec.argv)
        .env_clear()
        .envs(&spec.env)
        .current_dir(&spec.cwd);
    command
}

/// Becomes `spec` instead of starting it: same pid, same terminal. Without marker and cgroup, for it is no child: a
/// controller neither watches nor ends it. Returns only when that failed.
pub fn become_command(program: &Path, spec: &ChildSpec) -> StartError {
    match check(spec) {
        Ok(()) => StartError::Spawn {
            id: spec.id.clone(),
            source: shim(program, spec, None).exec(),
        },
        Err(error) => error,
    }
}

impl Process {
    fn of_child(mut child: Child, mut footprint: Footprint, cgroup: Option<PathBuf>) -> io::Result<Self> {
        let pid = child.id();
        let watch = || {
            let number = procfs::to_pid(pid).ok_or(io::ErrorKind::InvalidData)?;
            let pidfd = banyan_runtime::fd::watch(pidfd_open(number, PidfdFlags::NONBLOCK)?)?;
            let ticks = procfs::start_ticks(pid).ok_or(io::ErrorKind::NotFound)?;
            Ok((pidfd, ticks))
        };
        match watch() {
            Ok((pidfd, start_ticks)) => {
                footprint.main = Some((pid, start_ticks));
                footprint.cgroup = cgroup;
                Ok(Self {
                    pid,
                    start_ticks,
                    pidfd,
                    child: Some(child),
                    footprint,
                })
            }
            Err(error) => {
                // A process that cannot be watched must not run.
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Returns when it has ended (and is not yet reaped).
    pub(crate) async fn ended(&self) -> Exit {
        match self.pidfd.readable().await {
            Ok(_ended) => self.exit(),
            // The runtime is shutting down, which says nothing about the process.
            Err(_shutting_down) => std::future::pending().await,
        }
    }

    fn exit(&self) -> Exit {
        if self.child.is_none() {
            return Exit {
                success: false,
                words: "ended; its exit code is unknown, it was started by an earlier controller".to_owned(),
            };
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.get_ref().as_fd()), options) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit {
                    success: code == 0,
                    words: format!("exit code {code}{}", code_hint(code)),
                },
                (None, Some(signal)) => Exit {
                    success: false,
                    words: format!("killed by {}", signal_name(signal)),
                },
                (None, None) => unknown_exit(),
            },
            Ok(None) | Err(_) => unknown_exit(),
        }
    }

    pub(crate) fn signal_main(&self, signal: Signal) {
        procfs::send(self.pid, self.start_ticks, signal);
    }

    /// To its whole group; the main process is not reaped yet, so the number is still its.
    pub(crate) fn signal_group(&self, signal: Signal) {
        let sent = procfs::to_pid(self.pid)
            .filter(|_| procfs::start_ticks(self.pid) == Some(self.start_ticks))
            .map(|group| kill_process_group(group, signal));
        if !matches!(sent, Some(Ok(()))) {
            self.signal_main(signal);
        }
    }

    pub(crate) fn record(&self, id: &ChildId) -> Adopted {
        Adopted {
            id: id.clone(),
            pid: self.pid,
            start_ticks: self.start_ticks,
            boot_id: procfs::boot_id(),
        }
    }

    /// Everything of it is gone: reaps it.
    pub(crate) fn release(mut self) {
        if let Some(child) = &mut self.child {
            // Already ended, so this returns at once; an error means that it is reaped already.
            child.try_wait().ok();
        }
    }
}

fn unknown_exit() -> Exit {
    Exit {
        success: false,
        words: "ended in an unknown way".to_owned(),
    }
}

/// The shim's own exit codes, which are a shell's too.
fn code_hint(code: i32) -> &'static str {
    match code {
        126 => " (it could not be executed)",
        127 => " (the program was not found)",
        _ => "",
    }
}

fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => return format!("signal {number}"),
    };
    name.to_owned()
}

/// What would else be seen only as an exit code of the shim.
fn check(spec: &ChildSpec) -> Result<(), StartError> {
    let id = || spec.id.clone();
    if !spec.id.is_valid() {
        return Err(StartError::Name(id()));
    }
    if !spec.cwd.is_dir() {
        return Err(StartError::Folder {
            id: id(),
            folder: spec.cwd.display().to_string(),
        });
    }
    if let RunAs::User(user) = &spec.user
        && account::find(user).is_none()
    {
        return Err(StartError::User {
            id: id(),
            user: user.clone(),
        });
    }
    let program = spec.argv.first().cloned().unwrap_or_default();
    let path = spec.env.get("PATH").map_or("/usr/bin:/bin", String::as_str);
    match find_program(&program, path, &spec.cwd) {
        Some(_) => Ok(()),
        None => Err(StartError::ProgramMissing { id: id(), program }),
    }
}

/// As execvp finds it: by `PATH` when it has no slash, else relative to its folder.
pub(crate) fn find_program(program: &str, path: &str, cwd: &Path) -> Option<PathBuf> {
    if program.is_empty() {
        return None;
    }
    if program.contains('/') {
        return Some(cwd.join(program)).filter(|file| file.is_file());
    }
    path.split(':')
        .map(|folder| cwd.join(folder).join(program))
        .find(|file| file.is_file())
}

/// Program folder and data directory of a PostgreSQL server (`postgres -D DATA …`).
fn engine_folders(spec: &ChildSpec) -> Option<(PathBuf, PathBuf)> {
    if spec.stop != StopSignal::PostgresFast {
        return None;
    }
    let program = fs::canonicalize(spec.argv.first()?).ok()?;
    let data = spec.argv.iter().skip_while(|argument| *argument != "-D").nth(1)?;
    Some((program.parent()?.to_owned(), fs::canonicalize(data).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named_as_people_name_them() {
        assert_eq!(signal_name(9), "SIGKILL");
        assert_eq!(signal_name(11), "SIGSEGV");
        assert_eq!(signal_name(15), "SIGTERM");
        assert_eq!(signal_name(63), "signal 63");
    }
}
