//! `GET /media/probe.png`: a picture that an edge with pictures switched on makes into WebP when asked to (`?fmt=webp`), and
//! that comes as it is without one. So the page knows, without being told, who makes the sizes that it asks for.

use std::io::Cursor;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use image::{ImageFormat, RgbImage};

use super::serve::describe;

/// Large enough that WebP is smaller.
const SIDE: u32 = 32;

static PROBE: LazyLock<Bytes> = LazyLock::new(|| {
    let slope = |n: u32| u8::try_from(n * 8).unwrap_or(u8::MAX);
    let pixels = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        image::Rgb([slope(x), slope(y), slope((x * y) % SIDE)])
    });
    let mut file = Cursor::new(Vec::new());
    pixels
        .write_to(&mut file, ImageFormat::Png)
        .expect("memory takes what is written to it");
    file.into_inner().into()
});

pub(super) async fn picture() -> Response {
    let mut response = PROBE.clone().into_response();
    describe(response.headers_mut(), "image/png");
    response
}
