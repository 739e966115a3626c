//! From nothing to a site that answers, and the outside suite that says whether it answers right.

use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::wait;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_brings_the_site_from_nothing_to_its_first_200() {
    let mut installation = Installation::new(Manifest::photos(1));
    let took = installation.up().await;
    println!(
        "from `banyan up` to the first 200, PostgreSQL's initdb included: {:.2} s",
        took.as_secs_f64()
    );

    let page = installation.client().get("/").await.unwrap();
    let text = String::from_utf8_lossy(page.body());
    assert!(text.contains("<html"), "the page is HTML: {text}");

    let status = installation.status().await;
    assert_eq!(status["app"], "photos");
    let url = status["url"].as_str().unwrap();
    assert!(url.contains(&installation.edge_address().to_string()), "{url}");
    assert!(
        installation.controller_output().contains(url),
        "up prints the URL"
    );
    let kinds: Vec<&str> = status["children"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["kind"].as_str())
        .collect();
    for kind in ["edge", "web"] {
        assert!(kinds.contains(&kind), "{kind} is in {kinds:?}");
    }
    assert!(kinds.iter().any(|kind| kind.starts_with("postgres")), "{kinds:?}");
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_detached_returns_once_it_serves_and_down_ends_it() {
    let installation = Installation::new(Manifest::misfit(""));
    installation.verb(&["up", "--detach"]).await;
    let page = installation.client().get("/").await.unwrap();
    assert_eq!(&page.body()[..], b"misfit \n");
    installation.verb(&["down"]).await;
    // The controller has answered that all is stopped, and ends itself then.
    wait::until("nothing to run", Duration::from_secs(30), async || {
        let running = installation.running();
        if running.is_empty() {
            Ok(())
        } else {
            Err(format!("{running:?}"))
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_finds_the_data_of_the_first() {
    let mut installation = Installation::new(Manifest::photos(1));
    installation.up().await;
    let site = banyan_e2e::Site::open(&installation).await;
    installation.down().await;
    let took = installation.up().await;
    println!(
        "from `banyan up` to the first 200, data present: {:.2} s",
        took.as_secs_f64()
    );
    assert_eq!(site.read_post(&installation).await, 200);
    installation.down().await;
}
