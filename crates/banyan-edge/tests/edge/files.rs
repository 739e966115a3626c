//! `static = "folder"`: files as clients ask for them, and what they must never get.

use std::os::unix::fs::symlink;

use banyan_config::{PathMatch, Route, RouteAction, RouteMatch, StaticFiles};
use banyan_testkit::upstream::{Message, Upstream};
use tempfile::TempDir;

use crate::routes::{prefix, route};
use crate::world::{World, get};

struct Site {
    world: World,
    dir: TempDir,
    _upstream: Upstream,
}

/// The folder at `/assets`, and a single-page app at everything else of `app.example`.
async fn site() -> Site {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("public");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(dir.path().join("secret.txt"), "secret").unwrap();
    for (name, text) in [
        ("index.html", "<p>home"),
        ("404.html", "<p>nothing"),
        ("app.js", "let x = 1;"),
        ("app.js.br", "brotli"),
        ("app.js.gz", "gzip"),
        (".env", "hidden"),
        ("a b.txt", "spaced"),
        ("sub/index.html", "<p>sub"),
    ] {
        std::fs::write(root.join(name), text).unwrap();
    }
    let large: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(root.join("large.bin"), large).unwrap();
    symlink("../secret.txt", root.join("leak.txt")).unwrap();
    let files = |fallback: Option<&str>, not_found: Option<&str>| {
        RouteAction::Static(StaticFiles {
            dir: root.clone(),
            cache_control: "public, max-age=60".to_owned(),
            fallback: fallback.map(str::to_owned),
            not_found: not_found.map(str::to_owned),
        })
    };
    let routes: Vec<Route> = vec![
        route("assets", prefix("/assets"), files(None, Some("/404.html"))),
        route(
            "spa",
            RouteMatch {
                domains: vec!["spa.example".to_owned()],
                path: PathMatch::Any,
                ..RouteMatch::default()
            },
            files(Some("/index.html"), None),
        ),
    ];
    let upstream = Upstream::answering(|_| "the app".to_owned()).await;
    let world = World::with(&[upstream.address], |snapshot| snapshot.routes = routes).await;
    Site {
        world,
        dir,
        _upstream: upstream,
    }
}

impl Site {
    async fn ask(&self, method: &str, path: &str, fields: &str) -> Message {
        let host = if path.starts_with("/assets") {
            "app.example"
        } else {
            "spa.example"
        };
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        self.world.ask(&request).await
    }

    async fn get(&self, path: &str) -> Message {
        self.ask("GET", path, "").await
    }
}

#[tokio::test]
async fn a_file_comes_with_its_type_validators_and_cache_rule() {
    let site = site().await;
    let answer = site.get("/assets/app.js").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "let x = 1;"));
    assert_eq!(answer.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "public, max-age=60");
    assert_eq!(answer.header("vary"), "accept-encoding");
    assert_eq!(answer.header("accept-ranges"), "bytes");
    let etag = answer.header("etag");
    assert!(etag.starts_with('"'), "{etag}");
    let same = site
        .ask("GET", "/assets/app.js", &format!("If-None-Match: {etag}\r\n"))
        .await;
    assert_eq!(
        (same.status(), same.body.len(), same.header("etag")),
        (304, 0, etag.clone())
    );
    let since = format!("If-Modified-Since: {}\r\n", answer.header("last-modified"));
    assert_eq!(site.ask("GET", "/assets/app.js", &since).await.status(), 304);
    std::fs::write(site.dir.path().join("public/app.js"), "let x = 22;").unwrap();
    let changed = site
        .ask("GET", "/assets/app.js", &format!("If-None-Match: {etag}\r\n"))
        .await;
    assert_eq!((changed.status(), changed.text().as_str()), (200, "let x = 22;"));
    assert_eq!(site.get("/assets/a%20b.txt").await.text(), "spaced");
}

#[tokio::test]
async fn a_packed_sibling_is_given_to_who_takes_it_under_a_tag_of_its_own() {
    let site = site().await;
    let plain = site.get("/assets/app.js").await;
    for (accepted, coding, text) in [
        ("gzip, br", "br", "brotli"),
        ("gzip", "gzip", "gzip"),
        ("zstd", "", "let x = 1;"),
    ] {
        let answer = site
            .ask(
                "GET",
                "/assets/app.js",
                &format!("Accept-Encoding: {accepted}\r\n"),
            )
            .await;
        assert_eq!(
            (answer.text().as_str(), answer.header("content-encoding").as_str()),
            (text, coding)
        );
        assert_eq!(answer.header("content-type"), "text/javascript; charset=utf-8");
        assert_eq!(answer.header("etag") == plain.header("etag"), coding.is_empty());
    }
    // A part is one of the file itself.
    let part = site
        .ask(
            "GET",
            "/assets/app.js",
            "Accept-Encoding: br\r\nRange: bytes=4-4\r\n",
        )
        .await;
    assert_eq!((part.status(), part.text().as_str()), (206, "x"));
}

#[tokio::test]
async fn parts_and_whole_large_files_are_exactly_their_bytes() {
    let site = site().await;
    let whole = std::fs::read(site.dir.path().join("public/large.bin")).unwrap();
    let answer = site.get("/assets/large.bin").await;
    assert_eq!(answer.header("content-length"), "700000");
    assert!(answer.body == whole);
    let part = site
        .ask("GET", "/assets/large.bin", "Range: bytes=131000-400000\r\n")
        .await;
    assert_eq!(part.status(), 206);
    assert_eq!(part.header("content-range"), "bytes 131000-400000/700000");
    assert!(part.body == whole[131_000..=400_000]);
    let beyond = site
        .ask("GET", "/assets/large.bin", "Range: bytes=700000-\r\n")
        .await;
    assert_eq!(
        (beyond.status(), beyond.header("content-range").as_str()),
        (416, "bytes */700000")
    );
    let mut client = site.world.client().await;
    client
        .send("HEAD /assets/large.bin HTTP/1.1\r\nHost: app.example\r\n\r\n")
        .await;
    let head = client.head().await.unwrap();
    assert_eq!(
        (head.status(), head.header("content-length").as_str()),
        (200, "700000")
    );
    // No body lies between it and the next answer.
    client.send(get("/assets/a%20b.txt")).await;
    assert_eq!(client.message().await.unwrap().text(), "spaced");
}

#[tokio::test]
async fn nothing_hidden_and_nothing_outside_is_ever_served() {
    let site = site().await;
    for path in [
        "/assets/.env",
        "/assets/leak.txt",
        "/assets/../secret.txt",
        "/assets/%2e%2e/secret.txt",
        "/assets/..%2fsecret.txt",
        "/assets/sub/%2e%2e/%2e%2e/secret.txt",
        "/assets/..%5csecret.txt",
        "/assets//secret.txt",
        "/assets/.%00env",
        "/assets/app.js/",
        "/assets/app.js/x",
    ] {
        let answer = site.get(path).await;
        assert!(
            [400, 404].contains(&answer.status()),
            "{path}: {}",
            answer.status()
        );
        assert!(
            !answer.text().contains("secret") && !answer.text().contains("hidden"),
            "{path}"
        );
    }
    let post = site.ask("POST", "/assets/app.js", "Content-Length: 0\r\n").await;
    assert_eq!((post.status(), post.header("allow").as_str()), (405, "GET, HEAD"));
}

#[tokio::test]
async fn folders_have_an_index_and_what_is_missing_its_page() {
    let site = site().await;
    assert_eq!(site.get("/assets/").await.text(), "<p>home");
    assert_eq!(site.get("/assets/sub/").await.text(), "<p>sub");
    let to = site.get("/assets/sub?x=1").await;
    assert_eq!(
        (to.status(), to.header("location").as_str()),
        (301, "/assets/sub/?x=1")
    );
    let missing = site.get("/assets/none.js").await;
    assert_eq!((missing.status(), missing.text().as_str()), (404, "<p>nothing"));
    assert_eq!(missing.header("cache-control"), "no-store");
    // The app of one page: its address for people, a 404 for what it loads.
    let page = site.ask("GET", "/orders/7", "Accept: text/html\r\n").await;
    assert_eq!((page.status(), page.text().as_str()), (200, "<p>home"));
    assert_eq!(site.get("/missing.js").await.status(), 404);
}
