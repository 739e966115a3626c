//! The page: HTML, style and script modules, all in the program. Everything it shows comes from the API.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

use crate::error::ApiError;
use crate::serve::App;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Nothing from anywhere else, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

struct File {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! scripts {
    ($($name:literal),* $(,)?) => {
        &[$(File { name: $name, content_type: SCRIPT, text: include_str!(concat!("app/", $name)) }),*]
    };
}

const PAGE: File = File {
    name: "index.html",
    content_type: HTML,
    text: include_str!("index.html"),
};
const CSS: File = File {
    name: "app.css",
    content_type: STYLE,
    text: include_str!("app.css"),
};
const ICON: File = File {
    name: "icon.svg",
    content_type: "image/svg+xml",
    text: include_str!("icon.svg"),
};
const SCRIPTS: &[File] = scripts![
    "account.js",
    "api.js",
    "compose.js",
    "dom.js",
    "frame.js",
    "gallery.js",
    "main.js",
    "pictures.js",
    "pieces.js",
    "post.js",
    "profile.js",
    "served.js",
    "theme.js",
    "views.js",
];

/// Of all that the page is made of: they are of one version.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for file in [&PAGE, &CSS, &ICON].into_iter().chain(SCRIPTS) {
        hash.update(file.name);
        hash.update(file.text);
    }
    let digits: String = hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{digits}\"")
});

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(async |request: HeaderMap| answer(&PAGE, &request)))
        .route("/app.css", get(async |request: HeaderMap| answer(&CSS, &request)))
        .route(
            "/icon.svg",
            get(async |request: HeaderMap| answer(&ICON, &request)),
        )
        .route("/app/{script}", get(script))
}

async fn script(Path(name): Path<String>, request: HeaderMap) -> Response {
    match SCRIPTS.iter().find(|script| script.name == name) {
        Some(file) => answer(file, &request),
        None => ApiError::not_found("path").into_response(),
    }
}

/// Asked for each time, and answered in a few bytes: after a deploy, page and scripts must be of one version.
fn answer(file: &File, request: &HeaderMap) -> Response {
    let headers = [
        (CONTENT_TYPE, file.content_type),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
        (ETAG, TAG.as_str()),
    ];
    let known = request
        .get(IF_NONE_MATCH)
        .is_some_and(|tag| tag.as_bytes() == TAG.as_bytes());
    match known {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, file.text).into_response(),
    }
}
