//! `POST /photos`: one file in a multipart form, streamed to disk.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::multipart::{Field, Multipart, MultipartError, MultipartRejection};
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use serde::Serialize;

use super::sniff::NotAPicture;
use super::store::{FinishError, Incoming, MediaError, Stored};
use crate::auth::Viewer;
use crate::error::ApiError;
use crate::serve::App;
use crate::store::uploads;

const FILE_LIMIT: u64 = 10 * 1024 * 1024;
/// The form around the file included.
pub(super) const BODY_LIMIT: usize = 10 * 1024 * 1024 + 64 * 1024;
const UPLOAD_LIMIT: Duration = Duration::from_secs(120);

#[derive(Serialize)]
pub(super) struct PhotoAnswer {
    photo: PhotoView,
}

#[derive(Serialize)]
struct PhotoView {
    /// For `article.photo`.
    id: String,
    url: String,
    #[serde(rename = "type")]
    content_type: &'static str,
    bytes: u64,
    width: u32,
    height: u32,
}

pub(super) async fn take(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    request: Request,
) -> Result<(StatusCode, Json<PhotoAnswer>), ApiError> {
    let form = Multipart::from_request(request, &app)
        .await
        .map_err(|rejection: MultipartRejection| {
            ApiError::new(rejection.status(), "photo", rejection.body_text())
        })?;
    let stored = tokio::time::timeout(UPLOAD_LIMIT, receive(&app, form))
        .await
        .map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "photo", "took too long to arrive"))??;
    uploads::insert(&app.pool, viewer.id(), &stored).await?;
    let photo = PhotoView {
        url: format!("/media/{}", stored.blob),
        id: stored.blob,
        content_type: stored.picture.format.content_type(),
        bytes: stored.bytes,
        width: stored.picture.width,
        height: stored.picture.height,
    };
    Ok((StatusCode::CREATED, Json(PhotoAnswer { photo })))
}

/// The first file of the form; other fields are ignored.
async fn receive(app: &App, mut form: Multipart) -> Result<Stored, ApiError> {
    while let Some(field) = form.next_field().await.map_err(bad_form)? {
        if field.file_name().is_some() || field.name() == Some("photo") {
            let mut incoming = app.media.begin().await.map_err(no_room)?;
            copy(field, &mut incoming).await?;
            return incoming.finish(&app.media).await.map_err(refused);
        }
    }
    Err(ApiError::invalid("photo", "is missing"))
}

async fn copy(mut field: Field<'_>, incoming: &mut Incoming) -> Result<(), ApiError> {
    while let Some(chunk) = field.chunk().await.map_err(bad_form)? {
        if incoming.bytes() + chunk.len() as u64 > FILE_LIMIT {
            let limit = FILE_LIMIT / 1024 / 1024;
            let problem = format!("is larger than {limit} MiB");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "photo", problem));
        }
        incoming.write(&chunk).await.map_err(no_room)?;
    }
    Ok(())
}

fn bad_form(error: MultipartError) -> ApiError {
    ApiError::new(error.status(), "photo", error.body_text())
}

fn refused(error: FinishError) -> ApiError {
    match error {
        FinishError::NotAPicture(NotAPicture::Unknown) => ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "photo",
            NotAPicture::Unknown.to_string(),
        ),
        FinishError::NotAPicture(problem) => ApiError::invalid("photo", problem.to_string()),
        FinishError::Media(error) => no_room(error),
    }
}

fn no_room(error: MediaError) -> ApiError {
    match error.source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            tracing::error!(%error, "no room for photos");
            ApiError::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "photo",
                "cannot be stored: the disk is full",
            )
        }
        _ => ApiError::Broken {
            doing: "store a photo",
            cause: error.to_string(),
        },
    }
}
