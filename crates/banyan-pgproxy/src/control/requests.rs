//! What workers ask the control task for, and what it answers.

use tokio::sync::oneshot;

use banyan_runtime::TaskKind;
use banyan_runtime::parcels::Parcel;
use banyan_telemetry::Families;
use banyan_topology::signals::Signals;

use super::{Control, names};
use crate::frontend::accept::Command;
use crate::frontend::console::{Action, Show};
use crate::wire::scram::Verifier;
use crate::wire::startup::CancelKey;
use crate::worker::Worker;

/// What workers ask the control task for.
pub(crate) enum Request {
    Verifier {
        user: String,
        reply: oneshot::Sender<Result<Stored, NoAnswer>>,
    },
    /// What a role may do on the console.
    Rights {
        user: String,
        reply: oneshot::Sender<Rights>,
    },
    /// The client is another worker's.
    Cancel(CancelKey, oneshot::Sender<()>),
    /// From the console: the rows of all workers.
    Show(Show, oneshot::Sender<Vec<Vec<String>>>),
    /// From the console: on all workers.
    Act(Action, oneshot::Sender<()>),
    Signals(oneshot::Sender<Signals>),
    Families(oneshot::Sender<Families>),
    /// A client of the process before.
    Moved(Parcel),
    /// A server's name leads elsewhere.
    Named(names::Moved),
}

/// Why nobody knows what is stored of a user.
pub(crate) struct NoAnswer {
    pub(crate) why: String,
    /// The server could not be asked: another one may know, or the same one later.
    pub(crate) passing: bool,
}

impl From<String> for NoAnswer {
    fn from(why: String) -> Self {
        Self { why, passing: false }
    }
}

/// What a role may do on the console: PostgreSQL's own roles say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Figures: `pg_monitor`.
    pub(crate) reads: bool,
    /// Holds, and the end of others' sessions: `pg_signal_backend`.
    pub(crate) acts: bool,
}

/// What is stored of a user.
pub(crate) enum Stored {
    Scram(Verifier),
    Md5(String),
    /// Of a server of the user's own: its password is known from a file.
    Password(Verifier, String),
    /// There is no such user; the client is not to see that.
    Mock(Verifier),
}

impl Control {
    pub(super) async fn answer(&mut self, request: Request) {
        match request {
            Request::Verifier { user, reply } => {
                self.verifiers.look_up(user, reply, &self.snapshot, &self.tasks);
            }
            Request::Rights { user, reply } => {
                self.verifiers.rights(user, reply, &self.snapshot, &self.tasks);
            }
            Request::Cancel(key, done) => {
                if let Some(worker) = self.workers.get(Worker::of_client(key.process)) {
                    let _gone = worker.commands.send(Command::Cancel(key, done));
                }
            }
            Request::Show(what, reply) => {
                if let Some(rows) = self.rows(what).await {
                    let _gone = reply.send(rows);
                    return;
                }
                let workers: Vec<_> = self
                    .workers
                    .iter()
                    .map(|worker| worker.commands.clone())
                    .collect();
                self.tasks.spawn(TaskKind::Connection, "console", async move {
                    let mut rows = Vec::new();
                    for worker in workers {
                        let (to, found) = oneshot::channel();
                        if worker.send(Command::Show(what, to)).is_ok() {
                            rows.extend(found.await.unwrap_or_default());
                        }
                    }
                    let _gone = reply.send(rows);
                });
            }
            Request::Named(moved) => {
                if let Some(snapshot) = self.names.learn(moved, &self.snapshot) {
                    tracing::warn!(?moved, "the server's name leads elsewhere, and so does the proxy");
                    // Boxed: it is rare.
                    Box::pin(self.take(snapshot)).await;
                }
            }
            Request::Moved(parcel) => {
                // One worker serves.
                if let Some(worker) = self.workers.first() {
                    let _gone = worker.commands.send(Command::Moved(parcel));
                }
            }
            Request::Act(action, done) => {
                self.tell_all(|| Command::Act(action));
                let _gone = done.send(());
            }
            Request::Signals(reply) => {
                let _gone = reply.send(self.signals().await);
            }
            Request::Families(reply) => {
                let _gone = reply.send(self.families().await);
            }
        }
    }
}
