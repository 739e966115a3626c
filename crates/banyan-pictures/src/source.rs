//! What a file is, by its first bytes: format, size, whether it moves. Judged before anything is decoded.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use image::ImageFormat;

use crate::make::Failure;
use crate::recipe::may_transform;

/// Scans of a JPEG: each is a pass over all pixels, and costs its sender a few bytes.
const MOST_SCANS: usize = 100;

/// Whether an answer is a picture that may be made into another one, by its head.
pub fn is_picture(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    let known = ["image/jpeg", "image/png", "image/webp"];
    known.iter().any(|one| kind.trim().eq_ignore_ascii_case(one))
        && !headers.contains_key(CONTENT_ENCODING)
        && may_transform(headers)
}

/// By its own bytes, whatever it was called.
pub(crate) fn format(bytes: &[u8]) -> Result<ImageFormat, Failure> {
    let format = match bytes {
        [0xFF, 0xD8, 0xFF, ..] => ImageFormat::Jpeg,
        [0x89, b'P', b'N', b'G', ..] => ImageFormat::Png,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ImageFormat::WebP,
        _ => return Err(Failure::Unknown),
    };
    if moves(bytes, format) {
        return Err(Failure::Moves);
    }
    if format == ImageFormat::Jpeg && scans(bytes) > MOST_SCANS {
        return Err(Failure::TooMuch);
    }
    Ok(format)
}

/// `acTL` stands before the first picture data of an APNG; the second bit of the flags is that of a WebP.
fn moves(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Png => {
            let data = bytes.windows(4).position(|four| four == b"IDAT");
            let head = &bytes[..data.unwrap_or(bytes.len())];
            head.windows(4).any(|four| four == b"acTL")
        }
        ImageFormat::WebP => {
            bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 0b10 != 0)
        }
        _ => false,
    }
}

/// Starts of scans; in entropy-coded data FF is followed by 00, so these are all that there can be.
fn scans(bytes: &[u8]) -> usize {
    bytes.windows(2).filter(|two| *two == [0xFF, 0xDA]).count()
}
