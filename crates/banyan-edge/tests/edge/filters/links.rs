//! Signed links: what they open, what instances and the cache learn of them, and that nothing leaks past them.

use banyan_config::{AuthBy, RouteAction};
use banyan_edge::{LinkKeys, Terms};
use banyan_testkit::upstream::Upstream;
use tempfile::TempDir;

use super::auth::{auth, only, private};
use super::{asking, route};
use crate::cache::{Asked, ok, origin, safe};
use crate::world::World;

const NEW: &str = "new:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const OLD: &str = "old:ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
/// Far away.
const LATER: u64 = 4_000_000_000;

struct Guarded {
    world: World,
    asked: Asked,
    _files: TempDir,
    _upstream: Upstream,
}

/// `/private` opens by links, `/either` by links or the key "foo", `/page` is the edge's own; all of it may be kept.
async fn guarded() -> Guarded {
    let (upstream, asked) = origin(|count, request| {
        ok(
            "Cache-Control: public, max-age=60\r\n",
            &format!("{} {count}", request.target()),
        )
    })
    .await;
    let files = TempDir::new().unwrap();
    let world = World::with(&[upstream.address], |s| {
        s.settings.cache = Some(Box::new(safe()));
        let dir = files.path();
        private(&dir.join("links"), &format!("{NEW}{OLD}"));
        private(
            &dir.join("keys"),
            "acme:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\n",
        );
        s.settings.auth = [
            (
                "links".to_owned(),
                auth(AuthBy::Links {
                    file: dir.join("links"),
                }),
            ),
            (
                "partners".to_owned(),
                auth(AuthBy::Keys {
                    file: dir.join("keys"),
                    header: "x-api-key".to_owned(),
                }),
            ),
        ]
        .into();
        let mut page = route("page", only(&["links"]));
        page.action = RouteAction::Respond {
            status: 200,
            body: "secret page".to_owned(),
            content_type: "text/plain".to_owned(),
        };
        s.routes = vec![
            route("private", only(&["links"])),
            route("either", only(&["links", "partners"])),
            page,
        ];
    })
    .await;
    Guarded {
        world,
        asked,
        _files: files,
        _upstream: upstream,
    }
}

fn link(path: &str, key: Option<&str>, change: impl FnOnce(&mut Terms)) -> String {
    let mut terms = Terms {
        below: false,
        expires: LATER,
        client: None,
    };
    change(&mut terms);
    let keys = LinkKeys::read(&format!("{NEW}{OLD}"));
    keys.sign(&path.parse().unwrap(), key, &terms).unwrap()
}

#[tokio::test]
async fn a_kept_private_picture_reaches_nobody_without_a_good_link() {
    let it = guarded().await;
    // Two links of two keys for one picture: one resource.
    for key in [None, Some("old")] {
        let answer = it.world.get(&link("/private/a.jpg?w=4", key, |_| ())).await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "/private/a.jpg?w=4 1")
        );
    }
    assert_eq!(it.asked.count(), 1);
    let good = link("/private/a.jpg?w=4", None, |_| ());
    let spoilt = good.replace("banyan-signature=", "banyan-signature=0");
    let of_another = link("/private/b.jpg?w=4", None, |_| ()).replace("b.jpg", "a.jpg");
    let old = link("/private/a.jpg?w=4", None, |terms| terms.expires = 1_000_000_000);
    let elsewhere = link("/private/a.jpg?w=4", None, |terms| {
        terms.client = Some("203.0.113.0/24".parse().unwrap());
    });
    for (path, why) in [
        ("/private/a.jpg?w=4", "this opens by a signed link only"),
        (&spoilt, "the signature of this link is not good"),
        (&of_another, "the signature of this link is not good"),
        (&old, "this link has expired"),
        (&elsewhere, "this link is not for your address"),
        ("/private/a.jpg", "this opens by a signed link only"),
    ] {
        for method in ["GET", "HEAD", "POST"] {
            let text = asking(path, "").replacen("GET", method, 1);
            let mut client = it.world.client().await;
            client.send(&text).await;
            let answer = if method == "HEAD" {
                client.head().await.expect("an answer")
            } else {
                client.message().await.expect("an answer")
            };
            assert_eq!(answer.status(), 403, "{method} {path}");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert!(
                method == "HEAD" || answer.text().contains(why),
                "{path}: {}",
                answer.text()
            );
        }
    }
    assert_eq!(it.asked.count(), 1);
}

#[tokio::test]
async fn a_prefix_opens_what_is_below_and_here_is_the_clients_network() {
    let it = guarded().await;
    let link = link("/private/7/", None, |terms| {
        terms.below = true;
        terms.client = Some("127.0.0.0/8".parse().unwrap());
    });
    let own = link.split_once('?').unwrap().1;
    for (path, status) in [
        ("/private/7/a.jpg", 200),
        ("/private/7/x/b.jpg", 200),
        ("/private/8/a.jpg", 403),
        ("/private/7%2f..%2f8/a.jpg", 400),
    ] {
        assert_eq!(
            it.world.get(&format!("{path}?{own}")).await.status(),
            status,
            "{path}"
        );
    }
    assert_eq!(it.asked.last().target(), "/private/7/x/b.jpg");
}

#[tokio::test]
async fn a_link_stands_beside_other_ways_and_opens_what_the_edge_itself_answers() {
    let it = guarded().await;
    assert_eq!(it.world.get("/either/a").await.status(), 401);
    let by_key = it.world.ask(&asking("/either/a", "X-Api-Key: foo\r\n")).await;
    assert_eq!(by_key.status(), 200);
    assert_eq!(it.world.get(&link("/either/a", None, |_| ())).await.status(), 200);
    assert_eq!(it.world.get("/page").await.status(), 403);
    let page = it.world.get(&link("/page", None, |_| ())).await;
    assert_eq!(page.text(), "secret page");
}

#[tokio::test]
async fn a_key_that_leaves_the_file_opens_nothing_any_more() {
    let mut it = guarded().await;
    let by_old = link("/private/a.jpg", Some("old"), |_| ());
    assert_eq!(it.world.get(&by_old).await.status(), 200);
    let AuthBy::Links { file } = it.world.snapshot.settings.auth["links"].by.clone() else {
        panic!("no links");
    };
    private(&file, NEW);
    it.world
        .until(|report| {
            report
                .auth
                .iter()
                .any(|auth| auth.name == "links" && auth.entries == 1)
        })
        .await;
    it.world.settled().await;
    assert_eq!(it.world.get(&by_old).await.status(), 403);
    assert_eq!(
        it.world.get(&link("/private/a.jpg", None, |_| ())).await.status(),
        200
    );
}
