//! The two sockets: people ask on one, roles report on the other. One task per connection.

use banyan_runtime::control::{Connection, ControlError, Listener};
use banyan_runtime::{TaskKind, Tasks};
use banyan_topology::report::RoleReport;
use tokio::sync::mpsc;

use super::Handle;
use crate::proto::{Outcome, Reply, Request};

/// Answers people until the listener's task is aborted.
pub(super) async fn serve_control(listener: Listener, handle: Handle, tasks: Tasks) {
    loop {
        match listener.accept().await {
            Ok(connection) => {
                let answering = answer(connection, handle.clone());
                tasks.spawn(TaskKind::Connection, "control connection", answering);
            }
            Err(error) => refused(&error).await,
        }
    }
}

/// Takes the reports of roles until the listener's task is aborted.
pub(super) async fn serve_reports(listener: Listener, reports: mpsc::Sender<RoleReport>, tasks: Tasks) {
    loop {
        match listener.accept().await {
            Ok(connection) => {
                let taking = take_reports(connection, reports.clone());
                tasks.spawn(TaskKind::Connection, "report connection", taking);
            }
            Err(error) => refused(&error).await,
        }
    }
}

async fn refused(error: &ControlError) {
    tracing::warn!(error = %error, "a control connection was not accepted");
    if !matches!(error, ControlError::Peer { .. }) {
        // Out of file descriptors, most likely: trying at once would only burn CPU.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn answer(connection: Connection, handle: Handle) {
    let (mut reader, mut writer) = connection.split();
    let request = match reader.receive::<Request>().await {
        Ok(Some(request)) => request,
        Ok(None) => return,
        Err(error) => {
            let reply = Reply::Done {
                outcome: Outcome::Refused,
                error: Some(format!(
                    "{error}; the controller is banyan {}",
                    env!("CARGO_PKG_VERSION")
                )),
                notes: Vec::new(),
            };
            drop(writer.send(&reply).await);
            return;
        }
    };
    let mut replies = handle.ask(request).await;
    while let Some(reply) = replies.recv().await {
        // Who asked may have left; what was asked goes on.
        if writer.send(&reply).await.is_err() {
            return;
        }
    }
}

async fn take_reports(connection: Connection, reports: mpsc::Sender<RoleReport>) {
    let (mut reader, _writer) = connection.split();
    loop {
        match reader.receive::<RoleReport>().await {
            Ok(Some(report)) => {
                if reports.send(report).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "a role's report was not understood");
                return;
            }
        }
    }
}
