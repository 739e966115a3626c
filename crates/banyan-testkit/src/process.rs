//! Starting programs in tests: own process group, output in files, killed on drop.
//!
//! Output goes to files, not pipes: a program that outlives its reader (as Banyan's children do) must not die of SIGPIPE,
//! and a full pipe must not stop it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::wait::{self, TimedOut};

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("failed to start {program}")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("{command} did not end: {timed_out}\n{output}")]
    StillRuns {
        command: String,
        timed_out: TimedOut,
        output: String,
    },
}

/// What to start. The environment is inherited, with these additions.
#[derive(Clone, Debug)]
pub struct Run {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    input: Vec<u8>,
}

impl Run {
    pub fn new(program: impl AsRef<Path>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            input: Vec::new(),
        }
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.cwd = Some(dir.as_ref().to_owned());
        self
    }

    /// What it reads on stdin; nothing by default.
    pub fn input(mut self, text: &str) -> Self {
        text.as_bytes().clone_into(&mut self.input);
        self
    }

    pub fn start(&self) -> Result<Process, ProcessError> {
        self.try_start().map_err(|source| ProcessError::Start {
            program: self.command_line(),
            source,
        })
    }

    /// Starts it and waits for its end; kills it when that does not come within `limit`.
    pub async fn finish(&self, limit: Duration) -> Result<Finished, ProcessError> {
        let mut process = self.start()?;
        match process.ended(limit).await {
            Ok(status) => Ok(Finished {
                status,
                stdout: process.stdout(),
                stderr: process.stderr(),
            }),
            Err(timed_out) => Err(ProcessError::StillRuns {
                command: self.command_line(),
                timed_out,
                output: format!("{}{}", process.stdout(), process.stderr()),
            }),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "testkit starts the processes of the test world"
    )]
    fn try_start(&self) -> io::Result<Process> {
        let dir = tempfile::Builder::new().prefix("banyan-test-out-").tempdir()?;
        let input = dir.path().join("stdin");
        fs::write(&input, &self.input)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(File::open(input)?))
            .stdout(
                File::options()
                    .append(true)
                    .create(true)
                    .open(dir.path().join("stdout"))?,
            )
            .stderr(
                File::options()
                    .append(true)
                    .create(true)
                    .open(dir.path().join("stderr"))?,
            )
            .process_group(0);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        Ok(Process {
            child: command.spawn()?,
            dir,
        })
    }

    fn command_line(&self) -> String {
        let words =
            std::iter::once(self.program.as_os_str()).chain(self.args.iter().map(OsString::as_os_str));
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    }
}

/// A running program; its process group is killed on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    dir: TempDir,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// To this process alone. One that has ended gets nothing.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid().cast_signed()) {
            // Not reaped before `ended` said so, so the pid is still ours.
            rustix::process::kill_process(pid, signal).ok();
        }
    }

    /// SIGKILL, and wait for its end. Its children in other process groups live on.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus, TimedOut> {
        let child = &mut self.child;
        wait::until("the program to end", limit, || {
            let seen = match child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err("it runs".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            std::future::ready(seen)
        })
        .await
    }

    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once reaped, the group's number may belong to a stranger: only a running leader's group is killed.
        if let (Ok(None), Some(group)) = (self.child.try_wait(), Pid::from_raw(self.pid().cast_signed())) {
            rustix::process::kill_process_group(group, Signal::KILL).ok();
            self.child.wait().ok();
        }
    }
}

/// A program that came to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The exit code; `128 + n` for an end by signal n, as shells count.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// Both streams, for messages.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_program_is_run_to_its_end_with_its_output_and_code() {
        let run = Run::new("sh")
            .args(["-c", "cat; echo $GREETING >&2; exit 3"])
            .env("GREETING", "hello");
        let finished = run.input("in").finish(LIMIT).await.unwrap();
        assert_eq!(
            (finished.code(), &*finished.stdout, &*finished.stderr),
            (3, "in", "hello\n")
        );
    }

    #[tokio::test]
    async fn a_dropped_process_takes_its_group_along() {
        let process = Run::new("sh")
            .args(["-c", "sleep 300 & echo $!; wait"])
            .start()
            .unwrap();
        let grandchild = wait::until("the grandchild's pid", LIMIT, async || {
            process
                .stdout()
                .trim()
                .parse::<u32>()
                .map_err(|error| error.to_string())
        })
        .await
        .unwrap();
        drop(process);
        wait::until("the grandchild to end", LIMIT, async || {
            let stat = fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                Ok(())
            } else {
                Err(stat)
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed_and_named() {
        let error = Run::new("sleep")
            .args(["300"])
            .finish(Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("sleep 300"), "{error}");
    }
}
