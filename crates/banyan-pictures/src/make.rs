//! The work: one picture into another.

use std::io::Cursor;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage, RgbaImage};
use rgb::FromSlice as _;

use crate::recipe::Format;
use crate::{MOST_BYTES, MOST_PIXELS, source};

/// For decoders.
const MOST_MEMORY: u64 = 200 << 20;
/// AVIF takes seconds for a few million pixels.
const MOST_IN_AVIF: u64 = 4_000_000;
/// 1 (smallest) to 10 (fastest).
const AVIF_SPEED: u8 = 9;

/// Made.
#[derive(Debug)]
pub struct Picture {
    pub bytes: Vec<u8>,
    pub content_type: &'static str,
    pub width: u32,
    pub height: u32,
}

/// Why the original stays.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("it is no JPEG, PNG or WebP")]
    Unknown,
    #[error("it is an animation")]
    Moves,
    #[error("it is larger than what is made into another")]
    TooMuch,
    #[error("its colours are of a kind that this format cannot say")]
    Colours,
    #[error("failed to decode it")]
    Decode(#[source] image::ImageError),
    #[error("failed to resize it")]
    Resize(#[source] fast_image_resize::ResizeError),
    #[error("failed to encode it as {0}")]
    Encode(&'static str),
    /// Nobody is helped by it.
    #[error("it would not become smaller")]
    Larger,
}

/// Blocks for tens to thousands of milliseconds; takes 256 MiB at most. `width`: as people see it; never above the source's.
pub fn make(bytes: &[u8], width: Option<u32>, format: Format, quality: u8) -> Result<Picture, Failure> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Failure::TooMuch);
    }
    let (pixels, turned, profile) = decode(bytes)?;
    // Other colour spaces go on as they are described, which only the JPEG can carry.
    let profile = profile.filter(|profile| !is_srgb(profile));
    if profile.is_some() && (format != Format::Jpeg || pixels.color().has_alpha()) {
        return Err(Failure::Colours);
    }
    let narrower = width.is_some_and(|width| width < upright_width(&pixels, turned));
    let mut pixels = resize(pixels, turned, width)?;
    pixels.apply_orientation(turned);
    let (content_type, made) = match format {
        Format::Avif => ("image/avif", avif(&pixels, quality)?),
        Format::Webp => ("image/webp", webp(&pixels, quality)?),
        Format::Jpeg if pixels.color().has_alpha() => ("image/png", png(&pixels)?),
        Format::Jpeg => ("image/jpeg", jpeg(&pixels, quality, profile.as_deref())?),
    };
    if made.len() >= bytes.len() && !narrower && turned == Orientation::NoTransforms {
        return Err(Failure::Larger);
    }
    Ok(Picture {
        bytes: made,
        content_type,
        width: pixels.width(),
        height: pixels.height(),
    })
}

fn decode(bytes: &[u8]) -> Result<(DynamicImage, Orientation, Option<Vec<u8>>), Failure> {
    let format = source::format(bytes)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(Failure::Decode)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS || decoder.total_bytes() > MOST_MEMORY {
        return Err(Failure::TooMuch);
    }
    decoder.set_limits(limits).map_err(Failure::Decode)?;
    // What cannot be read of them is not there.
    let turned = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().ok().flatten();
    let pixels = DynamicImage::from_decoder(decoder).map_err(Failure::Decode)?;
    let pixels = if pixels.color().has_alpha() {
        opaque(pixels.into_rgba8())
    } else {
        DynamicImage::ImageRgb8(pixels.into_rgb8())
    };
    Ok((pixels, turned, profile))
}

/// Transparency that nobody uses costs bytes, and the JPEG.
fn opaque(pixels: RgbaImage) -> DynamicImage {
    if pixels.pixels().any(|pixel| pixel.0[3] != 255) {
        return DynamicImage::ImageRgba8(pixels);
    }
    DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(pixels).into_rgb8())
}

/// Profiles of sRGB say so in their description, in one byte a letter or two.
fn is_srgb(profile: &[u8]) -> bool {
    let has = |name: &[u8]| profile.windows(name.len()).any(|part| part == name);
    has(b"sRGB") || has(b"s\0R\0G\0B")
}

fn lies(turned: Orientation) -> bool {
    matches!(
        turned,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

fn upright_width(pixels: &DynamicImage, turned: Orientation) -> u32 {
    if lies(turned) {
        pixels.height()
    } else {
        pixels.width()
    }
}

/// Before it is turned: that is less to turn.
fn resize(pixels: DynamicImage, turned: Orientation, width: Option<u32>) -> Result<DynamicImage, Failure> {
    let now = upright_width(&pixels, turned);
    let Some(wanted) = width.filter(|wanted| *wanted < now) else {
        return Ok(pixels);
    };
    let scaled = |side: u32| {
        let side = u64::from(side) * u64::from(wanted) / u64::from(now.max(1));
        u32::try_from(side).unwrap_or(u32::MAX).max(1)
    };
    let (to_width, to_height) = (scaled(pixels.width()), scaled(pixels.height()));
    let (kind, bytes) = match &pixels {
        DynamicImage::ImageRgba8(pixels) => (PixelType::U8x4, pixels.as_raw()),
        DynamicImage::ImageRgb8(pixels) => (PixelType::U8x3, pixels.as_raw()),
        _ => return Err(Failure::Encode("pixels")),
    };
    let from =
        ImageRef::new(pixels.width(), pixels.height(), bytes, kind).map_err(|_| Failure::Encode("pixels"))?;
    let mut to = Image::new(to_width, to_height, kind);
    Resizer::new()
        .resize(&from, &mut to, &ResizeOptions::new())
        .map_err(Failure::Resize)?;
    let bytes = to.into_vec();
    let resized = match kind {
        PixelType::U8x4 => RgbaImage::from_raw(to_width, to_height, bytes).map(DynamicImage::ImageRgba8),
        _ => RgbImage::from_raw(to_width, to_height, bytes).map(DynamicImage::ImageRgb8),
    };
    resized.ok_or(Failure::Encode("pixels"))
}

fn webp(pixels: &DynamicImage, quality: u8) -> Result<Vec<u8>, Failure> {
    let (width, height, bytes) = (pixels.width(), pixels.height(), pixels.as_bytes());
    let encoder = if pixels.color().has_alpha() {
        webp::Encoder::from_rgba(bytes, width, height)
    } else {
        webp::Encoder::from_rgb(bytes, width, height)
    };
    let made = encoder.encode_simple(false, f32::from(quality));
    made.map(|made| made.to_vec())
        .map_err(|_| Failure::Encode("WebP"))
}

fn avif(pixels: &DynamicImage, quality: u8) -> Result<Vec<u8>, Failure> {
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    if (width * height) as u64 > MOST_IN_AVIF {
        return Err(Failure::TooMuch);
    }
    let encoder = ravif::Encoder::new()
        // The same number means a little more here than in JPEG.
        .with_quality(f32::from(quality.saturating_sub(10).max(1)))
        .with_speed(AVIF_SPEED)
        .with_bit_depth(ravif::BitDepth::Eight)
        .with_num_threads(Some(1));
    let bytes = pixels.as_bytes();
    let made = if pixels.color().has_alpha() {
        encoder.encode_rgba(ravif::Img::new(bytes.as_rgba(), width, height))
    } else {
        encoder.encode_rgb(ravif::Img::new(bytes.as_rgb(), width, height))
    };
    made.map(|made| made.avif_file)
        .map_err(|_| Failure::Encode("AVIF"))
}

fn jpeg(pixels: &DynamicImage, quality: u8, profile: Option<&[u8]>) -> Result<Vec<u8>, Failure> {
    let failed = |_| Failure::Encode("JPEG");
    let side = |side: u32| u16::try_from(side).map_err(|_| Failure::Encode("JPEG"));
    let mut made = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut made, quality);
    encoder.set_progressive(true);
    encoder.set_optimized_huffman_tables(true);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
    if let Some(profile) = profile {
        encoder.add_icc_profile(profile).map_err(failed)?;
    }
    let (width, height) = (side(pixels.width())?, side(pixels.height())?);
    encoder
        .encode(pixels.as_bytes(), width, height, jpeg_encoder::ColorType::Rgb)
        .map_err(failed)?;
    Ok(made)
}

fn png(pixels: &DynamicImage) -> Result<Vec<u8>, Failure> {
    let mut made = Cursor::new(Vec::new());
    pixels
        .write_to(&mut made, image::ImageFormat::Png)
        .map_err(|_| Failure::Encode("PNG"))?;
    Ok(made.into_inner())
}

#[cfg(test)]
mod tests;
