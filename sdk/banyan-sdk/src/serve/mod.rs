//! The serving process from port to exit: bind, answer, become ready, drain.

mod drain;
mod health;

use std::future::IntoFuture as _;
use std::io;
use std::net::SocketAddr;

use axum::routing::get;
use axum::serve::ListenerExt as _;
use axum::{Router, middleware};
use tokio::net::TcpListener;

pub(crate) use self::drain::Drain;
pub(crate) use self::health::Readiness;

use self::drain::StopSignals;
use crate::{Banyan, session, task};

#[derive(thiserror::Error)]
pub enum ServeError {
    #[error("failed to listen on {address}: {source}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("failed to watch for signals: {0}")]
    Signals(io::Error),
    #[error("failed to serve: {0}")]
    Serve(io::Error),
    #[error("stopped at once by a second signal; requests in flight were dropped")]
    SecondSignal,
    #[error("requests still in flight after {:?} were dropped", drain::END_LIMIT)]
    CutOff,
}

speaks_plainly!(ServeError);

impl Banyan {
    /// Serves `app` on HOST:PORT until SIGTERM or Ctrl-C, and with it:
    ///
    /// - `/healthz`: this process can answer. `/readyz`: it has what it needs (tables, connections, scripts, and all that
    ///   [`Banyan::before_ready`] was given). Reached once, left only by SIGTERM: a database that is away for a moment is shared by
    ///   all instances, and if each said no there would be none left to say why.
    /// - after SIGTERM: not ready, serving on with `Connection: close` until no request came for a second (10 s at most), then what
    ///   is in flight, all within 25 s. A second signal ends it at once.
    ///
    /// Returns `Ok` when nothing was dropped.
    pub async fn serve(&self, app: Router) -> Result<(), ServeError> {
        let mut signals = StopSignals::install().map_err(ServeError::Signals)?;
        let (listener, address) = self.bind().await?;
        tracing::info!(%address, instance = self.settings().instance, "listening");
        let listener = listener.tap_io(|stream| {
            // Without it small answers may wait for the client's acknowledgement; without effect it is merely slower.
            stream.set_nodelay(true).ok();
        });
        let _background = self.start_background();
        let may_close = self.clone();
        let server = axum::serve(listener, self.router(app))
            .with_graceful_shutdown(async move { may_close.drain().wait().await })
            .into_future();
        let preparing = async {
            self.become_ready().await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = server => ended.map_err(ServeError::Serve)?,
            failure = self.stop(&mut signals) => return Err(failure),
            () = preparing => {}
        }
        tracing::info!("stopped");
        Ok(())
    }

    async fn bind(&self) -> Result<(TcpListener, SocketAddr), ServeError> {
        let address = self.settings().listen;
        let bind_error = |source| ServeError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        Ok((listener, address))
    }

    /// What runs beside requests, until dropped.
    fn start_background(&self) -> Vec<task::Running> {
        vec![
            task::start(self.caches().clone().keep_right(self.db().clone())),
            task::start(self.caches().clone().tell_stats(self.settings().instance.clone())),
            task::start(self.sessions().clone().keep_right()),
        ]
    }

    /// Begins the drain at the first signal; returns when waiting for its end is over.
    async fn stop(&self, signals: &mut StopSignals) -> ServeError {
        signals.next().await;
        tracing::info!("stopping: not ready any more, serving until requests stop coming");
        self.drain().begin();
        tokio::select! {
            () = signals.next() => ServeError::SecondSignal,
            () = tokio::time::sleep(drain::END_LIMIT) => ServeError::CutOff,
        }
    }

    fn router(&self, app: Router) -> Router {
        let outermost = middleware::from_fn_with_state(self.clone(), drain::close_when_draining);
        app.merge(
            Router::new()
                .route("/healthz", get(health::healthz))
                .route("/readyz", get(health::readyz))
                .with_state(self.clone()),
        )
        .layer(middleware::from_fn(session::fit_to_connection))
        .layer(outermost)
    }
}
