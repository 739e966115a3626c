//! One single-threaded runtime per core: nothing on a request's path crosses threads.
//!
//! Work stealing costs up to 43 % CPU on small proxied requests (ARCHITECTURE.md, edge).

use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::thread::JoinHandle;

use tokio::task::LocalSet;

/// How many cores this process may use (respects affinity and cgroup quota).
pub fn available() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Starts a thread `name-index` with its own runtime and runs what `work` makes on it, to its end.
#[expect(
    clippy::disallowed_methods,
    reason = "the core's own work: its end ends the thread, and is returned"
)]
pub fn spawn<F, W>(name: &str, index: usize, work: W) -> io::Result<JoinHandle<io::Result<()>>>
where
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    std::thread::Builder::new()
        .name(format!("{name}-{index}"))
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            // A task of its own: what blocks on the set is polled whenever any task of it is woken, and has to be little.
            LocalSet::new().block_on(&runtime, async move { tokio::task::spawn_local(work()).await })?;
            Ok(())
        })
}
