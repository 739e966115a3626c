//! One request: who asks, for what, and the answer. Nothing here changes anything.

use banyan_runtime::token;
use banyan_telemetry::families::Format;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::login::{self, Verdict};
use crate::control::Parts;

type Answer = Response<Full<Bytes>>;

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
        "/metrics" => metrics(parts, request.headers()).await,
        _ => text(StatusCode::NOT_FOUND, "there is /metrics\n"),
    }
}

/// Of the whole system.
async fn metrics(parts: &Parts, headers: &HeaderMap) -> Answer {
    let page = parts.places.page(&parts.keeper.held().await).await;
    let mut accepted = headers.get_all(ACCEPT).iter();
    let open = accepted.any(|value| {
        value
            .to_str()
            .is_ok_and(|v| v.contains("application/openmetrics-text"))
    });
    let (format, kind) = if open {
        (
            Format::OpenMetrics,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )
    } else {
        (Format::Prometheus, "text/plain; version=0.0.4; charset=utf-8")
    };
    of(StatusCode::OK, kind, page.render(format))
}

fn text(status: StatusCode, text: &str) -> Answer {
    of(status, "text/plain; charset=utf-8", text.to_owned())
}

fn of(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
