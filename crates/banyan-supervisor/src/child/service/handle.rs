//! What the rest of Banyan holds of the supervisor.

use std::time::Duration;

use banyan_config::LogSettings;
use tokio::sync::{mpsc, oneshot, watch};

use crate::child::actor::Published;
use crate::child::error::{NotReady, StartError};
use crate::child::spec::{ChildId, ChildSpec};
use crate::child::status::{Adopted, ChildStatus, RunOutcome, StopReport};

pub(super) enum Request {
    Start(Box<ChildSpec>, oneshot::Sender<Result<(), StartError>>),
    Run(
        Box<ChildSpec>,
        Duration,
        oneshot::Sender<Result<RunOutcome, StartError>>,
    ),
    Ready(ChildId, oneshot::Sender<Result<(), NotReady>>),
    Stop(ChildId, oneshot::Sender<StopReport>),
    Fence(ChildId, oneshot::Sender<StopReport>),
    Watch(ChildId, oneshot::Sender<watch::Receiver<Published>>),
    Configure(Box<ChildSpec>),
    KillAll(oneshot::Sender<()>),
    Survivors(oneshot::Sender<Vec<Adopted>>),
    Adopt(Box<ChildSpec>, Adopted, oneshot::Sender<bool>),
    Status(oneshot::Sender<Vec<ChildStatus>>),
}

/// Talks to the service; cheap to clone. After the service has ended, every call answers as if there were no children.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    logs: watch::Sender<LogSettings>,
}

impl Handle {
    pub(super) fn new(requests: mpsc::Sender<Request>, logs: watch::Sender<LogSettings>) -> Self {
        Self { requests, logs }
    }

    /// How logs are kept from now on; the defaults until it is called.
    pub fn keep_logs(&self, settings: LogSettings) {
        self.logs.send_replace(settings);
    }

    /// `None`: the service, or the child's task, has ended without an answer.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Starts it and returns once the process exists. Processes of the same name that an earlier controller left and
    /// nobody adopted are killed first.
    pub async fn start(&self, spec: ChildSpec) -> Result<(), StartError> {
        self.ask(|reply| Request::Start(Box::new(spec), reply))
            .await
            .unwrap_or(Err(StartError::Gone))
    }

    /// Waits until it is ready for the first time, or it is clear that it will not be (start_grace passed, or it exited 3 times).
    pub async fn ready(&self, id: &ChildId) -> Result<(), NotReady> {
        self.ask(|reply| Request::Ready(id.clone(), reply))
            .await
            .unwrap_or(Err(NotReady::Gone))
    }

    /// Signal, grace, SIGKILL of everything it left; returns when all its processes are gone. Unknown id: `None`.
    pub async fn stop(&self, id: &ChildId) -> Option<StopReport> {
        self.ask(|reply| Request::Stop(id.clone(), reply)).await
    }

    /// SIGKILL of everything it has, without grace; returns when all its processes are gone and reaped, and it will not
    /// start again: nothing of it can act any more. Unknown id: `None`.
    pub async fn fence(&self, id: &ChildId) -> Option<StopReport> {
        self.ask(|reply| Request::Fence(id.clone(), reply)).await
    }

    /// Returns when its process has ended by itself (true; it may be starting again by then), or when it was stopped or
    /// there is no such child (false).
    pub async fn crashed(&self, id: &ChildId) -> bool {
        let Some(mut status) = self.ask(|reply| Request::Watch(id.clone(), reply)).await else {
            return false;
        };
        let gone = |published: &Published| published.state.is_without_process();
        status.wait_for(gone).await.is_ok()
    }

    /// Returns when it is clear why it does not become ready, although it still may: see [`ChildStatus::hint`]. `None`: there
    /// is no such child, or no more.
    pub async fn hint(&self, id: &ChildId) -> Option<String> {
        let mut status = self.ask(|reply| Request::Watch(id.clone(), reply)).await?;
        let told = status.wait_for(|published| published.hint.is_some()).await;
        told.ok()?.hint.clone()
    }

    /// SIGKILL of everything at once (second Ctrl-C), survivors of an earlier controller included; returns when all is gone.
    pub async fn kill_all(&self) {
        self.ask(Request::KillAll).await.unwrap_or_default();
    }

    /// New probes and graces for a running child; restarts nothing.
    pub async fn configure(&self, spec: ChildSpec) {
        // A service that has ended has no child to configure.
        self.requests.send(Request::Configure(Box::new(spec))).await.ok();
    }

    /// Children of an earlier controller that still run: recorded on disk (pid, start time and boot agree), or found by
    /// their marker or cgroup.
    pub async fn survivors(&self) -> Vec<Adopted> {
        self.ask(Request::Survivors).await.unwrap_or_default()
    }

    /// Takes over a survivor under `spec` (spec is used for its next restart). False: it is gone.
    pub async fn adopt(&self, spec: ChildSpec, survivor: &Adopted) -> bool {
        self.ask(|reply| Request::Adopt(Box::new(spec), survivor.clone(), reply))
            .await
            .unwrap_or(false)
    }

    pub async fn status(&self) -> Vec<ChildStatus> {
        self.ask(Request::Status).await.unwrap_or_default()
    }

    /// Runs a command to its end (release command, initdb), output appended to its log. `limit`: killed after it.
    pub async fn run(&self, spec: ChildSpec, limit: Duration) -> Result<RunOutcome, StartError> {
        self.ask(|reply| Request::Run(Box::new(spec), limit, reply))
            .await
            .unwrap_or(Err(StartError::Gone))
    }
}
