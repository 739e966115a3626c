//! Photos: kept by content, served unchanged, and nothing left of what was refused.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::world::World;

/// A valid GIF of one pixel.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != "secret_key") {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn an_uploaded_photo_is_served_for_ever_and_can_be_posted() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let token = app.register("ann").await;
    // The name and the type in the form lie; the content counts.
    let (status, answer) = app.upload(Some(&token), "evil.html", GIF).await;
    assert_eq!(status, 201, "{answer}");
    let photo = &answer["photo"];
    assert_eq!(
        (&photo["type"], &photo["width"], &photo["bytes"]),
        (&json!("image/gif"), &json!(1), &json!(GIF.len()))
    );
    let url = photo["url"].as_str().unwrap();
    let served = app.get(url).await;
    assert_eq!(served.body(), GIF);
    for (name, wanted) in [
        ("content-type", "image/gif"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("content-length", "35"),
    ] {
        assert_eq!(served.headers()[name], wanted);
    }
    let again = Request::get(url)
        .header("if-none-match", &served.headers()["etag"])
        .body(Bytes::new())
        .unwrap();
    assert_eq!(app.client.send(again).await.unwrap().status(), 304);

    let post = json!({"article": {"title": "t", "description": "d", "body": "b", "photo": photo["id"]}});
    let (status, article) = app.call(Method::POST, "/api/articles", Some(&token), &post).await;
    assert_eq!((status, &article["article"]["photo"]), (201, &photo["url"]));
    let stranger = app.register("bob").await;
    let (status, answer) = app
        .call(Method::POST, "/api/articles", Some(&stranger), &post)
        .await;
    assert_eq!(status, 422, "{answer}");
    assert_eq!(files(world.data.path()).len(), 1);
}

#[tokio::test]
async fn a_bad_upload_is_refused_and_leaves_no_file() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let token = app.register("ann").await;
    let huge = [GIF, &vec![0; 10 * 1024 * 1024]].concat();
    for (name, file, wanted) in [
        ("not.png", &b"<html>hello</html>"[..], 415),
        ("script.gif", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        ("cut.gif", &GIF[..20], 422),
        ("empty.gif", b"", 415),
        ("huge.gif", &huge, 413),
    ] {
        let (status, answer) = app.upload(Some(&token), name, file).await;
        assert_eq!(status, wanted, "{name}: {answer}");
        assert!(answer["errors"]["photo"][0].is_string(), "{name}: {answer}");
    }
    assert_eq!(app.upload(None, "a.gif", GIF).await.0, 401);
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
        "/media/..%2fsecret_key",
        "/media/%2e%2e%2fsecret_key",
        "/media/secret_key",
        &format!("/media/{}.png", "0".repeat(64)),
        "/media/demo/1000000.svg",
    ] {
        let (status, answer) = app.call(Method::GET, path, None, &Value::Null).await;
        assert_eq!(status, 404, "{path}: {answer}");
    }
}
