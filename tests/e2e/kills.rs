//! Instances that die without notice.

use banyan_testkit::ledger::Outcome;
use banyan_testkit::load::Report;

use crate::scenario::{KILLED, Loaded, kills};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_killed_each_second_costs_at_most_the_writes_it_had_received_under_load() {
    let mut loaded = Loaded::start(3).await;
    kills(&mut loaded, 10).await;
    let (mut installation, report) = loaded.judged().await;
    assert_only_received_requests_failed(&report);
    installation.down().await;
}

/// A failure is allowed where bytes of a write, or of an answer, had passed to an instance that was killed: a 502 of unknown
/// outcome, or a cut answer. Reads without an answer's bytes go to another instance. How many were on their way at a kill is
/// the machine's speed and says nothing; that each was says that no kill cost a request that came after it.
pub(crate) fn assert_only_received_requests_failed(report: &Report) {
    let failures = report.failures();
    println!("{} failed requests\n{}", failures.len(), report.explain(20));
    let outside = report.failures_outside(KILLED);
    assert!(outside.is_empty(), "not in flight at a kill: {outside:?}");
    for sample in failures {
        let answer = &sample.answer;
        let cut = !answer.detail.starts_with(|first: char| first.is_ascii_digit());
        let received = answer.outcome == Outcome::Unknown && (answer.kind == "write" || cut);
        assert!(received, "{sample:?}\n{}", report.explain(50));
    }
}
