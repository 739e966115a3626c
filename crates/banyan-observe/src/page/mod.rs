//! What people and scrapers see, over HTTP on loopback, for whoever has the token: a cookie after the link that
//! `banyan dashboard` prints, or `Authorization: Bearer …`.
//!
//! The port is tried again while it is taken. Tasks: one that listens, one per connection. Limits: [`CONNECTIONS`], [`HEAD`].

mod answer;
pub(crate) mod history;
mod live;
mod login;
mod web;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use banyan_runtime::{TaskKind, listener, token};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::control::Parts;

/// At once; others wait.
const CONNECTIONS: usize = 64;
/// For the head of a request, also of the next one on a connection.
const HEAD: Duration = Duration::from_secs(60);
/// A port that was taken may be free.
const AGAIN: Duration = Duration::from_secs(1);

/// Where it is served; else why not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) at: Option<SocketAddr>,
    pub(crate) problem: Option<String>,
}

/// Until the role ends.
pub(crate) async fn run(parts: Parts, told: watch::Sender<Listening>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let snapshot = Arc::clone(&parts.snapshot.borrow());
        let made = token::make(&snapshot.token_file).map_err(|error| error.to_string());
        match made.and_then(|()| bind(snapshot.listen)) {
            Ok(listener) => {
                let at = listener.local_addr().ok();
                told.send_replace(Listening { at, problem: None });
                tracing::info!(address = ?at, "serving the dashboard");
                accept(&listener, &parts, &seats).await;
            }
            Err(why) => {
                let problem = format!("no dashboard at {}: {why}", snapshot.listen);
                if told.borrow().problem.as_ref() != Some(&problem) {
                    tracing::warn!(problem);
                }
                told.send_replace(Listening {
                    at: None,
                    problem: Some(problem),
                });
                sleep(AGAIN).await;
            }
        }
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let mut sockets = listener::bind_per_core(address, 1).map_err(|error| error.to_string())?;
    let socket = sockets.pop().ok_or_else(|| "no socket".to_owned())?;
    TcpListener::from_std(socket).map_err(|error| error.to_string())
}

async fn accept(listener: &TcpListener, parts: &Parts, seats: &Arc<Semaphore>) {
    loop {
        let Ok(seat) = Arc::clone(seats).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let looker = parts.clone();
                parts.tasks.spawn(TaskKind::Connection, "dashboard", async move {
                    talk(stream, looker).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept somebody who looks");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn talk(stream: TcpStream, parts: Parts) {
    let service = service_fn(|request| {
        let parts = parts.clone();
        async move { Ok::<_, Infallible>(answer::answer(&parts, &request).await) }
    });
    let served = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "somebody who looked went away");
    }
}
