//! Files of a folder as answers of a route: `static = "public"`.
//!
//! A core never waits for a disk: opening and reading happen on its runtime's blocking threads, in pieces of [`PIECE`]. Small
//! files come with the opening. Nothing leads out of the folder (`banyan_runtime::beneath`); hidden names are not there.
//! What a request wants is decided in `wanted`, without a file.

mod kind;
mod wanted;

use std::fs::{File, Metadata};
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use tokio::task::JoinHandle;

use banyan_config::{Coding, StaticFiles};
use banyan_runtime::beneath::Folder;

use crate::exchange::{DownBody, Exchange};
pub(crate) use kind::content_type;
use wanted::{Part, State};

/// Read at once.
const PIECE: u64 = 128 * 1024;

/// What a request asks for, found out before the first wait.
pub(crate) struct Wanted {
    files: StaticFiles,
    /// Below the folder, decoded; with the slash at its end.
    path: String,
    /// As received, for a redirect.
    target: String,
    method: Method,
    headers: HeaderMap,
}

impl Wanted {
    /// `path`: decoded, without what the route matched.
    pub(crate) fn new(files: &StaticFiles, path: &str, head: &Parts) -> Self {
        Self {
            files: files.clone(),
            path: path.to_owned(),
            target: head.uri.to_string(),
            method: head.method.clone(),
            headers: head.headers.clone(),
        }
    }
}

/// What was found on the blocking thread.
enum Found {
    File(Opened),
    /// A folder, asked for without the slash at its end.
    Folder,
    Nothing,
}

struct Opened {
    file: Arc<File>,
    state: State,
    coding: Option<Coding>,
    kind: &'static str,
    status: StatusCode,
    /// All of a small file.
    text: Option<Bytes>,
}

/// The answer, whatever there is.
pub(crate) async fn answer(exchange: Box<Exchange>, wanted: Wanted) -> Response<DownBody> {
    if ![Method::GET, Method::HEAD].contains(&wanted.method) {
        let mut page = exchange.notice(StatusCode::METHOD_NOT_ALLOWED, "files are only read here");
        let allowed = HeaderValue::from_static("GET, HEAD");
        page.headers_mut().insert(header::ALLOW, allowed);
        return exchange.give(page);
    }
    let (files, path) = (wanted.files.clone(), wanted.path.clone());
    let codings = if wanted.headers.contains_key(header::RANGE) {
        // A part of what is stored, not of what it was packed into.
        Vec::new()
    } else {
        wanted::codings(&wanted.headers)
    };
    let page_wanted = accepts_pages(&wanted.headers);
    let looked = banyan_runtime::task::blocking(move || look(&files, &path, &codings, page_wanted));
    match looked.await {
        Ok(Ok(Found::File(opened))) => give(exchange, &wanted, opened),
        Ok(Ok(Found::Folder)) => to_folder(exchange, &wanted),
        Ok(Ok(Found::Nothing)) => {
            let page = exchange.notice(StatusCode::NOT_FOUND, "there is nothing at this address");
            exchange.give(page)
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, dir = %wanted.files.dir.display(), "a file cannot be served");
            broken(exchange)
        }
        Err(_panic) => broken(exchange),
    }
}

fn broken(exchange: Box<Exchange>) -> Response<DownBody> {
    let page = exchange.notice(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read");
    exchange.give(page)
}

fn accepts_pages(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter();
    accepted.any(|value| value.to_str().is_ok_and(|v| v.contains("text/html")))
}

/// On a blocking thread. `page`: the client wants to show something.
fn look(files: &StaticFiles, path: &str, codings: &[Coding], page: bool) -> io::Result<Found> {
    let folder = Folder::open(&files.dir)?;
    let asked = wanted::relative(path);
    if let Some(relative) = &asked {
        let name = if path.is_empty() || path.ends_with('/') {
            relative.join("index.html")
        } else {
            relative.clone()
        };
        match open(&folder, &name, codings, StatusCode::OK)? {
            Found::Nothing => {}
            found => return Ok(found),
        }
    }
    let fallback = files.fallback.as_ref().filter(|_| page);
    let instead = fallback
        .map(|path| (path, StatusCode::OK))
        .or(files.not_found.as_ref().map(|path| (path, StatusCode::NOT_FOUND)));
    match instead.and_then(|(path, status)| Some((wanted::relative(path)?, status))) {
        Some((name, status)) => open(&folder, &name, codings, status),
        None => Ok(Found::Nothing),
    }
}

fn open(folder: &Folder, name: &Path, codings: &[Coding], status: StatusCode) -> io::Result<Found> {
    let Some((file, meta)) = regular(folder, name)? else {
        return Ok(Found::Nothing);
    };
    if meta.is_dir() {
        return Ok(Found::Folder);
    }
    let shown = name.to_string_lossy();
    let kind = content_type(&shown);
    let mut chosen = (file, meta, None);
    for coding in codings {
        let beside = PathBuf::from(format!("{shown}{}", wanted::extension(*coding)));
        if let Some((file, meta)) = regular(folder, &beside)?.filter(|(_, meta)| meta.is_file()) {
            chosen = (file, meta, Some(*coding));
            break;
        }
    }
    let (file, meta, coding) = chosen;
    let text = (meta.len() <= PIECE)
        .then(|| read(&file, 0, meta.len()))
        .transpose()?;
    Ok(Found::File(Opened {
        state: state(&meta, coding),
        file: Arc::new(file),
        coding,
        kind,
        status,
        text,
    }))
}

/// A file or a folder; `None`: there is none that is to be seen.
fn regular(folder: &Folder, name: &Path) -> io::Result<Option<(File, Metadata)>> {
    let name = if name.as_os_str().is_empty() {
        Path::new(".")
    } else {
        name
    };
    let file = match folder.file(name) {
        Ok(file) => file,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::InvalidFilename => Ok(None),
                _ => Err(error),
            };
        }
    };
    let meta = file.metadata()?;
    Ok((meta.is_file() || meta.is_dir()).then_some((file, meta)))
}

fn state(meta: &Metadata, coding: Option<Coding>) -> State {
    let mark = coding.map_or("", wanted::extension).trim_start_matches('.');
    let dash = if mark.is_empty() { "" } else { "-" };
    let (seconds, nanos, length) = (meta.mtime(), meta.mtime_nsec(), meta.len());
    State {
        etag: format!("\"{seconds:x}.{nanos:x}-{length:x}{dash}{mark}\""),
        modified: meta.modified().ok(),
        length,
    }
}

/// Exactly these bytes; a file that became shorter is an error.
fn read(file: &File, from: u64, count: u64) -> io::Result<Bytes> {
    let mut text = vec![0; usize::try_from(count).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut text, from)?;
    Ok(Bytes::from(text))
}

fn to_folder(exchange: Box<Exchange>, wanted: &Wanted) -> Response<DownBody> {
    let (path, query) = match wanted.target.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (wanted.target.as_str(), String::new()),
    };
    let mut response = exchange.notice(StatusCode::MOVED_PERMANENTLY, "this is a folder");
    if let Ok(to) = HeaderValue::from_str(&format!("{path}/{query}")) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    exchange.give(response)
}

fn give(exchange: Box<Exchange>, wanted: &Wanted, opened: Opened) -> Response<DownBody> {
    let part = if opened.status == StatusCode::OK {
        wanted::part(&wanted.headers, &opened.state)
    } else {
        Part::Whole
    };
    let length = opened.state.length;
    let (status, from, to) = match part {
        Part::Whole => (opened.status, 0, length),
        Part::Range(first, last) => (StatusCode::PARTIAL_CONTENT, first, last + 1),
        Part::NotModified => (StatusCode::NOT_MODIFIED, 0, 0),
        Part::Failed => (StatusCode::PRECONDITION_FAILED, 0, 0),
        Part::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let mut head = Response::new(());
    *head.status_mut() = status;
    let headers = head.headers_mut();
    describe(headers, &wanted.files, &opened);
    let range = match part {
        Part::Range(first, last) => Some(format!("bytes {first}-{last}/{length}")),
        Part::Beyond => Some(format!("bytes */{length}")),
        Part::Whole | Part::NotModified | Part::Failed => None,
    };
    if let Some(value) = range.and_then(|range| HeaderValue::try_from(range).ok()) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    let whole = opened.text.filter(|_| from < to);
    let body = match whole
        .and_then(|text| Some(text.slice(usize::try_from(from).ok()?..usize::try_from(to).ok()?)))
    {
        Some(text) => DownBody::page(text),
        None if from == to => DownBody::page(Bytes::new()),
        None => DownBody::file(Pieces {
            file: opened.file,
            from,
            to,
            reading: None,
        }),
    };
    exchange.give_file(head.map(|()| body))
}

fn describe(headers: &mut HeaderMap, files: &StaticFiles, opened: &Opened) {
    let mut set = |name, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, opened.kind);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::VARY, "accept-encoding");
    if let Some(coding) = opened.coding {
        set(header::CONTENT_ENCODING, coding.name());
    }
    if opened.status == StatusCode::OK {
        set(header::ETAG, &opened.state.etag);
        set(header::ACCEPT_RANGES, "bytes");
        set(header::CACHE_CONTROL, &files.cache_control);
        if let Some(modified) = opened.state.modified {
            set(header::LAST_MODIFIED, &httpdate::fmt_http_date(modified));
        }
    } else {
        set(header::CACHE_CONTROL, "no-store");
    }
}

/// A file on its way, piece by piece.
pub(crate) struct Pieces {
    file: Arc<File>,
    from: u64,
    /// Behind the last byte.
    to: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Pieces {
    pub(crate) fn left(&self) -> u64 {
        self.to - self.from
    }

    /// `None`: all of it was given.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.from == self.to {
            return Poll::Ready(None);
        }
        let (file, from, count) = (Arc::clone(&self.file), self.from, PIECE.min(self.left()));
        let reading = self
            .reading
            .get_or_insert_with(|| banyan_runtime::task::blocking(move || read(&file, from, count)));
        let piece = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let piece = piece.unwrap_or_else(|_panic| Err(io::Error::other("reading ended by a bug")));
        self.from = match &piece {
            Ok(text) => self.from + text.len() as u64,
            Err(_) => self.to,
        };
        Poll::Ready(Some(piece))
    }
}
