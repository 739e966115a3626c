//! Backups of the managed PostgreSQL while it runs: made when they are due or asked for, and how its log is stored.
//!
//! One task, the only one that starts backups. It learns from [`Handle::want`] which servers there are; what was made before
//! it reads from the repository, so a controller that was killed, or down for days, knows what to do. A backup that such a
//! controller left running is waited for. What people should know is published for `status`, and written down for `doctor`.

mod schedule;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use banyan_config::BackupSettings;
use banyan_runtime::watched::{self, WatchedError};
use banyan_runtime::{Clock, TaskKind, Tasks};
use banyan_supervisor::Handle as Supervisor;
use banyan_supervisor::engine::postgres::Server;
use banyan_supervisor::engine::postgres::backup::restore::percent;
use banyan_supervisor::engine::postgres::backup::{self, Backup, Catalogue, Kind, program};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use crate::driver::chain;
use crate::paths::StateDir;
use crate::proto::{BackupNow, BackupState};
use schedule::{Due, Failures};

/// How the log is stored is looked at so often.
const LOOK: Duration = Duration::from_secs(5);
const PERCENT: Duration = Duration::from_secs(1);
/// Requests wait here for the task; people ask.
const ASKED: usize = 4;

struct Asked {
    /// `None`: whatever the schedule would make next.
    kind: Option<Kind>,
    progress: mpsc::UnboundedSender<BackupNow>,
    reply: oneshot::Sender<Result<Backup, String>>,
}

/// Tells the task what is wanted, and people how it is.
pub(crate) struct Handle {
    wanted: watch::Sender<Option<Arc<Server>>>,
    state: watch::Receiver<Option<BackupState>>,
    asked: mpsc::Sender<Asked>,
    paths: StateDir,
}

struct Keeper {
    supervisor: Supervisor,
    paths: StateDir,
    tasks: Tasks,
    wanted: watch::Receiver<Option<Arc<Server>>>,
    state: watch::Sender<Option<BackupState>>,
    asked: mpsc::Receiver<Asked>,
}

/// What is known about one database.
struct Memory {
    server: Arc<Server>,
    settings: BackupSettings,
    /// The repository is this database's.
    prepared: bool,
    catalogue: Catalogue,
    failures: Failures,
    state: BackupState,
}

enum Next {
    Run(Kind, Option<Asked>),
    Again,
    Ended,
}

pub(crate) fn start(supervisor: Supervisor, paths: StateDir, tasks: &Tasks) -> Handle {
    let (wanted, wants) = watch::channel(None);
    let (states, state) = watch::channel(None);
    let (asked, asks) = mpsc::channel(ASKED);
    let keeper = Keeper {
        supervisor,
        paths: paths.clone(),
        tasks: tasks.clone(),
        wanted: wants,
        state: states,
        asked: asks,
    };
    tasks.spawn(TaskKind::Background, "backups", keeper.run());
    Handle {
        wanted,
        state,
        asked,
        paths,
    }
}

impl Handle {
    /// The primary of a database with backups; `None`: there is nothing to back up.
    pub(crate) fn want(&self, server: Option<Server>) {
        self.wanted.send_if_modified(|before| {
            let same = match (before.as_deref(), &server) {
                (Some(before), Some(server)) => {
                    (&before.database, before.node) == (&server.database, server.node)
                }
                (before, server) => before.is_none() && server.is_none(),
            };
            if !same {
                *before = server.map(Arc::new);
            }
            !same
        });
    }

    /// Backups begin in this repository; log of before is not stored, so it takes a backup to begin with, whatever an earlier
    /// time has left there.
    pub(crate) fn begin(&self, path: PathBuf) -> Result<(), WatchedError> {
        let state = BackupState {
            path,
            // When a backup began is known in whole seconds, cut off.
            gap_ms: Some(Clock.unix_ms() / 1000 * 1000),
            ..BackupState::default()
        };
        watched::publish(&self.paths.backup(), &state)
    }

    pub(crate) fn state(&self) -> Option<BackupState> {
        self.state.borrow().clone()
    }

    /// Makes one now. `Err`: why not, in words.
    pub(crate) async fn now(
        &self,
        kind: Option<Kind>,
        progress: mpsc::UnboundedSender<BackupNow>,
    ) -> Result<Backup, String> {
        if self.wanted.borrow().is_none() {
            return Err("there are no backups: [database.backup] is not part of what runs here".to_owned());
        }
        let (reply, answer) = oneshot::channel();
        let asked = Asked {
            kind,
            progress,
            reply,
        };
        let ended = || "the controller is ending".to_owned();
        self.asked.send(asked).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Keeper {
    /// Ends with its handle.
    async fn run(mut self) {
        loop {
            let server = self.wanted.borrow_and_update().clone();
            let settings = server.as_ref().and_then(|server| server.database.backup.clone());
            let ended = match server.zip(settings) {
                Some((server, settings)) => self.keep(server, settings).await,
                None => {
                    self.state.send_replace(None);
                    self.wanted.changed().await.is_err()
                }
            };
            if ended {
                return;
            }
        }
    }

    /// Until something else is wanted (false), or nothing ever again (true).
    async fn keep(&mut self, server: Arc<Server>, settings: BackupSettings) -> bool {
        let remembered: Option<BackupState> = watched::read(&self.paths.backup()).ok().flatten();
        let remembered = remembered.filter(|state| state.path == settings.path);
        let mut memory = Memory {
            server,
            settings: settings.clone(),
            prepared: false,
            catalogue: Catalogue::default(),
            failures: Failures::default(),
            state: BackupState {
                path: settings.path.clone(),
                gap_ms: remembered.as_ref().and_then(|state| state.gap_ms),
                last: remembered.and_then(|state| state.last),
                ..BackupState::default()
            },
        };
        self.await_earlier(&mut memory).await;
        self.refresh(&mut memory).await;
        loop {
            self.look(&mut memory).await;
            match self.next(&memory).await {
                Next::Run(kind, asked) => {
                    if !self.make(&mut memory, kind, asked).await {
                        return false;
                    }
                }
                Next::Again if self.wanted.has_changed().unwrap_or(true) => return false,
                Next::Again => {}
                Next::Ended => return true,
            }
        }
    }

    /// A backup of a controller that was killed runs on; nothing is decided before it ends.
    async fn await_earlier(&self, memory: &mut Memory) {
        let id = backup::child_id();
        loop {
            let survivors = self.supervisor.survivors().await;
            if !survivors.iter().any(|survivor| survivor.id == id)
                || self.wanted.has_changed().unwrap_or(true)
            {
                memory.state.running = None;
                return;
            }
            memory.state.running.get_or_insert(BackupNow {
                kind: None,
                since_ms: Clock.unix_ms(),
                percent: None,
            });
            self.publish(memory);
            sleep(PERCENT).await;
        }
    }

    /// What lies in the repository, which must be this database's.
    async fn refresh(&self, memory: &mut Memory) {
        if !memory.prepared {
            if memory.vanished() {
                let path = memory.settings.path.display();
                let why = format!(
                    "{path} held backups and holds none now: is its disk mounted? If they are gone, name another folder"
                );
                memory.fail(why);
                return;
            }
            let prepared = memory.server.prepare_backups(&self.supervisor).await;
            if let Err(error) = prepared {
                memory.fail(chain(&error));
                return;
            }
            memory.prepared = true;
        }
        let (path, server) = (memory.settings.path.clone(), Arc::clone(&memory.server));
        let read = move || program::catalogue(&path, server.stanza(), &server.run_as);
        match self.tasks.spawn_blocking(read).await {
            Ok(Ok(catalogue)) => {
                memory.catalogue = catalogue;
                memory.state.last = memory.catalogue.backups.last().cloned();
                memory.state.first_ms = memory.catalogue.backups.first().map(|first| first.stop_ms);
            }
            Ok(Err(error)) => memory.fail(chain(&error)),
            Err(_ending) => {}
        }
    }

    /// How the log is stored, and what is to be made next.
    async fn look(&self, memory: &mut Memory) {
        match memory.server.archiving().await {
            Ok(archiving) => memory.judge(archiving, Clock.unix_ms()),
            // Restarting, or changing places: whoever waits for it says so.
            Err(error) => tracing::debug!(%error, "the server did not say how its log is stored"),
        }
        memory.state.next = Some(memory.due()).map(|due| (due.kind, due.at_ms));
        self.publish(memory);
    }

    fn publish(&self, memory: &Memory) {
        let before = self.state.send_replace(Some(memory.state.clone()));
        if before.as_ref() == Some(&memory.state) {
            return;
        }
        if let Err(error) = watched::publish(&self.paths.backup(), &memory.state) {
            tracing::warn!(%error, "the state of backups was not written down");
        }
    }

    async fn next(&mut self, memory: &Memory) -> Next {
        let due = memory.due();
        let now = Clock.unix_ms();
        if due.at_ms <= now {
            return Next::Run(due.kind, None);
        }
        let wait = Duration::from_millis(due.at_ms - now).min(LOOK);
        tokio::select! {
            changed = self.wanted.changed() => if changed.is_err() { Next::Ended } else {
                self.wanted.mark_changed();
                Next::Again
            },
            asked = self.asked.recv() => match asked {
                Some(asked) => Next::Run(asked.kind.unwrap_or(due.kind), Some(asked)),
                None => Next::Ended,
            },
            () = sleep(wait) => Next::Again,
        }
    }

    /// False: something else is wanted, and what had begun was stopped; pgBackRest goes on from there.
    async fn make(&mut self, memory: &mut Memory, kind: Kind, asked: Option<Asked>) -> bool {
        let (progress, reply) = match asked {
            Some(asked) => (Some(asked.progress), Some(asked.reply)),
            None => (None, None),
        };
        if !memory.prepared {
            self.refresh(memory).await;
        }
        let made = if memory.prepared {
            self.run_backup(memory, kind, progress.as_ref()).await
        } else {
            Some(Err(memory.state.problem.clone().unwrap_or_default()))
        };
        memory.state.running = None;
        let answer = match made {
            None => Err("something else is to be backed up now; ask again".to_owned()),
            Some(Ok(())) => {
                memory.failures = Failures::default();
                memory.state.problem = None;
                self.refresh(memory).await;
                let last = memory.catalogue.backups.last().cloned();
                last.ok_or_else(|| "pgBackRest made no backup".to_owned())
            }
            Some(Err(_)) if self.wanted.has_changed().unwrap_or(true) => {
                Err("the database stops or changes places; ask again".to_owned())
            }
            Some(Err(why)) => {
                memory.fail(why.clone());
                Err(why)
            }
        };
        if let Ok(backup) = &answer {
            tracing::info!(
                label = backup.label,
                bytes = backup.stored_bytes,
                "a backup was made"
            );
        }
        let goes_on = !self.wanted.has_changed().unwrap_or(true);
        // Who asks for the status next sees how it ended.
        self.publish(memory);
        if let Some(reply) = reply {
            // Who asked may have left.
            reply.send(answer).ok();
        }
        goes_on
    }

    /// `None`: stopped, because something else is wanted.
    async fn run_backup(
        &mut self,
        memory: &mut Memory,
        kind: Kind,
        progress: Option<&mpsc::UnboundedSender<BackupNow>>,
    ) -> Option<Result<(), String>> {
        let spec = memory.server.backup(kind);
        let log = spec.log.clone();
        let mut now = BackupNow {
            kind: Some(kind),
            since_ms: Clock.unix_ms(),
            percent: None,
        };
        let supervisor = self.supervisor.clone();
        let mut running = std::pin::pin!(supervisor.run(spec, memory.settings.limit));
        loop {
            memory.state.running = Some(now.clone());
            self.publish(memory);
            if let Some(progress) = progress {
                progress.send(now.clone()).ok();
            }
            tokio::select! {
                outcome = &mut running => return Some(match outcome {
                    Ok(outcome) if outcome.success => Ok(()),
                    Ok(outcome) => Err(program::reason(&outcome.log_tail).unwrap_or(outcome.exit)),
                    Err(error) => Err(chain(&error)),
                }),
                changed = self.wanted.changed() => {
                    if changed.is_ok() {
                        self.wanted.mark_changed();
                    }
                    self.supervisor.stop(&backup::child_id()).await;
                    return None;
                }
                () = sleep(PERCENT) => {
                    let said = banyan_supervisor::child::log::tail(&log, 3).unwrap_or_default();
                    now.percent = percent(&said).map(|share| share as u8).or(now.percent);
                }
            }
        }
    }
}

impl Memory {
    /// There were backups in the folder, and nothing is there: a mount that is missing must not become a new repository.
    fn vanished(&self) -> bool {
        let folder = self.settings.path.join("backup").join(self.server.stanza());
        self.state.last.is_some() && !folder.join("backup.info").exists()
    }

    fn due(&self) -> Due {
        schedule::next(
            &self.settings,
            &self.catalogue,
            self.state.gap_ms,
            self.failures,
            Clock.unix_ms(),
        )
    }

    fn fail(&mut self, why: String) {
        self.failures = Failures {
            in_a_row: self.failures.in_a_row + 1,
            last_ms: Clock.unix_ms(),
        };
        let again = schedule::pause(self.failures.in_a_row).as_secs();
        tracing::error!(why, again_s = again, "no backup could be made");
        self.state.problem = Some(why);
    }

    /// Says it once when storing begins to fail, when log is given up, and when it goes on.
    fn judge(&mut self, archiving: backup::archiving::Archiving, now_ms: u64) {
        let failed_before = self.state.archiving.fails();
        let (fails, waiting) = (archiving.fails(), archiving.waiting_bytes);
        if archiving.gives_up(self.settings.queue_bytes) {
            if self
                .state
                .gap_ms
                .is_none_or(|gap| !failed_before || gap + 60_000 < now_ms)
            {
                tracing::error!(
                    waiting,
                    "log is given up: moments from now on to the next backup cannot be restored"
                );
            }
            self.state.gap_ms = Some(now_ms);
        } else if fails && !failed_before {
            tracing::error!(waiting, path = %self.settings.path.display(), "PostgreSQL's log cannot be stored; it waits on the database's disk");
        } else if failed_before && !fails {
            tracing::info!("PostgreSQL's log is stored again");
        }
        self.state.archiving = archiving;
    }
}
