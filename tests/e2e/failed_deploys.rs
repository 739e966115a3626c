//! A new version that does not work is taken back by itself, says why, and costs no request.

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::ledger::Outcome;
use banyan_testkit::load::{Answer, Load};

/// Arguments of the new version, and words that its message must have.
const BROKEN: [(&str, &[&str]); 4] = [
    ("--exit 3", &["web.1@r", "exited", "code 3", "boom"]),
    ("--never-listen", &["web.1@r", "not ready"]),
    ("--status 500", &["web.1@r", "not ready", "500"]),
    ("--port-offset 1", &["web.1@r", "not ready", "listens on"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_never_becomes_ready_is_rolled_back_and_fails_nothing_under_load() {
    let good = Manifest::misfit("")
        .env("VERSION", "good")
        .process("start_grace = \"2s\"");
    let mut installation = Installation::new(Manifest {
        count: 2,
        ready: Some("/".to_owned()),
        ..good
    });
    installation.up().await;
    let client = std::sync::Arc::new(installation.client());
    let load = Load::start(100, move |_| {
        let client = std::sync::Arc::clone(&client);
        async move {
            let (outcome, detail) = match client.get("/").await {
                Ok(answer) if &answer.body()[..] == b"misfit good\n" => {
                    (Outcome::Acknowledged, String::new())
                }
                Ok(answer) => (
                    Outcome::Refused,
                    format!("{}: {:?}", answer.status(), answer.body()),
                ),
                Err(failure) => (Outcome::Unknown, failure.to_string()),
            };
            Answer {
                kind: "read",
                outcome,
                detail,
            }
        }
    });
    let before = names(&installation).await;
    for (args, words) in BROKEN {
        installation.manifest.command = format!("./misfit {args}");
        installation.write_manifest();
        let finished = installation.try_verb(&["deploy"]).await;
        println!("deploy of `misfit {args}`:\n{}", finished.stderr);
        assert_eq!(finished.code(), 1, "{}", finished.output());
        for word in words.iter().chain(&["as before"]) {
            assert!(
                finished.stderr.contains(word),
                "`{word}` is missing for {args}:\n{}",
                finished.stderr
            );
        }
        assert_eq!(names(&installation).await, before, "the system is as before");
    }
    let report = load.stop().await;
    println!("{report}");
    assert!(
        report.failures().is_empty(),
        "{}\n{}",
        report.explain(20),
        installation.logs()
    );
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_release_command_stops_the_deploy_before_any_instance() {
    let mut installation = Installation::new(Manifest::misfit("").env("VERSION", "good"));
    installation.up().await;
    let before = names(&installation).await;
    installation.manifest.release = Some("./misfit --exit 7".to_owned());
    installation.write_manifest();
    let finished = installation.try_verb(&["deploy"]).await;
    assert_eq!(finished.code(), 1, "{}", finished.output());
    for word in ["release command", "7", "boom"] {
        assert!(
            finished.stderr.contains(word),
            "`{word}` is missing:\n{}",
            finished.stderr
        );
    }
    assert_eq!(names(&installation).await, before);
    installation.down().await;
}

async fn names(installation: &Installation) -> Vec<(String, u32)> {
    let mut instances = installation.instances().await;
    instances.sort();
    instances
}
