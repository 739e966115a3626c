//! The photos app at the rung `cdn`: of what people who browse load, the edge serves nearly all media; photos come in the size
//! and format that a client wants; nobody's own answer is stored.

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::http::Client;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;

const VISITS: usize = 30;
/// Pictures of a page.
const PICTURES: usize = 12;

fn field<'a>(answer: &'a Response<Bytes>, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn with(client: &Client, path: &str, name: &str, value: &str) -> Response<Bytes> {
    let request = Request::get(path).header(name, value).body(Bytes::new()).unwrap();
    client.send(request).await.unwrap()
}

/// One who looks at a page and its pictures, then at a post's list, under a session of their own.
async fn visit(client: &Client, number: usize) {
    let session = format!("session=visitor-{number}");
    for path in ["/", "/api/articles?limit=5", "/api/tags"] {
        let answer = with(client, path, "cookie", &session).await;
        assert_eq!(answer.status(), 200, "{path}");
    }
    for picture in 1..=PICTURES {
        let answer = with(client, &format!("/media/demo/{picture}.svg"), "cookie", &session).await;
        assert_eq!(answer.status(), 200, "{picture}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nearly_all_media_come_from_the_edge_in_the_format_that_is_wanted() {
    let mut manifest =
        Manifest::photos(1).edge("cache = { rules = [{ path = \"/media/*\", image = true }] }");
    manifest.more = ["[[route]]", "name = \"media\"", "prefix = \"/media\""]
        .map(str::to_owned)
        .to_vec();
    let mut installation = Installation::new(manifest);
    installation.up().await;
    let client = installation.client();
    for number in 0..VISITS {
        visit(&client, number).await;
    }
    let stats = installation.verb(&["--json", "cdn", "stats"]).await;
    let stats: Value = serde_json::from_str(&stats.stdout).unwrap();
    let rows = stats["routes"].as_array().cloned().unwrap_or_default();
    let media = rows
        .iter()
        .find(|row| row["route"] == "media")
        .expect("a row of media");
    let count = |names: &[&str]| -> u64 {
        let results = names.iter().map(|name| media["results"][name].as_u64());
        results.map(Option::unwrap_or_default).sum()
    };
    let asked = count(&[
        "hit",
        "stale",
        "validated",
        "collapsed",
        "stood-in",
        "miss",
        "bypass",
    ]);
    let answered = count(&["hit", "stale", "collapsed"]);
    assert_eq!(asked, (VISITS * PICTURES) as u64, "{media}");
    assert!(answered * 100 >= asked * 95, "{answered} of {asked}: {media}");
    // What depends on who asks was stored for nobody.
    let list = with(
        &client,
        "/api/articles?limit=5",
        "cookie",
        "session=somebody-else",
    )
    .await;
    let told = field(&list, "cache-status");
    assert!(!told.contains("hit") && !told.contains("stored"), "{told}");

    let original = client.get("/media/probe.png").await.unwrap();
    assert_eq!(field(&original, "content-type"), "image/png");
    let small = with(&client, "/media/probe.png", "accept", "image/webp").await;
    assert_eq!(
        (small.status().as_u16(), field(&small, "content-type")),
        (200, "image/webp")
    );
    assert!(small.body().len() < original.body().len());
    let again = with(&client, "/media/probe.png", "accept", "image/webp").await;
    assert_eq!(again.body(), small.body());
    assert!(
        field(&again, "cache-status").contains("hit"),
        "{}",
        field(&again, "cache-status")
    );
    installation.down().await;
}
