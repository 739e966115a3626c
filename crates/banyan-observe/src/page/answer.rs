//! One request: who asks, for what, and the answer. Nothing here changes anything.

use banyan_runtime::{Clock, task, token};
use banyan_telemetry::families::Format;
use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
    SET_COOKIE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use serde::Serialize;

use super::live::{self, Events};
use super::login::{self, Verdict, query};
use super::{history, web};
use crate::alert::Book;
use crate::control::Parts;
use crate::look;
use crate::traces::{api, store};

/// Changes of alerts that are shown.
const HISTORY: usize = 100;

pub(super) type Answer = Response<Either<Full<Bytes>, Events>>;

pub(super) async fn answer(parts: &Parts, request: &Request<Incoming>) -> Answer {
    let (listen, token_file) = {
        let snapshot = parts.snapshot.borrow();
        (snapshot.listen, snapshot.token_file.clone())
    };
    let expected = match token::read(&token_file) {
        Ok(expected) => expected,
        Err(error) => {
            tracing::error!(%error, path = %token_file.display(), "the token of the dashboard cannot be used");
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the token cannot be read; the log of observe says why\n",
            );
        }
    };
    match login::judge(request.headers(), request.uri(), listen.port(), &expected) {
        Verdict::In => within(parts, request).await,
        Verdict::WithLink { cookie } => {
            let mut response = text(StatusCode::SEE_OTHER, "");
            let to = HeaderValue::from_str(request.uri().path());
            let to = to.unwrap_or(HeaderValue::from_static("/"));
            response.headers_mut().insert(LOCATION, to);
            response.headers_mut().insert(SET_COOKIE, cookie);
            response
        }
        Verdict::ForeignHost => text(StatusCode::FORBIDDEN, "Host must be an address or localhost\n"),
        Verdict::Unknown => text(
            StatusCode::UNAUTHORIZED,
            "`banyan dashboard` prints the link that lets you in\n",
        ),
    }
}

async fn within(parts: &Parts, request: &Request<Incoming>) -> Answer {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
    }
    match request.uri().path() {
        "/" => page(),
        "/metrics" => metrics(parts, request.headers()).await,
        "/api/view" => match parts.view().await {
            Some(view) => json(&*view),
            None => text(StatusCode::SERVICE_UNAVAILABLE, "there are no figures yet\n"),
        },
        "/api/live" => live::events(parts),
        "/api/history" => {
            let asked = query(request.uri(), "minutes").and_then(|minutes| minutes.parse().ok());
            let marks = look::marks(parts).await;
            json(&history::history(&parts.keeper, asked.unwrap_or(60), Clock.unix_ms(), marks).await)
        }
        "/api/alerts" => alerts(parts).await,
        path if path.starts_with("/api/trace") => traced(parts, request.uri()).await,
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /, /metrics, /api/view, /api/live, /api/history, /api/alerts and /api/traces\n",
        ),
    }
}

/// What fires, what has, and what is silenced.
async fn alerts(parts: &Parts) -> Answer {
    let state_dir = parts.places.state_dir.clone();
    let read = task::blocking(move || Book::at(&state_dir).shown(HISTORY)).await;
    match read.ok().and_then(Result::ok) {
        Some(shown) => json(&shown),
        None => text(StatusCode::SERVICE_UNAVAILABLE, "alerts cannot be read\n"),
    }
}

/// A list of traces, or one.
async fn traced(parts: &Parts, uri: &http::Uri) -> Answer {
    let folder = store::folder(&parts.places.state_dir);
    let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default().to_owned());
    let found = banyan_runtime::task::blocking(move || api::answer(&folder, &path, &query)).await;
    match found {
        Ok(Ok(Some(json))) => of(StatusCode::OK, "application/json", json.to_string()),
        Ok(Ok(None)) => text(StatusCode::NOT_FOUND, "there is no such trace\n"),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "a bug; the log says where\n"),
    }
}

/// Of the whole system.
async fn metrics(parts: &Parts, headers: &HeaderMap) -> Answer {
    let page = parts.places.page(&parts.keeper.held().await).await;
    let accepted = headers.get_all(ACCEPT).iter();
    let format = Format::of_accept(accepted.filter_map(|value| value.to_str().ok()));
    let text = page.render_with(format, &parts.places.exemplars.borrow());
    of(StatusCode::OK, format.media_type(), text)
}

fn page() -> Answer {
    let mut response = of(StatusCode::OK, "text/html; charset=utf-8", web::PAGE.to_owned());
    let policy = HeaderValue::from_static(web::POLICY);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response
}

fn json<T: Serialize>(value: &T) -> Answer {
    match serde_json::to_string(value) {
        Ok(text) => of(StatusCode::OK, "application/json", text),
        Err(_no_text) => text(StatusCode::INTERNAL_SERVER_ERROR, "it has no text form\n"),
    }
}

fn text(status: StatusCode, text: &str) -> Answer {
    of(status, "text/plain; charset=utf-8", text.to_owned())
}

fn of(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
