//! How a server begins to serve, whichever it is: found running, or prepared, started and waited for.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::child::{ChildSpec, Handle, NotReady, StartError};

/// A server that Banyan runs. What differs between them is here; [`start`] is the same for all.
pub(super) trait Engine: Sync {
    type Error: From<StartError> + Send;

    /// The server as a child.
    fn spec(&self) -> ChildSpec;

    /// Makes what a start needs (data, settings) and sees what would make it exit at once. Nothing of it runs.
    fn prepare(&self, handle: &Handle) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Waits until it answers its clients, and makes in it what they need. For one that ran already too.
    fn provision(&self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Why it did not come up, in words that say what to do.
    fn not_ready(&self, error: NotReady) -> Self::Error;
}

/// From whatever there is (nothing, data, a crashed server's leftovers, our own running server) to a server that
/// answers. On failure nothing that it started is left running.
pub(super) async fn start<E: Engine>(engine: &E, handle: &Handle) -> Result<(), E::Error> {
    if runs_already(engine, handle).await {
        return become_ready(engine, handle).await;
    }
    engine.prepare(handle).await?;
    handle.start(engine.spec()).await?;
    let started = become_ready(engine, handle).await;
    if started.is_err() {
        handle.stop(&engine.spec().id).await;
    }
    started
}

/// As a child, or (then it is adopted) as one that an earlier controller left.
async fn runs_already<E: Engine>(engine: &E, handle: &Handle) -> bool {
    let spec = engine.spec();
    if handle.status().await.iter().any(|child| child.id == spec.id) {
        return true;
    }
    let survivors = handle.survivors().await;
    match survivors.into_iter().find(|survivor| survivor.id == spec.id) {
        Some(survivor) => handle.adopt(spec, &survivor).await,
        None => false,
    }
}

async fn become_ready<E: Engine>(engine: &E, handle: &Handle) -> Result<(), E::Error> {
    let ready = handle.ready(&engine.spec().id).await;
    ready.map_err(|error| engine.not_ready(error))?;
    engine.provision().await
}

/// Whether something accepts connections there.
pub(super) fn is_taken(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}
