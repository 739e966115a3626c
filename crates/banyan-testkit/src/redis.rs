//! A scratch Redis per test: TCP on 127.0.0.1, a random password, nothing kept, deleted on drop.
//!
//! It can be killed, started again on the same port and made silent, as the failures of a real one are. The server stays
//! in the test's process group, so that a test runner that kills a stuck test takes it along.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Port;
use crate::wait::{self, TimedOut};

const SERVER: &str = "/usr/bin/redis-server";
const CLI: &str = "/usr/bin/redis-cli";
/// Nothing on the disk; `start_with` may say otherwise.
const SETTINGS: [&str; 5] = [
    "bind 127.0.0.1",
    "save \"\"",
    "appendonly no",
    "daemonize no",
    "databases 16",
];
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    #[error("Redis is not installed ({0} is missing): apt-get install redis-server")]
    NotInstalled(PathBuf),
    #[error("failed to {what}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} is not redis://USER:PASSWORD@HOST:PORT")]
    Url(String),
    #[error("redis-cli {command}: {output}")]
    Command { command: String, output: String },
    #[error("Redis did not start: {timed_out}\n{log}")]
    NotReady { timed_out: TimedOut, log: String },
}

/// A running server; stopped and deleted on drop.
#[derive(Debug)]
pub struct Redis {
    server: Child,
    port: Port,
    /// Empty: a Sentinel, which asks for none.
    password: String,
    dir: TempDir,
}

impl Redis {
    /// Blocks for about 0.05 s.
    pub fn start() -> Result<Self, RedisError> {
        Self::start_with(&[])
    }

    /// `settings` are lines of `redis.conf`, for example `maxmemory 4mb`; they win over ours.
    pub fn start_with(settings: &[&str]) -> Result<Self, RedisError> {
        let password = format!("{:032x}", rand::random::<u128>());
        let own = format!("requirepass {password}");
        let lines: Vec<&str> = SETTINGS.into_iter().chain([own.as_str()]).collect();
        Self::start_of(&[&lines, settings].concat(), password)
    }

    /// A Sentinel that watches `server` as `service`, and asks for no password. It takes a second of silence for its end, and
    /// tries again after a failover that took longer than five.
    pub fn sentinel(service: &str, server: &Self) -> Result<Self, RedisError> {
        let (port, password) = (server.port(), server.password());
        let watched = [
            "bind 127.0.0.1".to_owned(),
            format!("sentinel monitor {service} 127.0.0.1 {port} 1"),
            format!("sentinel auth-pass {service} {password}"),
            format!("sentinel down-after-milliseconds {service} 1000"),
            format!("sentinel failover-timeout {service} 5000"),
        ];
        let watched: Vec<&str> = watched.iter().map(String::as_str).collect();
        Self::start_of(&watched, String::new())
    }

    /// A server that copies `primary`, with its password; returns when it has all. `settings` as in [`Self::start_with`].
    pub fn replica(primary: &Self, settings: &[&str]) -> Result<Self, RedisError> {
        let (port, password) = (primary.port(), primary.password());
        let own = [
            format!("requirepass {password}"),
            format!("masterauth {password}"),
            format!("replicaof 127.0.0.1 {port}"),
            // At once, and not when others may have come.
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let lines = [&SETTINGS[..], &own, settings].concat();
        let replica = Self::start_of(&lines, password.to_owned())?;
        let copied = wait::blocking("the replica to have all", START_LIMIT, || {
            match replica.command(&["INFO", "replication"]) {
                Ok(told) if told.contains("master_link_status:up") => Ok(()),
                Ok(told) => Err(told),
                Err(error) => Err(error.to_string()),
            }
        });
        match copied {
            Ok(()) => Ok(replica),
            Err(timed_out) => {
                let log = replica.log();
                Err(RedisError::NotReady { timed_out, log })
            }
        }
    }

    fn start_of(lines: &[&str], password: String) -> Result<Self, RedisError> {
        let dir = tempfile::Builder::new()
            .prefix("banyan-test-redis-")
            .tempdir()
            .map_err(io_error("create a directory for Redis"))?;
        let port = Port::free();
        let own = [
            format!("port {}", port.number()),
            format!("dir {}", dir.path().display()),
        ];
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        write_secret(&dir.path().join("redis.conf"), &[&own, lines].concat().join("\n"))?;
        let server = launch(dir.path(), password.is_empty())?;
        let mut redis = Self {
            server,
            port,
            password,
            dir,
        };
        redis.wait_ready()?;
        Ok(redis)
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// `redis://default:PASSWORD@127.0.0.1:PORT`, of the user who may do everything.
    pub fn url(&self) -> String {
        format!("redis://default:{}@127.0.0.1:{}", self.password, self.port())
    }

    /// What `redis-cli` prints for one command, without the last line break.
    pub fn command(&self, words: &[&str]) -> Result<String, RedisError> {
        command(&self.url(), words)
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) {
        if self.runs() {
            self.server.kill().ok();
            self.server.wait().ok();
        }
    }

    /// Starts it again on the same port, over what its disk has; one that runs is killed first.
    pub fn restart(&mut self) -> Result<(), RedisError> {
        self.kill();
        self.server = launch(self.dir.path(), self.password.is_empty())?;
        self.wait_ready()
    }

    /// SIGSTOP: connections stay and nobody answers, as in a partition.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends a [`Redis::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.server.id().cast_signed()) {
            // Not reaped yet, so the pid is still ours; it may have ended already: then there is nothing to do.
            kill_process(pid, signal).ok();
        }
    }

    fn runs(&mut self) -> bool {
        matches!(self.server.try_wait(), Ok(None))
    }

    fn wait_ready(&mut self) -> Result<(), RedisError> {
        let url = self.url();
        let waited = wait::blocking("Redis to answer", START_LIMIT, || {
            if let Ok(Some(status)) = self.server.try_wait() {
                return Ok(Err(format!("it exited: {status}")));
            }
            match command(&url, &["PING"]) {
                Ok(answer) if answer == "PONG" => Ok(Ok(())),
                Ok(answer) => Err(answer),
                Err(error) => Err(error.to_string()),
            }
        });
        let timed_out = match waited {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(last)) => TimedOut {
                what: "Redis to answer".to_owned(),
                limit: START_LIMIT,
                last,
            },
            Err(timed_out) => timed_out,
        };
        let log = self.log();
        Err(RedisError::NotReady { timed_out, log })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // One that was killed is reaped: its pid may be another's.
        if !self.runs() {
            return;
        }
        self.resume();
        self.signal(Signal::TERM);
        let gone = wait::blocking("Redis to end", STOP_LIMIT, || match self.server.try_wait() {
            Ok(Some(_)) | Err(_) => Ok(()),
            Ok(None) => Err("it runs"),
        });
        if gone.is_err() {
            self.kill();
        }
    }
}

/// What `redis-cli` prints for one command at `url` (`redis://USER:PASSWORD@HOST:PORT`), without the last line break.
pub fn command(url: &str, words: &[&str]) -> Result<String, RedisError> {
    let (user, password, host, port) = parts(url).ok_or_else(|| RedisError::Url(url.to_owned()))?;
    let mut cli = program(CLI)?;
    cli.args(["-h", host, "-p", port, "--user", user, "--no-auth-warning", "-e"])
        .args(words)
        .env("REDISCLI_AUTH", password);
    let output = cli.output().map_err(io_error("run redis-cli"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(RedisError::Command {
        command: words.join(" "),
        output: text(&[output.stdout, output.stderr].concat()),
    })
}

fn parts(url: &str) -> Option<(&str, &str, &str, &str)> {
    let (account, place) = url.strip_prefix("redis://")?.rsplit_once('@')?;
    let (user, password) = account.split_once(':')?;
    let (host, port) = place.trim_end_matches('/').rsplit_once(':')?;
    Some((
        if user.is_empty() { "default" } else { user },
        password,
        host,
        port,
    ))
}

fn launch(dir: &Path, is_sentinel: bool) -> Result<Child, RedisError> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .map_err(io_error("create the log of Redis"))?;
    let log_too = log.try_clone().map_err(io_error("open the log of Redis"))?;
    program(SERVER)?
        .arg(dir.join("redis.conf"))
        .args(is_sentinel.then_some("--sentinel"))
        .stdout(log)
        .stderr(log_too)
        .spawn()
        .map_err(io_error("start redis-server"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "testkit starts the processes of the test world"
)]
fn program(path: &str) -> Result<Command, RedisError> {
    if !Path::new(path).exists() {
        return Err(RedisError::NotInstalled(path.into()));
    }
    let mut command = Command::new(path);
    command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    Ok(command)
}

fn write_secret(path: &Path, text: &str) -> Result<(), RedisError> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io_error("create the settings of Redis"))?;
    file.write_all(text.as_bytes())
        .map_err(io_error("write the settings of Redis"))
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> RedisError {
    let what = what.to_owned();
    |source| RedisError::Io { what, source }
}
