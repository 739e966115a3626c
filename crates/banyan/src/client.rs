//! Talking to the controller of this installation: one request, replies until the last.

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use banyan_reconcile::proto::{Outcome, Progress, Reply, Request, Status};
use banyan_runtime::Clock;
use banyan_runtime::control::{Connection, ControlError};

use crate::output::{Context, ignore};
use crate::render::error::advised;
use crate::render::progress::ProgressLine;

pub(crate) const TICK: Duration = Duration::from_millis(120);

/// What became of a request.
pub(crate) struct Answer {
    pub(crate) replies: Vec<Reply>,
    pub(crate) progress: Vec<Progress>,
    pub(crate) outcome: Outcome,
    pub(crate) error: Option<String>,
    pub(crate) notes: Vec<String>,
}

impl Answer {
    pub(crate) fn empty() -> Self {
        Self {
            replies: Vec::new(),
            progress: Vec::new(),
            outcome: Outcome::Nothing,
            error: None,
            notes: Vec::new(),
        }
    }
}

pub(crate) struct Client {
    connection: Connection,
}

impl Client {
    /// `None`: no controller runs here.
    pub(crate) async fn connect(context: &Context) -> anyhow::Result<Option<Self>> {
        let path = context.place.state()?.control_socket();
        match Connection::connect(&path).await {
            Ok(connection) => Ok(Some(Self { connection })),
            Err(ControlError::Socket { source, .. })
                if matches!(
                    source.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(ControlError::Socket { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(advised(
                    anyhow::Error::new(source).context("this installation belongs to another user"),
                    "run the same command as that user, or with sudo",
                ))
            }
            Err(other) => Err(other.into()),
        }
    }

    /// An error that says how to start one when no controller runs.
    pub(crate) async fn required(context: &Context) -> anyhow::Result<Self> {
        Self::connect(context).await?.ok_or_else(|| {
            advised(
                anyhow::anyhow!("nothing runs here: no controller answers"),
                format!("`{} up` starts it", context.place.command()),
            )
        })
    }

    /// Sends the request and shows progress on stderr until the last reply.
    pub(crate) async fn ask(mut self, request: &Request, context: &Context) -> anyhow::Result<Answer> {
        self.connection.send(request).await?;
        let mut line = ProgressLine::new(io::stderr(), context.paint_err, context.stderr_is_terminal);
        let mut answer = Answer::empty();
        let (mut reader, _writer) = self.connection.split();
        loop {
            // `receive` must not be cancelled half-way through a line, so one future lives over the ticks.
            let mut receive = std::pin::pin!(reader.receive::<Reply>());
            let reply = loop {
                tokio::select! {
                    reply = &mut receive => break reply,
                    () = tokio::time::sleep(TICK) => ignore(line.tick(Clock.now())),
                }
            };
            match reply.context("the controller went away in the middle of its answer")? {
                Some(Reply::Progress(progress)) => {
                    ignore(line.event(&progress, Clock.now()));
                    answer.progress.push(progress);
                }
                Some(Reply::Done {
                    outcome,
                    error,
                    notes,
                }) => {
                    ignore(line.finish());
                    answer.outcome = outcome;
                    answer.error = error;
                    answer.notes = notes;
                    return Ok(answer);
                }
                Some(other) => answer.replies.push(other),
                // Status, plan and trial are one reply and the end.
                None if !answer.replies.is_empty() => return Ok(answer),
                None => {
                    ignore(line.finish());
                    anyhow::bail!("the controller went away in the middle of its answer");
                }
            }
        }
    }

    pub(crate) async fn status(self, context: &Context) -> anyhow::Result<Status> {
        let answer = self.ask(&Request::Status, context).await?;
        let status = answer.replies.into_iter().find_map(|reply| match reply {
            Reply::Status(status) => Some(*status),
            _ => None,
        });
        status.context("the controller gave no status (another version of banyan?)")
    }
}
