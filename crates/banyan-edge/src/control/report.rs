//! Tells the controller what the edge sees; without a controller the edge works on and keeps trying.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use banyan_runtime::control::Connection;
use banyan_topology::report::{EdgeReport, RoleReport};

const AGAIN: Duration = Duration::from_millis(200);
/// Each report is sent again after this, so that a silent edge is a dead one.
const EVERY: Duration = Duration::from_secs(1);

/// Runs until the role ends (the sender is dropped).
pub(crate) async fn report(path: PathBuf, mut reports: watch::Receiver<EdgeReport>) {
    loop {
        if let Ok(connection) = Connection::connect(&path).await
            && talk(connection, &mut reports).await.is_none()
        {
            return;
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            ended = ended(reports.clone()) => return ended,
        }
    }
}

async fn ended(mut reports: watch::Receiver<EdgeReport>) {
    while reports.changed().await.is_ok() {}
}

/// `Some`: the controller is gone. `None`: we are ending.
async fn talk(connection: Connection, reports: &mut watch::Receiver<EdgeReport>) -> Option<()> {
    let (mut reader, mut writer) = connection.split();
    loop {
        let report = reports.borrow_and_update().clone();
        if writer.send(&RoleReport::Edge(Box::new(report))).await.is_err() {
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
