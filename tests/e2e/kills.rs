//! Instances that die without notice.

use banyan_testkit::ledger::Outcome;
use banyan_testkit::load::Report;

use crate::scenario::{Loaded, kills};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_killed_each_second_costs_at_most_the_writes_it_had_received_under_load() {
    let mut loaded = Loaded::start(3).await;
    let killed = kills(&mut loaded, 10).await;
    assert!(killed >= 8, "only {killed} kills");
    let (mut installation, report) = loaded.judged().await;
    assert_only_received_requests_failed(&report, killed);
    installation.down().await;
}

/// A failure is allowed where bytes of a write, or of an answer, had passed: a 502 of unknown outcome, or a cut answer.
/// Reads without an answer's bytes go to another instance.
pub(crate) fn assert_only_received_requests_failed(report: &Report, killed: usize) {
    let failures = report.failures();
    println!(
        "{killed} kills: {} failed requests\n{}",
        failures.len(),
        report.explain(20)
    );
    for sample in &failures {
        let answer = &sample.answer;
        let cut = !answer.detail.starts_with(|first: char| first.is_ascii_digit());
        let allowed = answer.outcome == Outcome::Unknown && (answer.kind == "write" || cut);
        assert!(
            allowed,
            "not a request in flight at a kill:\n{}",
            report.explain(20)
        );
    }
    // At 200 requests/s and a few milliseconds each, more than a handful in flight per kill is a bug, not bad luck.
    assert!(failures.len() <= killed * 5, "{}", report.explain(50));
}
