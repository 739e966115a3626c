//! Files of the new release while the old one still serves.

use banyan_config::{CacheClass, CacheRule};
use banyan_testkit::upstream::Upstream;

use super::{Asked, answer, ok, origin, rule, safe, said};
use crate::world::World;

async fn world(releases: [u32; 2]) -> (World, [Asked; 2], [Upstream; 2]) {
    let (old, old_asked) = origin(|_, _| answer("404 Not Found", "", "no such file")).await;
    let (new, new_asked) = origin(|_, _| ok("", "the file")).await;
    let mut cache = safe();
    cache.rules.push(CacheRule {
        class: Some(CacheClass::Versioned),
        ..rule("/assets/*")
    });
    let world = World::with(&[old.address, new.address], |snapshot| {
        snapshot.settings.cache = Some(Box::new(cache));
        for (slot, release) in (1..).zip(releases) {
            snapshot.upstream.endpoints[slot - 1].id = format!("web.{slot}@r{release}").parse().unwrap();
        }
    })
    .await;
    (world, [old_asked, new_asked], [old, new])
}

#[tokio::test]
async fn a_file_that_one_release_lacks_is_asked_of_the_other_once() {
    let (mut world, [old, new], _serving) = world([1, 2]).await;
    world.settled().await;
    for n in 0..8 {
        let answer = world.get(&format!("/assets/app.{n}.js")).await;
        assert_eq!((answer.status(), answer.text()), (200, "the file".to_owned()));
        assert!(said(&answer).contains("stored"), "{}", said(&answer));
    }
    assert_eq!(new.count(), 8);
    let before = old.count();
    let mut missing = 0;
    for n in 0..8 {
        missing += usize::from(world.get(&format!("/other/{n}")).await.status() == 404);
    }
    assert_eq!(
        old.count() - before,
        missing,
        "other addresses are asked for once"
    );
}

#[tokio::test]
async fn without_a_rollout_a_404_is_an_answer() {
    let (mut world, [old, new], _serving) = world([1, 1]).await;
    world.settled().await;
    for n in 0..8 {
        world.get(&format!("/assets/app.{n}.js")).await;
    }
    assert_eq!(old.count() + new.count(), 8);
}
