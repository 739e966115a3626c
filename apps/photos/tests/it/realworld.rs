//! The outside suite: 13 files, 154 requests.

use banyan_testkit::hurl::{self, realworld_suite};

use crate::world::World;

#[tokio::test]
async fn the_realworld_suite_passes() {
    passes_in(World::new().await).await;
}

#[tokio::test]
async fn the_realworld_suite_passes_with_a_cache() {
    passes_in(World::with_cache().await).await;
}

async fn passes_in(world: World) {
    let Some(suite) = realworld_suite() else {
        eprintln!("skipped: the RealWorld suite is not beside the project (../shared/spec/realworld)");
        return;
    };
    let app = world.ready("web.1").await;
    // Twice: what the first run leaves behind must not disturb the second.
    for uid in ["one", "two"] {
        let report = hurl::run_folder(&suite, &app.base(), uid)
            .await
            .unwrap_or_else(|failure| panic!("{failure}\n{}", app.process.stderr()));
        assert_eq!((report.files, report.requests), (13, 154), "{report}");
    }
}
