//! The page: HTML, style and script modules, all in the program. Everything it shows comes from the API.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Path, RawQuery};
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

/// Of all that the page is made of.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for file in [&PAGE, &CSS, &ICON].into_iter().chain(SCRIPTS) {
        hash.update(file.name);
        hash.update(file.text);
    }
    hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
});

static TAG: LazyLock<String> = LazyLock::new(|| format!("\"{}\"", *VERSION));

/// The page names its parts by their version: what a browser has of another one is not used.
static PAGE_TEXT: LazyLock<String> = LazyLock::new(|| {
    let parts = [
        ("/app/", format!("/app/{}/", *VERSION)),
        ("/app.css", format!("/app.css?{}", *VERSION)),
    ];
    parts
        .iter()
        .fold(PAGE.text.to_owned(), |text, (from, to)| text.replace(from, to))
});

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(
            "/",
            get(async |request: HeaderMap| answer(&PAGE, &request, Keep::Ask)),
        )
        .route("/app.css", get(style))
        .route(
            "/icon.svg",
            get(async |request: HeaderMap| answer(&ICON, &request, Keep::Ask)),
        )
        .route("/app/{version}/{script}", get(script))
}

async fn style(RawQuery(version): RawQuery, request: HeaderMap) -> Response {
    answer(&CSS, &request, Keep::of(version.as_deref()))
}

/// Modules name each other by relative addresses, so all of them are of the page's version.
async fn script(Path((version, name)): Path<(String, String)>, request: HeaderMap) -> Response {
    match SCRIPTS.iter().find(|script| script.name == name) {
        Some(file) => answer(file, &request, Keep::of(Some(&version))),
        None => ApiError::not_found("path").into_response(),
    }
}

/// How long a browser, and every cache before it, may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// Asked for each time, and answered in a few bytes.
    Ask,
    /// Its address is of this content alone.
    Ever,
    /// A page of another version asks, as happens during a deploy: it gets what there is, and nobody keeps it.
    Never,
}

impl Keep {
    fn of(version: Option<&str>) -> Self {
        match version {
            None => Self::Ask,
            Some(version) if version == *VERSION => Self::Ever,
            Some(_) => Self::Never,
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::Ask => "no-cache",
            Self::Ever => "public, max-age=31536000, immutable",
            Self::Never => "no-store",
        }
    }
}

fn answer(file: &File, request: &HeaderMap, keep: Keep) -> Response {
    let headers = [
        (CONTENT_TYPE, file.content_type),
        (CACHE_CONTROL, keep.header()),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
        (ETAG, TAG.as_str()),
    ];
    let known = request
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == TAG.as_bytes());
    if known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let text = if file.name == PAGE.name {
        PAGE_TEXT.as_str()
    } else {
        file.text
    };
    (headers, text).into_response()
}
