//! What a file is, from its bytes: JPEG, PNG, WebP or GIF, whole, with its size in pixels.
//!
//! Checks structure (every block within the file, an end where one belongs), not pixels: decoding and making smaller
//! variants is work for a queue.

/// A bomb is refused by its header, before anyone decodes it.
const PIXEL_LIMIT: u64 = 50_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) format: Format,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAPicture {
    #[error("is not a JPEG, PNG, WebP or GIF picture")]
    Unknown,
    #[error("is damaged or incomplete")]
    Damaged,
    #[error("has more than {} million pixels", PIXEL_LIMIT / 1_000_000)]
    TooManyPixels,
}

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
        }
    }

    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        [Self::Jpeg, Self::Png, Self::WebP, Self::Gif]
            .into_iter()
            .find(|format| format.extension() == extension)
    }
}

pub(crate) fn picture(bytes: &[u8]) -> Result<Picture, NotAPicture> {
    let (format, size) = if bytes.starts_with(b"\xff\xd8\xff") {
        (Format::Jpeg, jpeg(bytes))
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        (Format::Png, png(bytes))
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        (Format::WebP, webp(bytes))
    } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        (Format::Gif, gif(bytes))
    } else {
        return Err(NotAPicture::Unknown);
    };
    let (width, height) = size
        .filter(|(width, height)| *width > 0 && *height > 0)
        .ok_or(NotAPicture::Damaged)?;
    if u64::from(width) * u64::from(height) > PIXEL_LIMIT {
        return Err(NotAPicture::TooManyPixels);
    }
    Ok(Picture {
        format,
        width,
        height,
    })
}

/// Segments up to the scan; the frame header among them; the end marker after it.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    let mut size = None;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        let marker = *bytes.get(at + 1)?;
        match marker {
            0xff => at += 1,
            0x01 | 0xd0..=0xd7 => at += 2,
            0x00 | 0xd8 | 0xd9 => return None,
            _ => {
                let length = usize::from(be16(bytes, at + 2)?);
                let end = at + 2 + length;
                if length < 2 || end > bytes.len() {
                    return None;
                }
                if matches!(marker, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf) {
                    let height = u32::from(be16(bytes, at + 5)?);
                    size = Some((u32::from(be16(bytes, at + 7)?), height));
                }
                if marker == 0xda {
                    // Some cameras append data after the end marker.
                    let ends = bytes.get(end..)?.windows(2).any(|pair| pair == b"\xff\xd9");
                    return size.filter(|_| ends);
                }
                at = end;
            }
        }
    }
}

/// Chunks with their checksums, IHDR first, some IDAT, IEND last.
fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 8;
    let mut size = None;
    let mut data = false;
    loop {
        let length = usize::try_from(be32(bytes, at)?).ok()?;
        let end = at.checked_add(8)?.checked_add(length)?;
        let kind = bytes.get(at + 4..at + 8)?;
        if be32(bytes, end)? != crc32(bytes.get(at + 4..end)?) {
            return None;
        }
        match (kind, size) {
            (b"IHDR", None) if length == 13 => size = Some((be32(bytes, at + 8)?, be32(bytes, at + 12)?)),
            (_, None) => return None,
            (b"IDAT", _) => data = true,
            (b"IEND", _) => return size.filter(|_| data),
            _ => {}
        }
        at = end + 4;
    }
}

/// The RIFF length must be the file's; the first chunk says the size in one of three forms.
fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    let riff = usize::try_from(le32(bytes, 4)?).ok()?;
    let chunk = usize::try_from(le32(bytes, 16)?).ok()?;
    if riff.checked_add(8)? > bytes.len() || chunk.checked_add(12)? > riff {
        return None;
    }
    let data = bytes.get(20..)?;
    match bytes.get(12..16)? {
        b"VP8 " if data.get(3..6)? == b"\x9d\x01\x2a" => {
            let side = |at| {
                Some(u32::from(
                    u16::from_le_bytes([*data.get(at)?, *data.get(at + 1)?]) & 0x3fff,
                ))
            };
            Some((side(6)?, side(8)?))
        }
        b"VP8L" if *data.first()? == 0x2f => {
            let bits = le32(data, 1)?;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8X" => {
            let side = |at| {
                Some(u32::from_le_bytes([*data.get(at)?, *data.get(at + 1)?, *data.get(at + 2)?, 0]) + 1)
            };
            Some((side(4)?, side(7)?))
        }
        _ => None,
    }
}

/// Blocks up to the trailer, at least one of them a picture.
fn gif(bytes: &[u8]) -> Option<(u32, u32)> {
    let side = |at| {
        Some(u32::from(u16::from_le_bytes([
            *bytes.get(at)?,
            *bytes.get(at + 1)?,
        ])))
    };
    let size = (side(6)?, side(8)?);
    let table = |flags: u8| {
        if flags & 0x80 == 0 {
            0
        } else {
            3 << ((flags & 7) + 1)
        }
    };
    let mut at = 13 + table(*bytes.get(10)?);
    let mut frames = 0;
    loop {
        match *bytes.get(at)? {
            0x21 => at = after_blocks(bytes, at + 2)?,
            0x2c => {
                let data = at + 10 + table(*bytes.get(at + 9)?) + 1;
                at = after_blocks(bytes, data)?;
                frames += 1;
            }
            0x3b => return (frames > 0).then_some(size),
            _ => return None,
        }
    }
}

/// GIF's data comes in blocks with their length before them; an empty one is the last.
fn after_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    be32(bytes, at).map(u32::swap_bytes)
}

/// PNG's checksum (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let mut c = n as u32;
            let mut bit = 0;
            while bit < 8 {
                c = if c & 1 == 1 {
                    0xedb8_8320 ^ (c >> 1)
                } else {
                    c >> 1
                };
                bit += 1;
            }
            table[n] = c;
            n += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        TABLE[index as usize] ^ (crc >> 8)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A whole PNG of one chunk of data (which no decoder would like).
    pub(crate) fn png_of(width: u32, height: u32) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut chunk = |kind: &[u8], data: &[u8]| {
            file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
            let body = [kind, data].concat();
            file.extend(&body);
            file.extend(crc32(&body).to_be_bytes());
        };
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        chunk(b"IHDR", &[&sides[..], &[8, 2, 0, 0, 0]].concat());
        chunk(b"IDAT", &[1, 2, 3]);
        chunk(b"IEND", &[]);
        file
    }

    fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
        let mut file = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08".to_vec();
        file.extend(height.to_be_bytes());
        file.extend(width.to_be_bytes());
        file.extend(b"\x01\x11\x00\x00\xff\xda\x00\x02data\xff\xd9");
        file
    }

    fn gif_of(width: u8, height: u8) -> Vec<u8> {
        let mut file = b"GIF89a".to_vec();
        file.extend([width, 0, height, 0, 0x80, 0, 0, 1, 2, 3, 4, 5, 6]);
        file.extend(b"\x21\xf9\x04\x00\x00\x00\x00\x00");
        file.extend(b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x4c\x01\x00\x3b");
        file
    }

    fn webp_of(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap();
        [
            b"RIFF",
            &(length + 12).to_le_bytes()[..],
            b"WEBP",
            kind,
            &length.to_le_bytes(),
            data,
        ]
        .concat()
    }

    fn all() -> Vec<(Vec<u8>, Picture)> {
        let picture = |format| Picture {
            format,
            width: 3,
            height: 2,
        };
        vec![
            (png_of(3, 2), picture(Format::Png)),
            (jpeg_of(3, 2), picture(Format::Jpeg)),
            (gif_of(3, 2), picture(Format::Gif)),
            (
                webp_of(b"VP8 ", b"\0\0\0\x9d\x01\x2a\x03\0\x02\0"),
                picture(Format::WebP),
            ),
            (webp_of(b"VP8L", b"\x2f\x02\x40\0\0\0"), picture(Format::WebP)),
            (
                webp_of(b"VP8X", b"\0\0\0\0\x02\0\0\x01\0\0"),
                picture(Format::WebP),
            ),
        ]
    }

    #[test]
    fn each_format_is_known_by_its_bytes() {
        for (bytes, wanted) in all() {
            assert_eq!(picture(&bytes), Ok(wanted));
        }
    }

    #[test]
    fn every_cut_file_is_refused() {
        for (bytes, wanted) in all() {
            for length in 0..bytes.len() {
                assert!(picture(&bytes[..length]).is_err(), "{wanted:?} cut at {length}");
            }
        }
    }

    #[test]
    fn what_only_pretends_is_refused() {
        for lie in [
            &b""[..],
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"<!doctype html>",
            b"%PDF",
            b"RIFF\x04\0\0\0WAVE",
        ] {
            assert_eq!(picture(lie), Err(NotAPicture::Unknown));
        }
        let mut flipped = png_of(3, 2);
        flipped[20] ^= 1;
        assert_eq!(picture(&flipped), Err(NotAPicture::Damaged));
        assert_eq!(picture(&png_of(0, 2)), Err(NotAPicture::Damaged));
        assert_eq!(picture(&png_of(50_000, 50_000)), Err(NotAPicture::TooManyPixels));
    }

    #[test]
    fn any_bytes_are_answered_without_panic() {
        // Deterministic noise behind each signature.
        let mut state = 7_u64;
        for (bytes, _) in all() {
            for _ in 0..2_000 {
                let mut noisy = bytes.clone();
                for _ in 0..4 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = usize::try_from(state >> 33).unwrap() % noisy.len();
                    noisy[at] = (state >> 20).to_le_bytes()[0];
                }
                picture(&noisy).ok();
            }
        }
    }
}
