//! Streaming replicas of a scratch server, and servers that are stopped and started again.

use std::fs;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use super::{Account, Postgres, PostgresError, STOP_LIMIT, SUPERUSER, launch, program, run, scratch};
use crate::{Port, wait};

impl Postgres {
    /// A standby that streams from this server through a slot of its own. Blocks for about a second.
    /// `settings` as in `postgres -c NAME=VALUE`, for example `recovery_min_apply_delay=300ms`.
    pub fn replica(&self, settings: &[&str]) -> Result<Self, PostgresError> {
        let account = Account::find()?;
        let dir = scratch(&account)?;
        let port = Port::free();
        let mut backup = account.command(&program("pg_basebackup")?);
        backup
            .env("PGPASSWORD", self.password())
            .args(["--host=127.0.0.1", "--username", SUPERUSER, "--port"])
            .arg(self.port().to_string())
            .arg("--pgdata")
            .arg(dir.path().join("data"))
            .args(["--write-recovery-conf", "--create-slot", "--slot"])
            .arg(format!("replica_{}", port.number()))
            .args(["--checkpoint=fast", "--no-sync"]);
        run(backup)?;
        let server = launch(&account, dir.path(), &port, settings)?;
        let mut replica = Self {
            server,
            port,
            password: self.password().to_owned(),
            dir,
        };
        replica.wait_ready()?;
        Ok(replica)
    }

    /// SIGKILL to every process of it, the postmaster first; returns when all are gone. Its data stays.
    pub fn kill(&mut self) -> Result<(), PostgresError> {
        let family: Vec<Pid> = std::iter::once(self.server.id())
            .chain(children_of(self.server.id()))
            .filter_map(|pid| Pid::from_raw(pid.cast_signed()))
            .collect();
        for pid in &family {
            // Those that have ended already are what is wanted.
            kill_process(*pid, Signal::KILL).ok();
        }
        self.server.wait().map_err(|source| PostgresError::Io {
            what: "wait for the killed server".to_owned(),
            source,
        })?;
        let gone = wait::blocking("the server's processes to end", STOP_LIMIT, || {
            let left = family.iter().filter(|pid| is_alive(**pid)).count();
            if left == 0 {
                Ok(())
            } else {
                Err(format!("{left} are left"))
            }
        });
        gone.map_err(|late| PostgresError::Failed {
            program: "postgres".to_owned(),
            output: late.to_string(),
        })
    }

    /// Ends it as a crash does, keeps the data, and starts it again with `settings`.
    pub fn restart(&mut self, settings: &[&str]) -> Result<(), PostgresError> {
        stop(&mut self.server)?;
        let pid_file = self.dir.path().join("data/postmaster.pid");
        // What the old one left would say `ready` for the new one.
        fs::remove_file(&pid_file).ok();
        self.server = launch(&Account::find()?, self.dir.path(), &self.port, settings)?;
        self.wait_ready()
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let children = format!("/proc/{parent}/task/{parent}/children");
    let text = fs::read_to_string(children).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// A zombie that nobody has reaped yet holds nothing any more.
fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let state = stat
        .ok()
        .and_then(|text| text.rsplit_once(") ").map(|(_, rest)| rest.starts_with('Z')));
    state == Some(false)
}

fn stop(server: &mut Child) -> Result<(), PostgresError> {
    if !matches!(server.try_wait(), Ok(None)) {
        return Ok(());
    }
    if let Some(pid) = Pid::from_raw(server.id().cast_signed()) {
        // Not reaped yet, so the pid is still ours.
        kill_process(pid, Signal::QUIT).ok();
    }
    let ended = wait::blocking("PostgreSQL to end", STOP_LIMIT, || match server.try_wait() {
        Ok(Some(_)) | Err(_) => Ok(()),
        Ok(None) => Err("it runs"),
    });
    ended.map_err(|late| PostgresError::Failed {
        program: "postgres".to_owned(),
        output: late.to_string(),
    })
}
