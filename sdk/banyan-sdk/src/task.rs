//! The one place that starts tasks.

use tokio::task::JoinHandle;

/// Runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Running(JoinHandle<()>);

pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) -> Running {
    Running(tokio::runtime::Handle::current().spawn(work))
}

/// `None`: there is no runtime.
pub(crate) fn start_if_possible(work: impl Future<Output = ()> + Send + 'static) -> Option<Running> {
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    Some(Running(runtime.spawn(work)))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Of a destructor; it must end by itself. Without a runtime (it is shutting down) nothing is started.
pub(crate) fn start_if_running(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}
