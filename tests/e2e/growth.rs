//! Everything a person does to a running system costs its users nothing.

use crate::scenario::{Loaded, changes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scalings_deploys_a_rollback_edge_settings_and_a_killed_controller_fail_nothing_under_load() {
    let mut loaded = Loaded::start(1).await;
    changes(&mut loaded, 0).await;
    let (mut installation, report) = loaded.judged().await;
    assert!(
        report.failures().is_empty(),
        "{report}\n{}\n{}",
        report.explain(20),
        installation.logs()
    );
    installation.down().await;
}
