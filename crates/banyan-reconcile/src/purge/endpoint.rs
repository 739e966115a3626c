//! `POST /purge`: the same as `banyan purge`, for apps and their deploys. HTTP on an address of its own, loopback only, for
//! whoever has the token: `Authorization: Bearer …`.
//!
//! The token is that of the file in the configuration, or one that Banyan makes (`.banyan/secrets/purge-token`); read again
//! with each request, so a new one counts at once. Tasks: one that listens, one per connection. Limits: [`CONNECTIONS`],
//! [`BODY`], [`HEAD`].

use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use banyan_config::PurgeEndpoint;
use banyan_runtime::{TaskKind, Tasks, listener};
use banyan_topology::purge::{Actor, Mode, Scope};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::TryRng;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
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
const TOKEN_BYTES: usize = 32;

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
            make(&token).map_err(|e| e.to_string())
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
        let token = read(&self.token)?;
        let shown = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        Ok(shown.is_some_and(|shown| same(shown, token.as_bytes())))
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

/// How long it takes says nothing of where they differ: digests are compared, and all of their bytes.
fn same(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    let differs = a.iter().zip(b.iter()).fold(0, |sum, (a, b)| sum | (a ^ b));
    differs == 0
}

/// Nobody else may read it, and it is not empty.
fn read(path: &Path) -> io::Result<String> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(io::Error::other("others may read it: chmod 600"));
    }
    let token = fs::read_to_string(path)?.trim().to_owned();
    if token.len() < 16 {
        return Err(io::Error::other("it has less than 16 characters"));
    }
    Ok(token)
}

fn make(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut bytes = [0; TOKEN_BYTES];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&new, path)
}

fn json(status: StatusCode, text: String) -> Response<String> {
    let mut response = Response::new(text + "\n");
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_made_once_private_and_unguessable() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = own_token(dir.path());
        make(&path).unwrap();
        let token = read(&path).unwrap();
        make(&path).unwrap();
        assert_eq!((read(&path).unwrap(), token.len()), (token.clone(), 64));
        assert!(same(token.as_bytes(), token.as_bytes()));
        assert!(!same(b"", token.as_bytes()) && !same(&token.as_bytes()[1..], token.as_bytes()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}
