use super::*;

const ALL: [Format; 3] = [Format::Avif, Format::Webp, Format::Jpeg];

fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |n: u32| (n * 37 % 251) as u8;
        image::Rgb([wave(x), wave(y * 3), wave(x / 3 + y)])
    })
}

fn file(pixels: &DynamicImage, format: image::ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    pixels.write_to(&mut file, format).unwrap();
    file.into_inner()
}

fn jpeg_file(width: u32, height: u32) -> Vec<u8> {
    jpeg(&DynamicImage::ImageRgb8(scene(width, height)), 95, None).unwrap()
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

fn refused(bytes: &[u8]) -> bool {
    ALL.into_iter()
        .all(|format| make(bytes, Some(8), format, 70).is_err())
}

#[test]
fn every_format_is_made_in_the_wanted_width_and_never_larger() {
    let source = jpeg_file(64, 32);
    for format in ALL {
        let small = make(&source, Some(16), format, 70).unwrap();
        assert_eq!((small.width, small.height), (16, 8));
        assert_eq!(small.content_type, format!("image/{}", format.name()));
        assert!(small.bytes.len() < source.len());
    }
    let same = make(&source, Some(640), Format::Webp, 40).unwrap();
    assert_eq!((same.width, same.height), (64, 32));
    for format in [Format::Webp, Format::Jpeg] {
        let made = make(&source, Some(16), format, 85).unwrap();
        let read = image::load_from_memory(&made.bytes).unwrap();
        assert_eq!((read.width(), read.height()), (16, 8));
    }
}

#[test]
fn what_would_not_become_smaller_stays() {
    let source = make(&jpeg_file(64, 64), Some(32), Format::Webp, 40)
        .unwrap()
        .bytes;
    assert!(matches!(
        make(&source, None, Format::Webp, 95),
        Err(Failure::Larger)
    ));
}

#[test]
fn a_picture_stands_upright_and_forgets_where_it_was_taken() {
    let source = with_exif(&jpeg_file(64, 32), 6);
    assert!(source.windows(3).any(|part| part == b"GPS"));
    for format in ALL {
        let made = make(&source, Some(16), format, 85).unwrap();
        assert_eq!((made.width, made.height), (16, 32), "{format:?}");
        let has = |name: &[u8]| made.bytes.windows(name.len()).any(|part| part == name);
        assert!(!has(b"GPS") && !has(b"Exif\0"), "{format:?}");
    }
}

#[test]
fn transparency_stays() {
    let mut pixels = DynamicImage::ImageRgb8(scene(64, 64)).into_rgba8();
    for pixel in pixels.pixels_mut().step_by(2) {
        pixel.0[3] = 0;
    }
    let source = file(&DynamicImage::ImageRgba8(pixels), image::ImageFormat::Png);
    let other = make(&source, Some(16), Format::Jpeg, 85).unwrap();
    assert_eq!(other.content_type, "image/png");
    let webp = make(&source, Some(16), Format::Webp, 85).unwrap();
    for made in [other, webp] {
        assert!(image::load_from_memory(&made.bytes).unwrap().color().has_alpha());
    }
}

#[test]
fn bombs_are_known_by_their_headers() {
    // A PNG of 100,000 by 100,000 pixels, in 60 bytes.
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bomb.extend([100_000_u32.to_be_bytes(), 100_000_u32.to_be_bytes()].concat());
    bomb.extend(b"\x08\x06\0\0\0\x5a\xdd\x40\x12\0\0\0\0IDAT\x35\xaf\x06\x1e");
    assert!(refused(&bomb));
    // A JPEG that says that it has 65,000 by 65,000.
    let mut large = jpeg_file(16, 16);
    let frame = large.windows(2).position(|two| two == [0xFF, 0xC2]).unwrap();
    large[frame + 5..frame + 9].copy_from_slice(&[0xFD, 0xE8, 0xFD, 0xE8]);
    assert!(refused(&large));
    // Scan upon scan.
    let plain = jpeg_file(16, 16);
    let scan = plain.windows(2).position(|two| two == [0xFF, 0xDA]).unwrap();
    let mut many = plain.clone();
    for _ in 0..200 {
        many.splice(
            plain.len() - 2..plain.len() - 2,
            plain[scan..plain.len() - 2].iter().copied(),
        );
    }
    assert!(matches!(
        make(&many, Some(8), Format::Webp, 70),
        Err(Failure::TooMuch)
    ));
    assert!(matches!(
        make(&vec![0xFF; (MOST_BYTES + 1) as usize], None, Format::Webp, 70),
        Err(Failure::TooMuch)
    ));
}

#[test]
fn what_is_broken_or_moves_or_is_something_else_is_an_error_and_no_panic() {
    let sources = [
        jpeg_file(48, 48),
        file(&DynamicImage::ImageRgb8(scene(48, 48)), image::ImageFormat::Png),
        webp(&DynamicImage::ImageRgb8(scene(48, 48)), 80).unwrap(),
    ];
    for source in &sources {
        for part in 0..8 {
            // Of a truncated one the rest may be grey, or it is refused.
            let _whatever = make(&source[..source.len() * part / 8], Some(8), Format::Webp, 70);
        }
        for at in (0..source.len()).step_by(source.len() / 40 + 1) {
            let mut broken = source.clone();
            broken[at] ^= 0xFF;
            let _whatever = make(&broken, Some(8), Format::Jpeg, 70);
        }
    }
    for other in [
        &b""[..],
        b"GIF89a",
        b"<svg/>",
        b"\xFF\xD8\xFF",
        b"RIFF\0\0\0\0WEBP",
    ] {
        assert!(refused(other));
    }
    let mut moving = b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\x02".to_vec();
    moving.resize(64, 0);
    assert!(matches!(
        make(&moving, None, Format::Jpeg, 70),
        Err(Failure::Moves)
    ));
}
