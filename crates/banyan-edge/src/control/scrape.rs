//! `/metrics`: one page for all roles of the machine, whichever of them has the port.
//!
//! Every process that measures answers on a unix socket of its own in `.banyan/metrics/`. The one that has the TCP port adds
//! what the others say to its own, so several edges and other roles need no second port and no controller. The port goes
//! with the other listening sockets in a hand-over; when it is taken, it is tried again each second and the report says
//! so: metrics never stand in the way of requests. Tasks: one per socket, one per connection. Limits: [`CONNECTIONS`].

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use banyan_runtime::control::{self, Connection};
use banyan_runtime::handover::Passed;
use banyan_runtime::{TaskKind, Tasks, listener};
use banyan_telemetry::Families;
use banyan_telemetry::families::Format;
use banyan_topology::report::MetricsReport;

use super::Control;

/// At once; more are closed.
const CONNECTIONS: usize = 32;
/// For a reader to send its request, and for another process to answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks the control task for what this process has measured.
pub(super) type Ask = oneshot::Sender<Families>;

/// What answers, for as long as it is kept.
pub(super) struct Scrape {
    folder: PathBuf,
    own_path: PathBuf,
    asks: mpsc::UnboundedSender<Ask>,
    /// Our own socket for the others; ends when dropped.
    own: Option<oneshot::Sender<()>>,
    serving: Option<Serving>,
    problem: Option<(SocketAddr, String)>,
}

struct Serving {
    /// As configured; port 0 asks for a free one.
    asked: SocketAddr,
    bound: SocketAddr,
    /// For the process that replaces this one.
    socket: TcpListener,
    _ends: oneshot::Sender<()>,
}

impl Scrape {
    /// `started_unix_ms` tells processes apart, also where a pid comes again.
    pub(super) fn new(folder: &Path, started_unix_ms: u64) -> (Self, mpsc::UnboundedReceiver<Ask>) {
        let (asks, asked) = mpsc::unbounded_channel();
        let own_path = folder.join(format!("{}-{started_unix_ms}.sock", std::process::id()));
        let scrape = Self {
            folder: folder.to_owned(),
            own_path,
            asks,
            own: None,
            serving: None,
            problem: None,
        };
        (scrape, asked)
    }

    pub(super) fn report(&self) -> Option<MetricsReport> {
        let served = self.serving.as_ref().map(|serving| (serving.bound, None));
        let refused = || self.problem.clone().map(|(address, why)| (address, Some(why)));
        let (address, problem) = served.or_else(refused)?;
        Some(MetricsReport { address, problem })
    }

    /// The port, for the next process.
    pub(super) fn passed(&self) -> Option<Passed> {
        let serving = self.serving.as_ref()?;
        Some(Passed {
            asked: serving.asked,
            socket: serving.socket.try_clone().ok()?.into(),
        })
    }

    /// No more readers; other processes are still told.
    pub(super) fn give_up_port(&mut self) {
        self.serving = None;
    }
}

impl Control {
    /// Serves where it is wanted. Called with each snapshot and each second: a port that was taken may be free now.
    pub(super) fn keep_metrics(&mut self) {
        let wanted = self
            .snapshot
            .settings
            .metrics
            .as_ref()
            .map(|metrics| metrics.listen);
        self.scrape
            .serving
            .take_if(|serving| Some(serving.asked) != wanted);
        // Others of the machine ask whether or not there is a port.
        if self.scrape.own.is_none() {
            self.scrape.own = open_own(&self.scrape, &self.tasks);
        }
        let Some(asked) = wanted else {
            self.scrape.problem = None;
            return;
        };
        // At a further place the first edge has the port, and tells what this one says.
        if self.scrape.serving.is_some() || self.place.is_some() {
            return;
        }
        let inherited = self
            .inherited
            .remove(&asked)
            .and_then(|mut sockets| sockets.pop());
        let socket = inherited.map_or_else(|| bind(asked), Ok);
        match socket.and_then(|socket| open_port(&self.scrape, &self.tasks, asked, socket)) {
            Ok(serving) => {
                tracing::info!(address = %serving.bound, "serving metrics");
                self.scrape.serving = Some(serving);
                self.scrape.problem = None;
            }
            Err(why) => {
                let problem = Some((asked, why));
                if self.scrape.problem != problem {
                    tracing::warn!(address = %asked, why = problem.as_ref().map(|(_, why)| why), "metrics are not served");
                }
                self.scrape.problem = problem;
            }
        }
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let mut sockets = listener::bind_per_core(address, 1).map_err(|error| error.to_string())?;
    sockets.pop().ok_or_else(|| "no socket".to_owned())
}

fn open_port(
    scrape: &Scrape,
    tasks: &Tasks,
    asked: SocketAddr,
    socket: TcpListener,
) -> Result<Serving, String> {
    let fail = |error: std::io::Error| error.to_string();
    let bound = socket.local_addr().map_err(fail)?;
    let copy = socket.try_clone().map_err(fail)?;
    let accepted = tokio::net::TcpListener::from_std(copy).map_err(fail)?;
    let (ends, ended) = oneshot::channel();
    let page = Arc::new(Page {
        asks: scrape.asks.clone(),
        folder: scrape.folder.clone(),
        own: scrape.own_path.clone(),
        local: bound.ip().is_loopback(),
        open: AtomicUsize::new(0),
    });
    let spawner = tasks.clone();
    tasks.spawn(TaskKind::Background, "metrics", async move {
        tokio::select! {
            () = accept(&accepted, &page, &spawner) => {}
            _dropped = ended => {}
        }
    });
    Ok(Serving {
        asked,
        bound,
        socket,
        _ends: ends,
    })
}

async fn accept(listener: &tokio::net::TcpListener, page: &Arc<Page>, tasks: &Tasks) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if page.open.fetch_add(1, Ordering::Relaxed) < CONNECTIONS => {
                let page = Arc::clone(page);
                tasks.spawn(TaskKind::Connection, "metrics reader", async move {
                    talk(stream, &page).await;
                    page.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
            Ok(_too_many) => {
                page.open.fetch_sub(1, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a reader of metrics");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What a reader is answered from.
struct Page {
    asks: mpsc::UnboundedSender<Ask>,
    folder: PathBuf,
    own: PathBuf,
    /// On loopback a browser may be sent here by a foreign page: then it names a foreign host.
    local: bool,
    open: AtomicUsize,
}

async fn talk(stream: TcpStream, page: &Arc<Page>) {
    let service = service_fn(|request| {
        let page = Arc::clone(page);
        async move { Ok::<_, Infallible>(page.answer(&request).await) }
    });
    let served = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIMIT * 30)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a reader of metrics went away");
    }
}

impl Page {
    async fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        if self.local && !is_local(request.headers()) {
            return plain(StatusCode::FORBIDDEN, "Host must be an address or localhost\n");
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
        }
        if request.uri().path() != "/metrics" {
            return plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
        }
        let Some(families) = self.gather().await else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "this process is ending\n");
        };
        let accepted = request.headers().get_all(header::ACCEPT).iter();
        let format = Format::of_accept(accepted.filter_map(|value| value.to_str().ok()));
        let mut response = Response::new(families.render(format));
        let kind = HeaderValue::from_static(format.media_type());
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    /// Ours and those of all other processes that answer.
    async fn gather(&self) -> Option<Families> {
        let mut all = ask(&self.asks).await?;
        for path in others(&self.folder, &self.own) {
            match timeout(LIMIT, read_other(&path)).await {
                Ok(Some(theirs)) => all.merge(theirs),
                // Dead, ending, or too busy to say.
                Ok(None) | Err(_) => {
                    tracing::debug!(path = %path.display(), "a process did not tell its metrics")
                }
            }
        }
        Some(all)
    }
}

async fn ask(asks: &mpsc::UnboundedSender<Ask>) -> Option<Families> {
    let (answer, answered) = oneshot::channel();
    asks.send(answer).ok()?;
    answered.await.ok()
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

async fn read_other(path: &Path) -> Option<Families> {
    match Connection::connect(path).await {
        Ok(mut connection) => connection.receive().await.ok().flatten(),
        Err(_nobody) => {
            // Left behind by a process that was killed; pids come again, sockets do not.
            let _in_use_or_gone = std::fs::remove_file(path);
            None
        }
    }
}

/// Lets other processes of the machine read what this one measures.
fn open_own(scrape: &Scrape, tasks: &Tasks) -> Option<oneshot::Sender<()>> {
    let made = std::fs::create_dir_all(&scrape.folder).map_err(|error| error.to_string());
    let path = scrape.own_path.clone();
    let bound = made.and_then(|()| control::Listener::bind(&path).map_err(|error| error.to_string()));
    let listener = match bound {
        Ok(listener) => listener,
        Err(why) => {
            tracing::warn!(why, "other processes cannot read the metrics of this one");
            return None;
        }
    };
    let (ends, ended) = oneshot::channel();
    let asks = scrape.asks.clone();
    tasks.spawn(TaskKind::Background, "metrics of this process", async move {
        tokio::select! {
            () = control::tell(&listener, "metrics", || ask(&asks)) => {}
            _dropped = ended => {}
        }
        let _gone = std::fs::remove_file(path);
    });
    Some(ends)
}

/// Names resolve to loopback for whoever owns them; addresses and `localhost` do not (DNS rebinding).
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return true;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

fn plain(status: StatusCode, text: &str) -> Response<String> {
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_local() {
        let local = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_local(&headers)
        };
        for host in ["127.0.0.1:9464", "localhost", "LOCALHOST:1", "[::1]:9464"] {
            assert!(local(host), "{host}");
        }
        for host in ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", ""] {
            assert!(!local(host), "{host}");
        }
    }
}
