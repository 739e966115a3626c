use image::Rgb;

use super::super::sniff::picture;
use super::super::sniff::tests::png_with;
use super::*;

pub(crate) fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |n: u32| u8::try_from(n * 37 % 251).unwrap();
        Rgb([wave(x), wave(y * 3), wave(x / 3 + y)])
    })
}

fn file(pixels: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    pixels.write_to(&mut file, format).unwrap();
    file.into_inner()
}

pub(crate) fn png_file(pixels: &RgbImage) -> Vec<u8> {
    file(&DynamicImage::ImageRgb8(pixels.clone()), ImageFormat::Png)
}

fn jpeg_file(pixels: &RgbImage) -> Vec<u8> {
    file(&DynamicImage::ImageRgb8(pixels.clone()), ImageFormat::Jpeg)
}

/// EXIF that says how it was held, and where.
fn with_exif(file: &[u8], orientation: u8) -> Vec<u8> {
    let tiff = [
        &b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..],
        &[orientation, 0, 0, 0],
        b"\0\0\0\0GPS 47.3769 N",
    ]
    .concat();
    let length = u16::try_from(tiff.len() + 8).unwrap().to_be_bytes();
    [&file[..2], &[0xFF, 0xE1], &length, b"Exif\0\0", &tiff, &file[2..]].concat()
}

fn made(file: &[u8]) -> Result<Vec<Variant>, Unusable> {
    made_within(file, Duration::from_secs(60))
}

fn made_within(file: &[u8], limit: Duration) -> Result<Vec<Variant>, Unusable> {
    make(file, picture(file).unwrap(), &CpuTime::begin(limit))
}

fn sides(variants: &[Variant]) -> Vec<(u32, u32)> {
    variants
        .iter()
        .map(|variant| {
            let read = image::load_from_memory(&variant.bytes).unwrap();
            assert_eq!((read.width(), read.height()), (variant.width, variant.height));
            (variant.width, variant.height)
        })
        .collect()
}

#[test]
fn every_format_is_made_in_four_sizes_and_never_larger() {
    let pixels = scene(2_600, 60);
    let lossy = webp(&DynamicImage::ImageRgb8(pixels.clone())).unwrap();
    for file in [jpeg_file(&pixels), png_file(&pixels), lossy] {
        let made = made(&file).unwrap();
        assert_eq!(sides(&made), [(2_560, 59), (1_080, 24), (320, 7), (150, 150)]);
    }
    let small = made(&png_file(&scene(200, 100))).unwrap();
    assert_eq!(sides(&small), [(200, 100), (200, 100), (200, 100), (150, 150)]);
    let thread = made(&png_file(&scene(3_000, 1))).unwrap();
    assert_eq!(sides(&thread), [(2_560, 1), (1_080, 1), (320, 1), (150, 150)]);
}

#[test]
fn a_photo_stands_upright_and_forgets_where_it_was_taken() {
    // Left half red, right half blue; held so that its left is the top.
    let halves = RgbImage::from_fn(64, 32, |x, _| {
        if x < 32 {
            Rgb([250, 0, 0])
        } else {
            Rgb([0, 0, 250])
        }
    });
    let source = with_exif(&jpeg_file(&halves), 6);
    assert!(source.windows(3).any(|part| part == b"GPS"));
    let made = made(&source).unwrap();
    assert_eq!(sides(&made)[0], (32, 64));
    for variant in &made {
        let has = |name: &[u8]| variant.bytes.windows(name.len()).any(|part| part == name);
        assert!(
            !has(b"GPS") && !has(b"Exif") && !has(b"EXIF"),
            "{:?}",
            variant.size
        );
        let pixels = image::load_from_memory(&variant.bytes).unwrap().into_rgb8();
        let (top, bottom) = (pixels.get_pixel(16, 4), pixels.get_pixel(16, variant.height - 4));
        assert!(top.0[0] > 150 && top.0[2] < 100, "{:?}: {top:?}", variant.size);
        assert!(
            bottom.0[2] > 150 && bottom.0[0] < 100,
            "{:?}: {bottom:?}",
            variant.size
        );
    }
}

#[test]
fn transparency_stays() {
    let mut pixels = DynamicImage::ImageRgb8(scene(64, 64)).into_rgba8();
    for pixel in pixels.pixels_mut().step_by(2) {
        pixel.0[3] = 0;
    }
    let source = file(&DynamicImage::ImageRgba8(pixels), ImageFormat::Png);
    for variant in made(&source).unwrap() {
        assert!(
            image::load_from_memory(&variant.bytes)
                .unwrap()
                .color()
                .has_alpha()
        );
    }
}

#[test]
fn work_ends_when_its_time_is_used_up() {
    for file in [jpeg_file(&scene(64, 64)), png_file(&scene(64, 64))] {
        let refused = made_within(&file, Duration::ZERO).unwrap_err();
        assert!(matches!(refused, Unusable::TooLong(_)), "{refused}");
    }
}

#[test]
fn a_header_that_says_another_size_than_the_decoder_finds_is_a_lie() {
    let file = png_file(&scene(64, 64));
    let lie = Picture {
        width: 640,
        ..picture(&file).unwrap()
    };
    let refused = make(&file, lie, &CpuTime::begin(Duration::from_secs(60))).unwrap_err();
    assert!(matches!(refused, Unusable::Lies), "{refused}");
}

#[test]
fn sixteen_bits_of_many_pixels_are_too_large() {
    // 49 million pixels of 8 bytes, refused by the header: what follows is no picture.
    let large = png_with(7_000, 7_000, [16, 6], &vec![0; 400_000]);
    assert!(matches!(made(&large), Err(Unusable::TooLarge)));
}

#[test]
fn whatever_is_broken_is_an_answer_and_no_panic() {
    let pixels = scene(48, 48);
    let lossy = webp(&DynamicImage::ImageRgb8(pixels.clone())).unwrap();
    for source in [jpeg_file(&pixels), png_file(&pixels), lossy] {
        for at in (0..source.len()).step_by(source.len() / 60 + 1) {
            let mut broken = source.clone();
            broken[at] ^= 0xFF;
            if let Ok(picture) = picture(&broken) {
                make(&broken, picture, &CpuTime::begin(Duration::from_secs(60))).ok();
            }
        }
    }
}
