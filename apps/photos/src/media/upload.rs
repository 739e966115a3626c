//! `POST /photos`: one file in a multipart form, streamed to disk, then made into a photo.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::multipart::{Field, Multipart, MultipartError, MultipartRejection};
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use serde::Serialize;

use super::darkroom::DevelopError;
use super::sniff::NotAPicture;
use super::store::{FinishError, Incoming, MediaError, Stored};
use super::url_of;
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
    /// Of the largest size.
    url: String,
    width: u32,
    height: u32,
    sizes: Vec<SizeView>,
}

#[derive(Serialize)]
struct SizeView {
    url: String,
    bytes: u64,
    width: u32,
    height: u32,
}

impl From<Stored> for PhotoView {
    fn from(stored: Stored) -> Self {
        let (width, height) = stored.pixels();
        let sizes = stored.sizes.iter().map(|size| SizeView {
            url: format!("/media/{}/{}", stored.blob, size.file),
            bytes: size.bytes,
            width: size.width,
            height: size.height,
        });
        Self {
            url: url_of(&stored.blob),
            sizes: sizes.collect(),
            id: stored.blob,
            width,
            height,
        }
    }
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
    let photo = PhotoView::from(stored);
    Ok((StatusCode::CREATED, Json(PhotoAnswer { photo })))
}

/// The first file of the form; other fields are ignored.
async fn receive(app: &App, mut form: Multipart) -> Result<Stored, ApiError> {
    while let Some(field) = form.next_field().await.map_err(bad_form)? {
        if field.file_name().is_some() || field.name() == Some("photo") {
            let mut incoming = app.media.begin().await.map_err(no_room)?;
            copy(field, &mut incoming).await?;
            return incoming.finish(&app.media, &app.darkroom).await.map_err(refused);
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
        FinishError::Develop(DevelopError::NotAPicture(NotAPicture::Unknown)) => ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "photo",
            NotAPicture::Unknown.to_string(),
        ),
        FinishError::Develop(DevelopError::NotAPicture(problem)) => {
            ApiError::invalid("photo", problem.to_string())
        }
        FinishError::Develop(DevelopError::Unusable(problem)) => {
            ApiError::invalid("photo", problem.to_string())
        }
        FinishError::Develop(error @ DevelopError::NoTurn) => ApiError::Busy(error.to_string()),
        FinishError::Develop(error @ DevelopError::Read(_)) => ApiError::Broken {
            doing: "store a photo",
            cause: error.to_string(),
        },
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
