//! `GET /media/{blob}/{size}.webp`: the bytes of a photo, which never change under their name.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::sniff::Format;
use crate::api::PathOf;
use crate::error::ApiError;
use crate::serve::App;

const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const CHUNK: usize = 64 * 1024;

pub(super) async fn photo(
    State(app): State<Arc<App>>,
    PathOf((blob, size)): PathOf<(String, String)>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let path = app.media.path_of(&blob, &size);
    let path = path.ok_or_else(|| ApiError::not_found("photo"))?;
    let tag = format!("\"{blob}-{size}\"");
    answer(&path, Format::WebP, &tag, &request).await
}

/// What earlier versions of the app kept.
pub(super) async fn upload(
    State(app): State<Arc<App>>,
    PathOf(name): PathOf<String>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let found = app.media.path_of_upload(&name);
    let (path, format) = found.ok_or_else(|| ApiError::not_found("photo"))?;
    answer(&path, format, &format!("\"{name}\""), &request).await
}

async fn answer(path: &Path, format: Format, tag: &str, request: &HeaderMap) -> Result<Response, ApiError> {
    let (file, bytes) = match open(path).await {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ApiError::not_found("photo")),
        Err(error) => {
            return Err(ApiError::Broken {
                doing: "open a photo",
                cause: error.to_string(),
            });
        }
    };
    let known = request
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut whole = Body::from_stream(ReaderStream::with_capacity(file, CHUNK)).into_response();
        whole.headers_mut().insert(header::CONTENT_LENGTH, bytes.into());
        whole
    };
    let headers = response.headers_mut();
    describe(headers, format.content_type());
    // The tag is made of hexadecimal digits and the name of a size.
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

async fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path).await?;
    let bytes = file.metadata().await?.len();
    Ok((file, bytes))
}

/// A browser must take it for a picture and nothing else, whatever it holds.
pub(super) fn describe(headers: &mut HeaderMap, content_type: &'static str) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, FOREVER);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    );
}
