//! What an unsafe request makes untrue (RFC 9111 §4.4, RFC 9875 §3).

use super::{get, ok, origin, safe, world};
use crate::world::post;

#[tokio::test]
async fn a_change_invalidates_its_address_and_those_it_names() {
    let (upstream, _asked) = origin(|n, request| match request.start.split(' ').next() {
        Some("POST") if request.target() == "/failing" => super::answer("500 Oops", "", ""),
        Some("POST") => ok("Location: /b?x=1\r\nContent-Location: /c\r\n", ""),
        _ => ok("Cache-Control: max-age=60\r\n", &n.to_string()),
    })
    .await;
    let world = world(&upstream, safe()).await;
    let paths = ["/a", "/b?x=1", "/c", "/d", "/failing"];
    for path in paths {
        assert_eq!(world.get(path).await.text(), "1");
    }
    world.ask(&post("/a", "change")).await;
    world.ask(&post("/failing", "change")).await;
    let mut seen = Vec::new();
    for path in paths {
        seen.push(world.get(path).await.text());
    }
    // The change itself was the second request for /a.
    assert_eq!(seen, ["3", "2", "2", "1", "1"]);
}

#[tokio::test]
async fn a_change_invalidates_groups_of_its_own_origin() {
    let (upstream, asked) = origin(|_, request| {
        if request.start.starts_with("POST") {
            return ok("Cache-Group-Invalidation: \"news\"\r\n", "");
        }
        ok(
            "Cache-Control: max-age=60\r\nCache-Groups: \"news\", \"all\"\r\n",
            &request.header("host"),
        )
    })
    .await;
    let world = world(&upstream, safe()).await;
    let of = |host: &str| get("/list", "").replace("app.example", host);
    for host in ["one.example", "two.example"] {
        world.ask(&of(host)).await;
    }
    let change = post("/write", "x").replace("app.example", "one.example");
    world.ask(&change).await;
    world.ask(&of("two.example")).await;
    assert_eq!(
        asked.count(),
        3,
        "another origin's group of the same name is another one"
    );
    world.ask(&of("one.example")).await;
    assert_eq!(asked.count(), 4);
}
