//! Talking to the controller from its own process: the same requests and replies as over the socket.

use tokio::sync::mpsc;

use crate::proto::{Outcome, Progress, Reply, Request, Status};

/// Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    messages: mpsc::Sender<Message>,
}

/// What the controller's loop is asked; the answers end with [`Reply::Done`] (but for `Status`: one line).
pub(super) struct Message {
    pub(super) asked: Asked,
    pub(super) replies: mpsc::UnboundedSender<Reply>,
}

pub(super) enum Asked {
    /// Adopt, resume, plan, perform.
    BringUp,
    Request(Request),
    /// SIGKILL to everything, then the end.
    Kill,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    pub outcome: Outcome,
    /// What failed and what to do next.
    pub error: Option<String>,
    /// What people should know although nothing failed.
    pub notes: Vec<String>,
}

impl Handle {
    pub(super) fn new(messages: mpsc::Sender<Message>) -> Self {
        Self { messages }
    }

    /// Adopts what an earlier controller left running, resumes its unfinished plan, then makes the configuration true.
    ///
    /// When nothing ran before and the start fails, all that was started is stopped again ([`Outcome::RolledBack`]).
    pub async fn bring_up(&self, on_progress: impl FnMut(Progress) + Send) -> Done {
        self.perform(Asked::BringUp, on_progress).await
    }

    /// Any request, with its progress. `Plan` and `Trial` answers come by [`Handle::ask`].
    pub async fn request(&self, request: Request, on_progress: impl FnMut(Progress) + Send) -> Done {
        self.perform(Asked::Request(request), on_progress).await
    }

    /// The replies as they come; the channel closes after the last.
    pub async fn ask(&self, request: Request) -> mpsc::UnboundedReceiver<Reply> {
        self.send(Asked::Request(request)).await
    }

    /// `None`: the controller has ended.
    pub async fn status(&self) -> Option<Status> {
        let mut replies = self.send(Asked::Request(Request::Status)).await;
        match replies.recv().await {
            Some(Reply::Status(status)) => Some(*status),
            _ => None,
        }
    }

    /// SIGKILL to everything at once (a second Ctrl-C); the service then ends.
    pub async fn kill_now(&self) {
        let mut replies = self.send(Asked::Kill).await;
        // Nothing is answered: the channel closes when it is done.
        while replies.recv().await.is_some() {}
    }

    async fn perform(&self, asked: Asked, mut on_progress: impl FnMut(Progress) + Send) -> Done {
        let mut replies = self.send(asked).await;
        while let Some(reply) = replies.recv().await {
            match reply {
                Reply::Progress(progress) => on_progress(progress),
                Reply::Done {
                    outcome,
                    error,
                    notes,
                } => {
                    return Done {
                        outcome,
                        error,
                        notes,
                    };
                }
                Reply::Status(_)
                | Reply::Plan { .. }
                | Reply::Trial(_)
                | Reply::Backup(_)
                | Reply::Purged(_)
                | Reply::Autoscale { .. }
                | Reply::Decided { .. } => {}
            }
        }
        Done {
            outcome: Outcome::Stopped,
            error: Some("the controller ended before the request did; run `banyan up` to go on".to_owned()),
            notes: Vec::new(),
        }
    }

    async fn send(&self, asked: Asked) -> mpsc::UnboundedReceiver<Reply> {
        // A change never waits for a slow listener; what it says is a few lines per step.
        let (replies, receiver) = mpsc::unbounded_channel();
        // A controller that has ended drops the message and with it `replies`: the receiver then reports the end.
        drop(self.messages.send(Message { asked, replies }).await);
        receiver
    }
}
