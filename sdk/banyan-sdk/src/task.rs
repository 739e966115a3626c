//! The one place that starts tasks.

/// Of a destructor; it must end by itself. Without a runtime (it is shutting down) nothing is started.
pub(crate) fn start_if_running(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}
