//! A role tells what it sees: the controller, over its socket, and others in the same process, by a handle. Without a
//! controller the role works on and keeps trying.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::control::Connection;

const AGAIN: Duration = Duration::from_millis(200);
/// Each report is sent again after this, so that a silent role is a dead one.
const EVERY: Duration = Duration::from_secs(1);

/// What others in the same process see of a role.
#[derive(Clone)]
pub struct Handle<R>(watch::Receiver<R>);

impl<R: Clone + Default> Handle<R> {
    /// The role keeps the sender; it says nothing yet.
    pub fn of_a_role() -> (watch::Sender<R>, Self) {
        let (reports, receiver) = watch::channel(R::default());
        (reports, Self(receiver))
    }

    /// The last one; the default before the first.
    pub fn report(&self) -> R {
        self.0.borrow().clone()
    }

    /// The first report that `wanted` accepts; `None` when the role ended before.
    pub async fn wait_for(&mut self, wanted: impl FnMut(&R) -> bool) -> Option<R> {
        self.0.wait_for(wanted).await.ok().map(|report| report.clone())
    }
}

/// Sends each report as `message` words it. Runs until the role ends (the sender is dropped).
pub async fn report<R: Clone, M: Serialize>(
    path: PathBuf,
    mut reports: watch::Receiver<R>,
    message: impl Fn(R) -> M,
) {
    loop {
        if let Ok(connection) = Connection::connect(&path).await
            && talk(connection, &mut reports, &message).await.is_none()
        {
            return;
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            ended = ended(reports.clone()) => return ended,
        }
    }
}

async fn ended<R>(mut reports: watch::Receiver<R>) {
    while reports.changed().await.is_ok() {}
}

/// `Some`: the controller is gone. `None`: we are ending.
async fn talk<R: Clone, M: Serialize>(
    connection: Connection,
    reports: &mut watch::Receiver<R>,
    message: &impl Fn(R) -> M,
) -> Option<()> {
    let (mut reader, mut writer) = connection.split();
    loop {
        let report = reports.borrow_and_update().clone();
        if writer.send(&message(report)).await.is_err() {
            return Some(());
        }
        tokio::select! {
            changed = timeout(EVERY, reports.changed()) => {
                if matches!(changed, Ok(Err(_))) {
                    return None;
                }
            }
            // The controller says nothing; an end or an error means that it has gone.
            _ = reader.receive::<serde_json::Value>() => return Some(()),
        }
    }
}
