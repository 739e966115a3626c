//! What the other processes of the machine measure, as they tell it on their sockets in `.banyan/metrics/`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_runtime::control::Connection;
use banyan_telemetry::Families;
use tokio::time::timeout;

/// For one process to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// By the name of the socket, which is another one for each process.
pub(super) async fn read(folder: &Path, own: &Path) -> Vec<(String, Families)> {
    let mut told = Vec::new();
    for path in others(folder, own) {
        match timeout(LIMIT, one(&path)).await {
            Ok(Some(families)) => {
                let who = path.file_name().map(|name| name.to_string_lossy().into_owned());
                told.push((who.unwrap_or_default(), families));
            }
            // Dead, ending, or too busy to say: the edge takes away what is left behind.
            Ok(None) | Err(_) => {
                tracing::debug!(path = %path.display(), "a process did not tell its metrics");
            }
        }
    }
    told
}

fn others(folder: &Path, own: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path != own && path.extension().is_some_and(|e| e == "sock"));
    paths.sort();
    paths
}

async fn one(path: &Path) -> Option<Families> {
    let mut connection = Connection::connect(path).await.ok()?;
    connection.receive().await.ok().flatten()
}
