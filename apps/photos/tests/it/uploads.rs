//! Photos: made upright and small from what is uploaded, kept by content, and nothing left of what was refused.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request};
use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::{Value, json};

use crate::world::{App, World};

pub(crate) fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let wave = |n: u32| u8::try_from(n * 5 % 251).unwrap();
    let pixels = RgbImage::from_fn(width, height, |x, y| image::Rgb([wave(x), wave(y), wave(x + y)]));
    let mut file = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(pixels)
        .write_to(&mut file, format)
        .unwrap();
    file.into_inner()
}

/// As a phone on its side writes it, with the place.
fn held_upright(jpeg: &[u8]) -> Vec<u8> {
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0GPS 47.3769 N";
    let length = u16::try_from(tiff.len() + 8).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, b"Exif\0\0", tiff, &jpeg[2..]].concat()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != "token_keys") {
            found.push(path);
        }
    }
    found
}

/// The most memory that the process ever held, in KiB.
fn peak_kib(app: &App) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", app.process.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn an_uploaded_photo_is_served_upright_for_ever_and_can_be_posted() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let token = app.register("ann").await;
    let file = held_upright(&picture(600, 400, ImageFormat::Jpeg));
    // The name and the type in the form lie; the content counts.
    let (status, answer) = app.upload(Some(&token), "evil.html", &file).await;
    assert_eq!(status, 201, "{answer}");
    let photo = &answer["photo"];
    assert_eq!((&photo["width"], &photo["height"]), (&json!(400), &json!(600)));
    let widths: Vec<u64> = photo["sizes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|size| size["width"].as_u64().unwrap())
        .collect();
    assert_eq!(widths, [400, 400, 320, 150]);
    for size in photo["sizes"].as_array().unwrap() {
        let url = size["url"].as_str().unwrap();
        let served = app.get(url).await;
        for (name, wanted) in [
            ("content-type", "image/webp"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "public, max-age=31536000, immutable"),
        ] {
            assert_eq!(served.headers()[name], wanted);
        }
        assert_eq!(served.body().len() as u64, size["bytes"]);
        let read = image::load_from_memory(served.body()).unwrap();
        assert_eq!(
            (u64::from(read.width()), u64::from(read.height())),
            (size["width"].as_u64().unwrap(), size["height"].as_u64().unwrap())
        );
        assert!(!served.body().windows(3).any(|part| part == b"GPS"));
        let again = Request::get(url)
            .header("if-none-match", &served.headers()["etag"])
            .body(Bytes::new())
            .unwrap();
        assert_eq!(app.client.send(again).await.unwrap().status(), 304);
    }

    let post = json!({"article": {"title": "t", "description": "d", "body": "b", "photo": photo["id"]}});
    let (status, article) = app.call(Method::POST, "/api/articles", Some(&token), &post).await;
    assert_eq!((status, &article["article"]["photo"]), (201, &photo["url"]));
    let stranger = app.register("bob").await;
    let (status, answer) = app
        .call(Method::POST, "/api/articles", Some(&stranger), &post)
        .await;
    assert_eq!(status, 422, "{answer}");
    // The same photo again is the same photo.
    let (_, again) = app.upload(Some(&stranger), "a.jpg", &file).await;
    assert_eq!(&again["photo"]["id"], &photo["id"]);
    assert_eq!(files(world.data.path()).len(), 4);
}

#[tokio::test]
async fn a_bad_upload_is_refused_and_leaves_no_file() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let token = app.register("ann").await;
    let png = picture(40, 30, ImageFormat::Png);
    let jpeg = picture(40, 30, ImageFormat::Jpeg);
    let huge = [&png[..], &vec![0; 10 * 1024 * 1024]].concat();
    let mut flipped = png.clone();
    flipped[60] ^= 1;
    // A frame header that says 65,000 by 700, over the data of 40 by 30.
    let mut lying = jpeg.clone();
    let frame = lying.windows(2).position(|pair| pair == b"\xff\xc0").unwrap();
    lying[frame + 5..frame + 9].copy_from_slice(&[0x02, 0xBC, 0xFD, 0xE8]);
    let mut enormous = jpeg.clone();
    enormous[frame + 5..frame + 9].copy_from_slice(&[0xFD, 0xE8, 0xFD, 0xE8]);
    for (name, file, wanted) in [
        ("not.png", &b"<html>hello</html>"[..], 415),
        ("script.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (
            "moving.gif",
            b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;",
            415,
        ),
        ("empty.png", b"", 415),
        ("cut.png", &png[..png.len() / 2], 422),
        ("cut.jpg", &jpeg[..jpeg.len() / 2], 422),
        ("flipped.png", &flipped, 422),
        ("lying.jpg", &lying, 422),
        ("enormous.jpg", &enormous, 422),
        ("huge.png", &huge, 413),
    ] {
        let (status, answer) = app.upload(Some(&token), name, file).await;
        assert_eq!(status, wanted, "{name}: {answer}");
        assert!(answer["errors"]["photo"][0].is_string(), "{name}: {answer}");
    }
    assert_eq!(app.upload(None, "a.png", &png).await.0, 401);
    for (content_type, body, wanted) in [
        ("application/json", "{}", 400),
        (
            "multipart/form-data; boundary=edge",
            "--edge\r\nContent-Disp",
            400,
        ),
        ("multipart/form-data; boundary=edge", "--edge--\r\n", 422),
    ] {
        let request = Request::post("/photos")
            .header("authorization", format!("Token {token}"))
            .header("content-type", content_type)
            .body(Bytes::from(body))
            .unwrap();
        let status = app.client.send(request).await.unwrap().status();
        assert_eq!(status, wanted, "{body}");
    }
    assert_eq!(files(world.data.path()), Vec::<PathBuf>::new());
}

/// 50,000 by 50,000 pixels would be 7 GB; scan upon scan of 6 million pixels would be minutes.
#[tokio::test]
async fn bombs_cost_neither_memory_nor_time() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let token = app.register("ann").await;
    let mut bomb = picture(8, 8, ImageFormat::Png);
    let sides = [50_000_u32.to_be_bytes(), 50_000_u32.to_be_bytes()].concat();
    bomb[16..24].copy_from_slice(&sides);
    let checksum = crc32(&bomb[12..29]).to_be_bytes();
    bomb[29..33].copy_from_slice(&checksum);
    let mut scans = picture(64, 64, ImageFormat::Jpeg);
    let frame = scans.windows(2).position(|pair| pair == b"\xff\xc0").unwrap();
    scans[frame + 5..frame + 9].copy_from_slice(&[0x07, 0xD0, 0x0B, 0xB8]);
    let scan = scans.windows(2).position(|pair| pair == b"\xff\xda").unwrap();
    let end = scans.len() - 2;
    let one = scans[scan..end].to_vec();
    let scans = [&scans[..end], &one.repeat(4_000_000 / one.len())[..], b"\xff\xd9"].concat();
    let before = peak_kib(&app);
    for (name, file, problem) in [
        ("bomb.png", &bomb, "has more than 50 million pixels"),
        ("scans.jpg", &scans, "takes too much work to decode"),
    ] {
        let uploads = (0..6).map(|_| app.upload(Some(&token), name, file));
        for (status, answer) in futures_util::future::join_all(uploads).await {
            assert_eq!(
                (status, &answer["errors"]["photo"][0]),
                (422, &json!(problem)),
                "{name}"
            );
        }
    }
    let grown = (peak_kib(&app) - before) / 1024;
    assert!(grown < 120, "{grown} MiB more");
    assert_eq!(files(world.data.path()), Vec::<PathBuf>::new());
}

/// ISO 3309, a bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| {
        if crc & 1 == 1 {
            0xedb8_8320 ^ (crc >> 1)
        } else {
            crc >> 1
        }
    };
    let add = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, add)
}

#[tokio::test]
async fn an_upload_that_is_cut_off_leaves_no_file() {
    use tokio::io::AsyncWriteExt as _;
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let token = app.register("ann").await;
    let mut stream = tokio::net::TcpStream::connect(app.address).await.unwrap();
    let head = format!(
        "POST /photos HTTP/1.1\r\nHost: x\r\nAuthorization: Token {token}\r\nContent-Length: 5000\r\n\
         Content-Type: multipart/form-data; boundary=edge\r\n\r\n\
         --edge\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a\"\r\n\r\nGIF89a"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let count = async |wanted: usize| {
        banyan_testkit::wait::until("the number of files", crate::world::LIMIT, async || {
            let found = files(world.data.path());
            if found.len() == wanted {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await
    };
    stream.write_all(&[0; 2000]).await.unwrap();
    count(1).await.unwrap();
    drop(stream);
    count(0).await.unwrap();
}

#[tokio::test]
async fn what_is_no_photo_is_not_found() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    for path in [
        "/media/..%2ftoken_keys",
        "/media/%2e%2e%2ftoken_keys",
        "/media/%2e%2e/token_keys",
        "/media/token_keys",
        &format!("/media/{}.png", "0".repeat(64)),
        &format!("/media/{}/full.webp", "0".repeat(64)),
        &format!("/media/{}/640.webp", "0".repeat(64)),
        "/media/demo/1000000.svg",
    ] {
        let (status, answer) = app.call(Method::GET, path, None, &Value::Null).await;
        assert_eq!(status, 404, "{path}: {answer}");
    }
}

#[tokio::test]
async fn what_an_earlier_version_kept_is_served() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let name = format!("{}.png", "ab".repeat(32));
    let folder = world.data.path().join("media/ab");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&name), "as it was").unwrap();
    let served = app.get(&format!("/media/{name}")).await;
    assert_eq!(
        (served.status().as_u16(), &served.body()[..]),
        (200, &b"as it was"[..])
    );
    assert_eq!(served.headers()["content-type"], "image/png");
}
