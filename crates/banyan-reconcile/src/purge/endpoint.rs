//! `POST /purge`: the same as `banyan purge`, for apps and their deploys. HTTP on an address of its own, loopback only, for
//! whoever has the token: `Authorization: Bearer …`.
//!
//! The token is that of the file in the configuration, or one that Banyan makes (`.banyan/secrets/purge-token`); read again
//! with each request, so a new one counts at once. Tasks: one that listens, one per connection. Limits: [`CONNECTIONS`],
//! [`BODY`], [`HEAD`].

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use banyan_config::PurgeEndpoint;
use banyan_runtime::{TaskKind, Tasks, listener, token};
use banyan_topology::purge::{Actor, Mode, Scope};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::{Order, Purged, Purges};

/// At once; others wait.
const CONNECTIONS: usize = 32;
/// Bytes of a request.
const BODY: usize = 1 << 20;
/// For the head of a request, and for its body.
const HEAD: Duration = Duration::from_secs(5);
/// A port that was taken may be free.
const AGAIN: Duration = Duration::from_secs(1);

/// What is wanted, changed by each topology that is reached.
pub(crate) type Wanted = watch::Sender<Option<PurgeEndpoint>>;

/// The token that Banyan makes.
pub(crate) fn own_token(secrets: &Path) -> PathBuf {
    secrets.join("purge-token")
}

pub(crate) fn start(purges: Purges, secrets: PathBuf, tasks: &Tasks) -> Wanted {
    let (wanted, receiver) = watch::channel(None);
    let spawner = tasks.clone();
    tasks.spawn(TaskKind::Background, "purge endpoint", async move {
        listen(receiver, purges, &secrets, &spawner).await;
    });
    wanted
}

async fn listen(
    mut wanted: watch::Receiver<Option<PurgeEndpoint>>,
    purges: Purges,
    secrets: &Path,
    tasks: &Tasks,
) {
    let mut known_problem = None;
    loop {
        let now = wanted.borrow_and_update().clone();
        let Some(endpoint) = now else {
            match wanted.changed().await {
                Ok(()) => continue,
                Err(_ending) => return,
            }
        };
        let token = endpoint.token_file.clone().unwrap_or_else(|| own_token(secrets));
        let own = endpoint.token_file.is_none();
        let ready = if own {
            token::make(&token).map_err(|e| e.to_string())
        } else {
            Ok(())
        };
        match ready.and_then(|()| bind(endpoint.listen)) {
            Ok(listener) => {
                tracing::info!(address = %endpoint.listen, "purges are taken at /purge");
                known_problem = None;
                let desk = Arc::new(Desk {
                    purges: purges.clone(),
                    token,
                });
                tokio::select! {
                    () = accept(&listener, &desk, tasks) => {}
                    changed = wanted.changed() => if changed.is_err() { return },
                }
            }
            Err(why) => {
                if known_problem.as_ref() != Some(&why) {
                    tracing::error!(address = %endpoint.listen, why, "purges are not taken over HTTP");
                    known_problem = Some(why);
                }
                let _changed = timeout(AGAIN, wanted.changed()).await;
            }
        }
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let mut sockets = listener::bind_per_core(address, 1).map_err(|error| error.to_string())?;
    let socket = sockets.pop().ok_or_else(|| "no socket".to_owned())?;
    TcpListener::from_std(socket).map_err(|error| error.to_string())
}

async fn accept(listener: &TcpListener, desk: &Arc<Desk>, tasks: &Tasks) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = Arc::clone(desk);
                tasks.spawn(TaskKind::Connection, "purge over HTTP", async move {
                    talk(stream, desk).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection for purges");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn talk(stream: TcpStream, desk: Arc<Desk>) {
    let service = service_fn(|request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let served = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "who wanted a purge went away");
    }
}

struct Desk {
    purges: Purges,
    token: PathBuf,
}

/// What is asked: at least one name.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    urls: Vec<String>,
    prefixes: Vec<String>,
    globs: Vec<String>,
    tags: Vec<String>,
    all: bool,
    hard: bool,
}

#[derive(Debug, Serialize)]
struct Said {
    #[serde(flatten)]
    purged: Purged,
    complete: bool,
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<String> {
        match self.judge(request).await {
            Ok(purged) => {
                let complete = purged.stragglers().is_none();
                let status = if complete {
                    StatusCode::OK
                } else {
                    StatusCode::GATEWAY_TIMEOUT
                };
                let text = serde_json::to_string(&Said { purged, complete }).unwrap_or_default();
                json(status, text)
            }
            Err((status, why)) => {
                let mut response = json(status, serde_json::json!({ "error": why }).to_string());
                if status == StatusCode::UNAUTHORIZED {
                    let bearer = HeaderValue::from_static("Bearer");
                    response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
                }
                response
            }
        }
    }

    async fn judge(&self, request: Request<Incoming>) -> Result<Purged, (StatusCode, String)> {
        let refuse = |status: StatusCode, why: &str| Err((status, why.to_owned()));
        match self.knows(request.headers()) {
            Ok(true) => {}
            Ok(false) => {
                return refuse(
                    StatusCode::UNAUTHORIZED,
                    "Authorization: Bearer TOKEN is missing or wrong",
                );
            }
            Err(error) => {
                tracing::error!(%error, path = %self.token.display(), "the token for purges cannot be used");
                return refuse(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the token cannot be read; the log says why",
                );
            }
        }
        if request.uri().path() != "/purge" {
            return refuse(StatusCode::NOT_FOUND, "purges are taken at /purge");
        }
        if request.method() != Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "POST only");
        }
        let body = timeout(HEAD, Limited::new(request.into_body(), BODY).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => {
                return refuse(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the request broke off, or has more than 1 MiB",
                );
            }
            Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the request did not come in time"),
        };
        let wanted: Body = serde_json::from_slice(&body).map_err(|error| {
            let help = "an object with urls, prefixes, globs, tags (lists), all, hard (true or false)";
            (StatusCode::BAD_REQUEST, format!("{error}; wanted: {help}"))
        })?;
        let order = wanted.order();
        order.check().map_err(|why| (StatusCode::BAD_REQUEST, why))?;
        let done = self.purges.purge(order).await;
        done.map_err(|why| (StatusCode::INTERNAL_SERVER_ERROR, why))
    }

    fn knows(&self, headers: &HeaderMap) -> io::Result<bool> {
        let token = token::read(&self.token)?;
        let shown = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        Ok(shown.is_some_and(|shown| token::same(shown, token.as_bytes())))
    }
}

impl Body {
    fn order(self) -> Order {
        let urls = self.urls.into_iter().map(Scope::Url);
        let prefixes = self.prefixes.into_iter().map(Scope::Prefix);
        let globs = self.globs.into_iter().map(Scope::Glob);
        let tags = self.tags.into_iter().map(Scope::Tag);
        let all = self.all.then_some(Scope::All);
        Order {
            scopes: urls.chain(prefixes).chain(globs).chain(tags).chain(all).collect(),
            mode: if self.hard { Mode::Hard } else { Mode::Soft },
            actor: Actor::Endpoint,
        }
    }
}

fn json(status: StatusCode, text: String) -> Response<String> {
    let mut response = Response::new(text + "\n");
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
