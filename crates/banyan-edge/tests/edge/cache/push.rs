//! Files that the edge is given before anybody asks.

use std::fs;
use std::path::Path;

use banyan_config::RouteAction;
use banyan_topology::sight::{Answer, Push, Question};
use sha2::{Digest, Sha256};

use super::sight::ask;
use super::{get, ok, origin, safe, said};
use crate::routes::{prefix, route, to};
use crate::world::World;

fn announced(file: &Path, path: &str) -> Push {
    let bytes = fs::read(file).unwrap();
    let digest = Sha256::digest(&bytes);
    Push {
        url: format!("http://APP.example:80{path}"),
        file: file.to_owned(),
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        bytes: bytes.len() as u64,
        modified: Some(784_111_777),
        cache_control: Some("max-age=60".to_owned()),
    }
}

async fn push(world: &World, push: Push) -> Result<i64, String> {
    match ask(world, &Question::Push(Box::new(push))).await {
        Answer::Pushed { ttl_s, .. } => Ok(ttl_s),
        Answer::Refused { why } => Err(why),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pushed_file_is_an_answer_as_the_app_would_give_it_also_to_conditions_and_for_a_route() {
    let (upstream, asked) = origin(|_, _| ok("", "x")).await;
    let world = World::with(&[upstream.address], |snapshot| {
        snapshot.settings.cache = Some(Box::new(safe()));
        let own = snapshot.upstream.process.to_string();
        snapshot.routes = vec![route("routed", prefix("/routed"), to(&own, None))];
    })
    .await;
    let file = world.dir.path().join("site.css");
    fs::write(&file, "body {}").unwrap();
    for path in ["/plain/site.css", "/routed/site.css"] {
        assert_eq!(push(&world, announced(&file, path)).await, Ok(60), "{path}");
        let answer = world.ask(&get(path, "")).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "body {}"));
        assert!(said(&answer).starts_with("hit"), "{path}: {}", said(&answer));
        assert_eq!(answer.header("content-type"), "text/css; charset=utf-8");
        assert_eq!(answer.header("last-modified"), "Sun, 06 Nov 1994 08:49:37 GMT");
        let condition = format!("If-None-Match: {}\r\n", answer.header("etag"));
        assert_eq!(world.ask(&get(path, &condition)).await.status(), 304, "{path}");
    }
    assert_eq!(asked.count(), 0);
}

#[tokio::test]
async fn what_is_not_the_announced_file_or_cannot_be_kept_is_refused_with_the_reason() {
    let (upstream, _asked) = origin(|_, _| ok("", "x")).await;
    let world = World::with(&[upstream.address], |snapshot| {
        snapshot.settings.cache = Some(Box::new(safe()));
        let notice = RouteAction::Maintenance {
            message: "soon".to_owned(),
        };
        snapshot.routes = vec![route("own", prefix("/own"), notice)];
    })
    .await;
    let file = world.dir.path().join("a.css");
    fs::write(&file, "first").unwrap();
    let announced = announced(&file, "/a.css");
    let refused = async |change: &dyn Fn(&mut Push)| {
        let mut changed = announced.clone();
        change(&mut changed);
        push(&world, changed).await.unwrap_err()
    };
    let url = |path: &str| format!("http://app.example{path}");
    let unsaid = refused(&|push| push.cache_control = None).await;
    assert!(
        unsaid.starts_with("nothing says how long it is fresh"),
        "{unsaid}"
    );
    let private = refused(&|push| push.cache_control = Some("private".to_owned())).await;
    assert_eq!(private, "it is not kept: private");
    let double = refused(&|push| push.url = url("/a%2fb")).await;
    assert!(double.contains("two ways"), "{double}");
    let own = refused(&|push| push.url = url("/own/a")).await;
    assert_eq!(own, "route own answers it itself: nothing of it is kept");
    let none = refused(&|push| push.file = push.file.with_extension("gone")).await;
    assert!(none.contains("the edge cannot read"), "{none}");
    fs::write(&file, "other").unwrap();
    let other = refused(&|_| {}).await;
    assert!(other.ends_with("has changed meanwhile"), "{other}");
}

/// Longer than the memory keeps: copied to the disk, and cut from there.
#[tokio::test]
async fn a_long_file_is_put_on_the_disk_and_one_for_which_there_is_no_room_is_refused() {
    let (upstream, asked) = origin(|_, _| ok("", "x")).await;
    let world = World::with(&[upstream.address], |snapshot| {
        snapshot.settings.cache = Some(Box::new(banyan_config::Cache {
            memory: 8 << 20,
            disk: Some(16 << 20),
            ..safe()
        }));
    })
    .await;
    let file = world.dir.path().join("film.mp4");
    let body: Vec<u8> = (0..700_000_u32).flat_map(u32::to_be_bytes).collect();
    fs::write(&file, &body).unwrap();
    let mut changed = announced(&file, "/film.mp4");
    changed.sha256 = "0".repeat(64);
    assert!(
        push(&world, changed)
            .await
            .unwrap_err()
            .ends_with("has changed meanwhile")
    );
    assert_eq!(push(&world, announced(&file, "/film.mp4")).await, Ok(60));
    let whole = world.ask(&get("/film.mp4", "")).await;
    assert!(
        said(&whole).starts_with("hit") && whole.body == body,
        "{}",
        said(&whole)
    );
    let part = world
        .ask(&get("/film.mp4", "Range: bytes=2000000-2000003\r\n"))
        .await;
    assert_eq!(
        (part.status(), part.body),
        (206, body[2_000_000..2_000_004].to_vec())
    );
    fs::write(&file, vec![0; 5 << 20]).unwrap();
    let refused = push(&world, announced(&file, "/film.mp4")).await.unwrap_err();
    assert_eq!(
        refused,
        "5242880 bytes are more than an eighth of `memory` and a quarter of `disk` in [edge.cache]"
    );
    assert_eq!(asked.count(), 0);
}
