//! The PostgreSQL proxy's own process: killed, or replaced by that of a new banyan, while people use the site.

use std::time::Duration;

use banyan_e2e::{Installation, site};
use banyan_testkit::{Port, wait};
use rustix::process::{Pid, Signal, kill_process};

use crate::scenario::Loaded;
use crate::servers::{RATE, proxied, row, set};

const LIMIT: Duration = Duration::from_secs(120);

async fn pid(installation: &Installation) -> Option<u64> {
    let row = row(installation, "pgproxy").await?;
    row["pid"].as_u64().filter(|_| row["state"] == "ready")
}

/// SIGKILL; returns when another one is ready.
async fn kill(installation: &Installation) {
    let old = pid(installation).await.expect("the proxy runs");
    let process = Pid::from_raw(i32::try_from(old).unwrap()).unwrap();
    kill_process(process, Signal::KILL).unwrap();
    let back = wait::until("another proxy", LIMIT, async || match pid(installation).await {
        Some(new) if new != old => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    back.await
        .unwrap_or_else(|timed_out| panic!("{timed_out}\n{}", installation.logs()));
}

/// Its clients' connections end with it, so what was in flight has failed; what came meanwhile has waited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_proxy_costs_what_was_in_flight_and_no_acknowledged_write_under_load() {
    const KILLS: usize = 3;
    let mut loaded = Loaded::of(proxied(&[]), RATE).await;
    for _ in 0..KILLS {
        loaded
            .during("kill -9 of the proxy", async |it| kill(it).await)
            .await;
    }
    let (mut installation, report) = loaded.judged_without_a_database().await;
    let failed = report.failures().len();
    println!("{KILLS} kills: {failed} failed requests\n{}", report.explain(20));
    // Each of two instances has ten connections at most; one request each is in flight, or tries a broken one.
    assert!(failed <= KILLS * 20, "{}", report.explain(100));
    installation.down().await;
}

/// Instances are told of the port at their start, so they are replaced; meanwhile the proxy accepts at both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_goes_to_another_port_and_back_and_fails_nothing_under_load() {
    let mut loaded = Loaded::of(proxied(&[]), RATE).await;
    let old = port(&loaded.installation).await;
    let reserved = Port::free();
    let new = reserved.address().port();
    loaded
        .during("another port", async |it| {
            let keys = format!("pgproxy = {{ port = {new} }}");
            it.apply(|manifest| set(manifest, &[&keys])).await;
        })
        .await;
    assert_moved(&loaded.installation, old, new).await;
    loaded
        .during("and back by revert", async |it| {
            let undone = it.try_verb(&["apply", "--revert"]).await;
            assert_eq!(undone.code(), 0, "{}", undone.output());
        })
        .await;
    assert_moved(&loaded.installation, new, old).await;
    let (mut installation, report) = loaded.judged().await;
    assert!(
        report.failures().is_empty(),
        "{}\n{}",
        report.explain(20),
        installation.logs()
    );
    installation.down().await;
}

async fn port(installation: &Installation) -> u16 {
    let row = row(installation, "pgproxy").await.expect("the proxy runs");
    u16::try_from(row["port"].as_u64().unwrap()).unwrap()
}

/// Every instance leads to the new one, and nobody listens at the old one.
async fn assert_moved(installation: &Installation, from: u16, to: u16) {
    assert_eq!(port(installation).await, to);
    for (instance, pid) in installation.instances().await {
        let url = site::database_url(pid);
        assert!(url.contains(&format!(":{to}/")), "{instance}: {url}");
    }
    let gone = tokio::net::TcpStream::connect(("127.0.0.1", from)).await;
    assert!(gone.is_err(), "somebody listens on {from}");
}

/// As builds and packages do it: banyan's file is another one, and `apply` starts what runs anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_of_a_new_banyan_takes_over_and_fails_nothing_under_load() {
    let mut installation = Installation::new(proxied(&["replicas = 1"]));
    installation.rebuild_banyan("first");
    let mut loaded = Loaded::over(installation, RATE).await;
    for build in ["second", "third"] {
        let before = pid(&loaded.installation).await.unwrap();
        loaded
            .during("another proxy", async |it| {
                it.rebuild_banyan(build);
                let applied = it.verb(&["apply"]).await;
                let told = applied.output();
                assert!(
                    told.contains("replace the pgproxy process without a break"),
                    "{told}"
                );
            })
            .await;
        assert_ne!(pid(&loaded.installation).await.unwrap(), before);
    }
    let (mut installation, report) = loaded.judged().await;
    let failures = report.failures();
    assert!(
        failures.is_empty(),
        "{}\n{}",
        report.explain(20),
        installation.logs()
    );
    let plan = installation.try_verb(&["plan"]).await;
    assert!(
        plan.output().to_lowercase().contains("nothing"),
        "{}",
        plan.output()
    );
    installation.down().await;
}
