//! A command that runs to its end: a release command, initdb.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::actor::{FromChild, Link, Published, ToChild, World};
use super::error::{NotReady, StartError};
use super::process::{Exit, Process};
use super::spec::{ChildSpec, RunAs};
use super::status::{ChildState, RunOutcome, StopReport};
use super::{actor, log};
use crate::account;

pub(super) struct Once {
    spec: ChildSpec,
    world: World,
    limit: Duration,
    commands: mpsc::Receiver<ToChild>,
    /// Dropped with the task: the link then shows the last state.
    published: watch::Sender<Published>,
}

/// Why it ended.
enum End {
    Itself(Exit),
    Limit,
    Stopped(Option<oneshot::Sender<StopReport>>),
}

impl Once {
    pub(super) fn new(spec: ChildSpec, world: World, limit: Duration) -> (Self, Link) {
        let (commands, receiver) = mpsc::channel(16);
        let (published, status) = watch::channel(Published {
            state: ChildState::Starting,
            pid: None,
            since_ms: Some(world.clock.unix_ms()),
            restarts: 0,
            port: spec.port,
            user: None,
            hint: None,
        });
        let once = Self {
            spec,
            world,
            limit,
            commands: receiver,
            published,
        };
        (once, Link { commands, status })
    }

    pub(super) async fn run(mut self, reply: oneshot::Sender<Result<RunOutcome, StartError>>) {
        let outcome = self.outcome().await;
        self.tell(FromChild::Ended(self.spec.id.clone()));
        // `None`: the service is gone and the command runs on; nobody waits for an answer then.
        if let Some(outcome) = outcome {
            reply.send(outcome).ok();
        }
    }

    async fn outcome(&mut self) -> Option<Result<RunOutcome, StartError>> {
        self.world.clear_the_place(&self.spec).await;
        let log_from = log::length(&self.spec.log);
        let process = match self.launch() {
            Ok(process) => process,
            Err(error) => return Some(Err(error)),
        };
        let started = self.world.clock.now();
        let end = self.wait(&process).await?;
        self.sweep(&process).await;
        let exit = match end {
            End::Itself(exit) => exit,
            End::Limit => Exit {
                success: false,
                words: format!("killed after {:?}, its limit", self.limit),
            },
            End::Stopped(reply) => {
                let how = "killed: it was stopped before it had finished".to_owned();
                if let Some(reply) = reply {
                    let took = self.world.clock.now().saturating_duration_since(started);
                    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                    let killed = true;
                    reply
                        .send(StopReport {
                            how: how.clone(),
                            took_ms,
                            killed,
                        })
                        .ok();
                }
                Exit {
                    success: false,
                    words: how,
                }
            }
        };
        process.release();
        Some(Ok(RunOutcome {
            success: exit.success,
            exit: exit.words,
            log_tail: log::tail_since(&self.spec.log, log_from),
        }))
    }

    fn launch(&mut self) -> Result<Process, StartError> {
        let owner = match &self.spec.user {
            RunAs::User(user) => account::find(user).map(|account| (account.uid, account.gid)),
            RunAs::Same => None,
        };
        let log = log::open(&self.spec.log, owner).map_err(|source| StartError::Spawn {
            id: self.spec.id.clone(),
            source,
        })?;
        let process = self.world.launcher.launch(&self.spec, log)?;
        let pid = process.pid;
        self.published.send_modify(|published| published.pid = Some(pid));
        self.tell(FromChild::Process(
            self.spec.id.clone(),
            Some(process.record(&self.spec.id)),
        ));
        Ok(process)
    }

    /// `None`: the service is gone.
    async fn wait(&mut self, process: &Process) -> Option<End> {
        let until = Some(self.world.clock.now() + self.limit);
        loop {
            tokio::select! {
                exit = process.ended() => return Some(End::Itself(exit)),
                () = actor::sleep_until(until) => return Some(End::Limit),
                () = self.world.kill.cancelled() => return Some(End::Stopped(None)),
                command = self.commands.recv() => match command? {
                    ToChild::Stop(reply) | ToChild::Fence(reply) => return Some(End::Stopped(Some(reply))),
                    ToChild::Ready(reply) => {
                        reply.send(Err(NotReady::Unknown(self.spec.id.clone()))).ok();
                    }
                    ToChild::Configure(_) => {}
                },
            }
        }
    }

    /// Kills what is left of it, itself included.
    async fn sweep(&self, process: &Process) {
        const ROUND: Duration = Duration::from_millis(10);
        loop {
            let footprint = process.footprint.clone();
            let round = move || {
                footprint.kill();
                footprint.members().len()
            };
            if self
                .world
                .tasks
                .spawn_blocking(round)
                .await
                .is_ok_and(|left| left == 0)
            {
                return;
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    fn tell(&self, message: FromChild) {
        // The service may be gone; then there is nobody to tell.
        self.world.to_service.send(message).ok();
    }
}
