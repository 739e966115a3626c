//! What a file is, from its bytes: JPEG, PNG or WebP, whole, with its size in pixels.
//!
//! Checks structure (every block within the file, an end where one belongs) and arithmetic (as many bytes as the pixels need
//! at the least), before anyone decodes: a bomb or a lie costs a pass over its bytes.

/// By its header.
const PIXEL_LIMIT: u64 = 50_000_000;
/// Each scan of a progressive JPEG is a pass over the pixels: cameras and editors make some 10.
const PASS_LIMIT: u64 = 600_000_000;
/// A block of 8 by 8 takes a bit of Huffman code at the least.
const JPEG_PIXELS_PER_BYTE: u64 = 8 * 64;
/// Deflate's best: 258 bytes out of two bits.
const DEFLATE_RATIO: u64 = 1032;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    WebP,
    /// Taken by earlier versions of the app: still served.
    Gif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) format: Format,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// JPEG's scans; 1 for others.
    pub(crate) passes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAPicture {
    #[error("is not a JPEG, PNG or WebP picture")]
    Unknown,
    #[error("is damaged or incomplete")]
    Damaged,
    #[error("has more than {} million pixels", PIXEL_LIMIT / 1_000_000)]
    TooManyPixels,
    #[error("takes too much work to decode")]
    TooMuchWork,
    #[error("moves: only still pictures are taken")]
    Moves,
}

/// What a format's blocks say.
struct Found {
    width: u32,
    height: u32,
    passes: u32,
    moves: bool,
    /// Pixels that so few bytes can hold.
    most_pixels: u64,
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

    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "jpg" => Some(Self::Jpeg),
            "png" => Some(Self::Png),
            "webp" => Some(Self::WebP),
            "gif" => Some(Self::Gif),
            _ => None,
        }
    }
}

pub(crate) fn picture(bytes: &[u8]) -> Result<Picture, NotAPicture> {
    let (format, found) = if bytes.starts_with(b"\xff\xd8\xff") {
        (Format::Jpeg, jpeg(bytes))
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        (Format::Png, png(bytes))
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        (Format::WebP, webp(bytes))
    } else {
        return Err(NotAPicture::Unknown);
    };
    let found = found
        .filter(|found| found.width > 0 && found.height > 0)
        .ok_or(NotAPicture::Damaged)?;
    let pixels = u64::from(found.width) * u64::from(found.height);
    if pixels > PIXEL_LIMIT {
        return Err(NotAPicture::TooManyPixels);
    }
    if pixels * u64::from(found.passes) > PASS_LIMIT {
        return Err(NotAPicture::TooMuchWork);
    }
    if pixels > found.most_pixels {
        return Err(NotAPicture::Damaged);
    }
    if found.moves {
        return Err(NotAPicture::Moves);
    }
    Ok(Picture {
        format,
        width: found.width,
        height: found.height,
        passes: found.passes,
    })
}

/// Segments up to the first scan; one frame header among them; the end marker after it.
fn jpeg(bytes: &[u8]) -> Option<Found> {
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
                    if size.is_some() {
                        return None;
                    }
                    let height = u32::from(be16(bytes, at + 5)?);
                    size = Some((u32::from(be16(bytes, at + 7)?), height));
                }
                if marker == 0xda {
                    let (width, height) = size?;
                    return scans(bytes, at).map(|passes| Found {
                        width,
                        height,
                        passes,
                        moves: false,
                        most_pixels: ((bytes.len() - end) as u64).saturating_mul(JPEG_PIXELS_PER_BYTE),
                    });
                }
                at = end;
            }
        }
    }
}

/// From the first scan to the end marker; some cameras append data after it. Within coded data FF is followed by 00, so what
/// looks like a scan is one, or costs nothing to count.
fn scans(bytes: &[u8], first: usize) -> Option<u32> {
    let mut scans = 0;
    for pair in bytes.get(first..)?.windows(2) {
        match pair {
            [0xff, 0xda] => scans += 1,
            [0xff, 0xd9] => return Some(scans),
            _ => {}
        }
    }
    None
}

/// Chunks with their checksums, IHDR first, some IDAT, IEND last.
fn png(bytes: &[u8]) -> Option<Found> {
    let mut at = 8;
    let mut header = None;
    let mut data = 0_u64;
    let mut moves = false;
    loop {
        let length = usize::try_from(be32(bytes, at)?).ok()?;
        let end = at.checked_add(8)?.checked_add(length)?;
        let kind = bytes.get(at + 4..at + 8)?;
        if be32(bytes, end)? != crc32(bytes.get(at + 4..end)?) {
            return None;
        }
        match (kind, header) {
            (b"IHDR", None) if length == 13 => {
                header = Some((
                    be32(bytes, at + 8)?,
                    be32(bytes, at + 12)?,
                    *bytes.get(at + 16)?,
                    *bytes.get(at + 17)?,
                ));
            }
            (_, None) => return None,
            (b"IDAT", _) => data += length as u64,
            (b"acTL", _) => moves = true,
            (b"IEND", Some((width, height, depth, colour))) => {
                let bits = u64::from(depth) * channels(colour)?;
                return (data > 0 && bits > 0).then_some(Found {
                    width,
                    height,
                    passes: 1,
                    moves,
                    most_pixels: data.saturating_mul(DEFLATE_RATIO * 8) / bits,
                });
            }
            _ => {}
        }
        at = end + 4;
    }
}

fn channels(colour: u8) -> Option<u64> {
    match colour {
        0 | 3 => Some(1),
        4 => Some(2),
        2 => Some(3),
        6 => Some(4),
        _ => None,
    }
}

/// The RIFF length must be the file's; the first chunk says the size in one of three forms.
fn webp(bytes: &[u8]) -> Option<Found> {
    let riff = usize::try_from(le32(bytes, 4)?).ok()?;
    let chunk = usize::try_from(le32(bytes, 16)?).ok()?;
    if riff.checked_add(8)? > bytes.len() || chunk.checked_add(12)? > riff {
        return None;
    }
    let data = bytes.get(20..)?;
    let (width, height) = match bytes.get(12..16)? {
        b"VP8 " if data.get(3..6)? == b"\x9d\x01\x2a" => {
            let side = |at| {
                Some(u32::from(
                    u16::from_le_bytes([*data.get(at)?, *data.get(at + 1)?]) & 0x3fff,
                ))
            };
            (side(6)?, side(8)?)
        }
        b"VP8L" if *data.first()? == 0x2f => {
            let bits = le32(data, 1)?;
            ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
        }
        b"VP8X" => {
            let side = |at| {
                Some(u32::from_le_bytes([*data.get(at)?, *data.get(at + 1)?, *data.get(at + 2)?, 0]) + 1)
            };
            (side(4)?, side(7)?)
        }
        _ => return None,
    };
    Some(Found {
        width,
        height,
        passes: 1,
        moves: bytes.get(12..16)? == b"VP8X" && *data.first()? & 0b10 != 0,
        // A single colour takes no bits at all.
        most_pixels: u64::MAX,
    })
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
        png_with(width, height, [8, 2], &[1, 2, 3])
    }

    pub(crate) fn png_with(width: u32, height: u32, [depth, colour]: [u8; 2], data: &[u8]) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut chunk = |kind: &[u8], data: &[u8]| {
            file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
            let body = [kind, data].concat();
            file.extend(&body);
            file.extend(crc32(&body).to_be_bytes());
        };
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        chunk(b"IHDR", &[&sides[..], &[depth, colour, 0, 0, 0]].concat());
        chunk(b"IDAT", data);
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
            passes: 1,
        };
        vec![
            (png_of(3, 2), picture(Format::Png)),
            (jpeg_of(3, 2), picture(Format::Jpeg)),
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
            b"GIF89a\x01\0\x01\0\x80\0\0",
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
    fn fewer_bytes_than_the_pixels_need_are_a_lie() {
        assert_eq!(picture(&png_of(5_000, 5_000)), Err(NotAPicture::Damaged));
        assert_eq!(picture(&jpeg_of(5_000, 5_000)), Err(NotAPicture::Damaged));
    }

    #[test]
    fn scan_upon_scan_is_too_much_work() {
        let few = jpeg_of(3_000, 2_000);
        let scan = b"\xff\xda\x00\x02data";
        let end = few.len() - 2;
        let many = [&few[..end], &scan.repeat(2_000)[..], b"\xff\xd9"].concat();
        assert_eq!(picture(&many), Err(NotAPicture::TooMuchWork));
    }

    #[test]
    fn two_sizes_in_one_jpeg_are_a_lie() {
        let one = jpeg_of(3, 2);
        let frame = one.windows(2).position(|pair| pair == b"\xff\xc0").unwrap();
        let two = [&one[..frame], &one[frame..frame + 13], &one[frame..]].concat();
        assert_eq!(picture(&two), Err(NotAPicture::Damaged));
    }

    #[test]
    fn what_moves_is_refused() {
        let webp = webp_of(b"VP8X", b"\x02\0\0\0\x02\0\0\x01\0\0");
        assert_eq!(picture(&webp), Err(NotAPicture::Moves));
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
