//! Where uploads become photos, within bounds: half of the cores at most, 640 MiB in all, 2 s of processor time each.
//!
//! Who waits too long for a turn is told to come back. What is given up by its client is made to its end all the same: the turn
//! goes with the work.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};

use super::sniff::{NotAPicture, Picture, picture};
use super::variants::{CpuTime, Unusable, Variant, make};

const MEMORY_MIB: u32 = 640;
/// Pixels, a progressive JPEG's coefficients, and what is made of them.
const BYTES_PER_PIXEL: u64 = 12;
const BESIDES_MIB: u64 = 32;
/// What resizes is generic, so a debug build does not optimise it.
const CPU_LIMIT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 2 });
const TURN_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(super) enum DevelopError {
    #[error(transparent)]
    NotAPicture(#[from] NotAPicture),
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error("no turn to develop a photo within {TURN_LIMIT:?}")]
    NoTurn,
    #[error("failed to read an upload: {0}")]
    Read(#[source] std::io::Error),
}

#[derive(Debug)]
pub(crate) struct Darkroom {
    turns: Arc<Semaphore>,
    /// In MiB.
    memory: Arc<Semaphore>,
}

impl Darkroom {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            turns: Arc::new(Semaphore::new((cores / 2).max(1))),
            memory: Arc::new(Semaphore::new(MEMORY_MIB as usize)),
        }
    }

    /// Reads the file only when it is its turn: those that wait are on disk.
    pub(super) async fn develop(&self, file: PathBuf) -> Result<Vec<Variant>, DevelopError> {
        let turn = in_time(Arc::clone(&self.turns).acquire_owned()).await?;
        let (content, picture) = work(move || {
            let content = std::fs::read(file).map_err(DevelopError::Read)?;
            let picture = picture(&content)?;
            Ok((content, picture))
        })
        .await?;
        let memory = in_time(Arc::clone(&self.memory).acquire_many_owned(mib(picture))).await?;
        work(move || {
            let _held = (turn, memory);
            Ok(make(&content, picture, &CpuTime::begin(CPU_LIMIT))?)
        })
        .await
    }
}

fn mib(picture: Picture) -> u32 {
    let pixels = u64::from(picture.width) * u64::from(picture.height);
    let mib = pixels * BYTES_PER_PIXEL / (1024 * 1024) + BESIDES_MIB;
    u32::try_from(mib).unwrap_or(MEMORY_MIB).min(MEMORY_MIB)
}

async fn in_time(
    turn: impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>>,
) -> Result<OwnedSemaphorePermit, DevelopError> {
    match tokio::time::timeout(TURN_LIMIT, turn).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(DevelopError::NoTurn),
    }
}

/// A decoder that panics has met a file that it cannot decode.
async fn work<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DevelopError> + Send + 'static,
) -> Result<T, DevelopError> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|panicked: JoinError| Err(Unusable::Decode(panicked.to_string()).into()))
}
