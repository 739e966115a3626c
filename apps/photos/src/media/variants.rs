//! What is made of an upload: WebP pictures in four sizes, upright, of pixels only. EXIF with its places, comments,
//! thumbnails and colour profiles are left behind.
//!
//! Bounds: the header has been judged (`sniff`), decoders may allocate 200 MiB, and the thread's processor time is looked at
//! between steps and while a file is read.

use std::io::{BufRead, Cursor, Read, Result as IoResult, Seek, SeekFrom};
use std::time::Duration;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, RgbaImage};
use rustix::time::{ClockId, clock_gettime};

use super::sniff::{Format, Picture};

const DECODER_BYTES: u64 = 200 << 20;
const QUALITY: f32 = 80.0;
/// Of the longer side; larger screens are rare, larger files are not.
const FULL: u32 = 2_560;
const THUMB: u32 = 150;
/// A reader hands out no more at once, so that time is looked at now and then.
const PORTION: usize = 16 * 1024;

/// In the order in which they are made.
pub(super) const SIZES: [Size; 4] = [Size::Full, Size::Large, Size::Small, Size::Thumb];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// As it was sent, at most [`FULL`] on its longer side.
    Full,
    /// 1080 wide, or as wide as it is.
    Large,
    /// 320 wide, or as wide as it is.
    Small,
    /// 150 by 150 of its middle.
    Thumb,
}

impl Size {
    /// In its address, and of its file.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Full => "full.webp",
            Self::Large => "1080.webp",
            Self::Small => "320.webp",
            Self::Thumb => "150.webp",
        }
    }

    pub(super) fn of_file(file: &str) -> Option<Self> {
        SIZES.into_iter().find(|size| size.file() == file)
    }

    fn of(self, (width, height): (u32, u32)) -> (u32, u32) {
        match self {
            Self::Full => within(width, height, FULL.min(width.max(height)), width.max(height)),
            Self::Large => within(width, height, 1_080.min(width), width),
            Self::Small => within(width, height, 320.min(width), width),
            Self::Thumb => (THUMB, THUMB),
        }
    }
}

/// Both sides by the same ratio, at least a pixel each.
fn within(width: u32, height: u32, to: u32, of: u32) -> (u32, u32) {
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(to) / u64::from(of.max(1));
        u32::try_from(side).unwrap_or(u32::MAX).max(1)
    };
    (scaled(width), scaled(height))
}

#[derive(Debug)]
pub(super) struct Variant {
    pub(super) size: Size,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("cannot be decoded: {0}")]
    Decode(String),
    #[error("is not what its header says")]
    Lies,
    #[error("takes more than {0:?} to decode")]
    TooLong(Duration),
    #[error("takes too much memory to decode")]
    TooLarge,
    #[error("cannot be made smaller: {0}")]
    Make(String),
}

/// Blocks for tens to thousands of milliseconds.
pub(super) fn make(file: &[u8], picture: Picture, cpu: &CpuTime) -> Result<Vec<Variant>, Unusable> {
    let (pixels, turned) = decode(file, picture, cpu)?;
    cpu.check()?;
    // Made smaller before it is turned: that is less to turn.
    let mut whole = scaled(&pixels, Size::Full.of((pixels.width(), pixels.height())))?;
    drop(pixels);
    whole.apply_orientation(turned);
    let mut variants = Vec::new();
    for size in SIZES {
        cpu.check()?;
        let pixels = scaled(&whole, size.of((whole.width(), whole.height())))?;
        variants.push(Variant {
            size,
            width: pixels.width(),
            height: pixels.height(),
            bytes: webp(&pixels)?,
        });
    }
    cpu.check()?;
    Ok(variants)
}

fn decode(file: &[u8], picture: Picture, cpu: &CpuTime) -> Result<(DynamicImage, Orientation), Unusable> {
    let format = match picture.format {
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Png => ImageFormat::Png,
        Format::WebP => ImageFormat::WebP,
        Format::Gif => return Err(Unusable::Decode("GIF".to_owned())),
    };
    let failed = |error: image::ImageError| match cpu.check() {
        Ok(()) => Unusable::Decode(error.to_string()),
        Err(too_long) => too_long,
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_BYTES);
    let mut reader = ImageReader::with_format(Timed::new(file, cpu), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(failed)?;
    if decoder.dimensions() != (picture.width, picture.height) {
        return Err(Unusable::Lies);
    }
    if decoder.total_bytes() > DECODER_BYTES {
        return Err(Unusable::TooLarge);
    }
    decoder.set_limits(limits).map_err(failed)?;
    // What cannot be read of it is not there.
    let turned = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let pixels = DynamicImage::from_decoder(decoder).map_err(failed)?;
    let pixels = if pixels.color().has_alpha() {
        DynamicImage::ImageRgba8(pixels.into_rgba8())
    } else {
        DynamicImage::ImageRgb8(pixels.into_rgb8())
    };
    Ok((pixels, turned))
}

/// The middle of it, where the shapes differ.
fn scaled(pixels: &DynamicImage, (width, height): (u32, u32)) -> Result<DynamicImage, Unusable> {
    if (width, height) == (pixels.width(), pixels.height()) {
        return Ok(pixels.clone());
    }
    let failed = |error: &dyn std::error::Error| Unusable::Make(error.to_string());
    let kind = match pixels.color().has_alpha() {
        true => PixelType::U8x4,
        false => PixelType::U8x3,
    };
    let from = ImageRef::new(pixels.width(), pixels.height(), pixels.as_bytes(), kind)
        .map_err(|error| failed(&error))?;
    let mut to = Image::new(width, height, kind);
    let options = ResizeOptions::new().fit_into_destination(None);
    Resizer::new()
        .resize(&from, &mut to, &options)
        .map_err(|error| failed(&error))?;
    let bytes = to.into_vec();
    let made = match kind {
        PixelType::U8x4 => RgbaImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgba8),
        _ => RgbImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
    };
    made.ok_or_else(|| Unusable::Make("too few pixels".to_owned()))
}

fn webp(pixels: &DynamicImage) -> Result<Vec<u8>, Unusable> {
    let (width, height) = (pixels.width(), pixels.height());
    let encoder = match pixels.color().has_alpha() {
        true => webp::Encoder::from_rgba(pixels.as_bytes(), width, height),
        false => webp::Encoder::from_rgb(pixels.as_bytes(), width, height),
    };
    let made = encoder.encode_simple(false, QUALITY);
    made.map(|made| made.to_vec())
        .map_err(|error| Unusable::Make(format!("{error:?}")))
}

/// Processor time of this thread since it began: a busy machine refuses nobody's photo.
pub(super) struct CpuTime {
    begun: Duration,
    limit: Duration,
}

impl CpuTime {
    pub(super) fn begin(limit: Duration) -> Self {
        Self {
            begun: cpu_time(),
            limit,
        }
    }

    fn check(&self) -> Result<(), Unusable> {
        if cpu_time().saturating_sub(self.begun) > self.limit {
            return Err(Unusable::TooLong(self.limit));
        }
        Ok(())
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// A file in memory that ends with an error once the time is used up.
struct Timed<'f> {
    file: Cursor<&'f [u8]>,
    cpu: &'f CpuTime,
}

impl<'f> Timed<'f> {
    fn new(file: &'f [u8], cpu: &'f CpuTime) -> Self {
        Self {
            file: Cursor::new(file),
            cpu,
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> IoResult<usize> {
        let length = self.fill_buf()?.len().min(buffer.len());
        self.file.read(&mut buffer[..length])
    }
}

impl BufRead for Timed<'_> {
    fn fill_buf(&mut self) -> IoResult<&[u8]> {
        self.cpu.check().map_err(std::io::Error::other)?;
        let rest = self.file.fill_buf()?;
        Ok(&rest[..rest.len().min(PORTION)])
    }

    fn consume(&mut self, amount: usize) {
        self.file.consume(amount);
    }
}

impl Seek for Timed<'_> {
    fn seek(&mut self, to: SeekFrom) -> IoResult<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
pub(super) mod tests;
