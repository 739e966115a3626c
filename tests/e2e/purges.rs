//! `banyan purge` and `POST /purge` on the running system: what was purged is served to nobody who asks later, whatever dies.

mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use banyan_testkit::http::Client;
use banyan_testkit::wait;
use bytes::Bytes;
use http::{Method, Request};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::edge_restarts::edge_pid;
use world::{Readers, Site, acknowledged, number, purge, signal};

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_purged_is_served_after_the_acknowledgement_whatever_is_killed_or_replaced_under_load() {
    let mut site = Site::up().await;
    let readers = Readers::start(&site);
    acknowledged(&site, &readers, 1..=20).await;
    let first = edge_pid(&site.installation).await;
    site.say(21);
    let (purged, ()) = tokio::join!(purge(&site, 21), async { signal(first, Signal::KILL) });
    if purged {
        readers.acknowledged.store(21, Ordering::SeqCst);
    }
    acknowledged(&site, &readers, 22..=30).await;
    // In the middle of purges, too.
    site.say(31);
    {
        let going = purge(&site, 31);
        let mut going = std::pin::pin!(going);
        let _pending = tokio::time::timeout(Duration::from_millis(1), &mut going).await;
    }
    site.installation.kill_controller();
    site.installation.start_controller();
    site.installation.serving("/").await;
    acknowledged(&site, &readers, 32..=40).await;
    site.installation
        .apply(|manifest| manifest.edge.push("workers = 3".to_owned()))
        .await;
    acknowledged(&site, &readers, 41..=50).await;
    let wrong = readers.end().await;
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", site.installation.logs());
    site.installation.down().await;
}

/// The disk is warm each time: what was not purged comes from there, and the app is not asked for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_purged_does_not_come_back_from_the_disk_whatever_starts_again() {
    let mut site = Site::up_with("disk = \"64MiB\",").await;
    site.installation.serving("/").await;
    assert_eq!((site.told("/a").await, site.told("/b").await), (0, 0));
    for version in 1..=6 {
        site.lie(3).await;
        site.say(version);
        let url = site.url("/a");
        let (status, said) = match version % 2 {
            0 => {
                site.post(&site.token(), &json!({ "urls": [url], "hard": true }))
                    .await
            }
            _ => {
                site.post(&site.token(), &json!({ "globs": ["*/a"], "hard": true }))
                    .await
            }
        };
        assert_eq!(status, 200, "{said}");
        match version {
            1..=4 => site.replace_edge().await,
            5 => {
                // Nobody has told the others that it ended.
                let edge = edge_pid(&site.installation).await;
                site.installation.kill_controller();
                signal(edge, Signal::KILL);
                site.installation.start_controller();
                site.installation.serving("/").await;
            }
            _ => {
                site.installation.down().await;
                site.installation.up().await;
            }
        }
        assert_eq!(site.told("/a").await, version, "{}", site.installation.logs());
        assert_eq!(site.told("/b").await, 0, "{}", site.installation.logs());
    }
    // And all of it.
    site.lie(3).await;
    site.say(7);
    let (status, said) = site
        .post(&site.token(), &json!({ "all": true, "hard": true }))
        .await;
    assert_eq!(status, 200, "{said}");
    site.replace_edge().await;
    assert_eq!((site.told("/a").await, site.told("/b").await), (7, 7));
    site.installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_waits_for_the_edge_names_it_when_it_is_silent_and_holds_when_it_is_back() {
    let mut site = Site::up().await;
    assert_eq!(site.told("/a").await, 0);
    site.say(1);
    assert_eq!(site.told("/a").await, 0, "it is cached");
    let url = site.url("/a");
    let said = site.installation.verb(&["purge", "--hard", &url]).await;
    assert!(said.stdout.contains("is applied by the edge"), "{}", said.stdout);
    assert_eq!(site.told("/a").await, 1);
    let pid = edge_pid(&site.installation).await;
    site.say(2);
    signal(pid, Signal::STOP);
    wait::until("the edge to be stopped", LIMIT, async || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        if stat.contains(") T ") { Ok(()) } else { Err(stat) }
    })
    .await
    .unwrap();
    let silent = site
        .installation
        .try_verb(&["--json", "cdn", "purge", "--hard", &url])
        .await;
    signal(pid, Signal::CONT);
    assert_eq!(silent.code(), 1, "{}", silent.output());
    assert!(
        silent.stderr.contains(&format!("(pid {pid})")),
        "{}",
        silent.output()
    );
    let told: Value = serde_json::from_str(&silent.stdout).unwrap();
    assert_eq!(
        (told["complete"].as_bool(), told["purged"]["seq"].as_u64()),
        (Some(false), Some(2))
    );
    wait::until("the purge to be applied", LIMIT, async || {
        match site.told("/a").await {
            2 => Ok(()),
            old => Err(old),
        }
    })
    .await
    .unwrap();
    let wrong = site.installation.try_verb(&["purge", "/a"]).await;
    assert_eq!(wrong.code(), 1);
    assert!(
        wrong.stderr.contains("no whole URL: write scheme and host"),
        "{}",
        wrong.stderr
    );
    let warmed = ["/w1", "/w2"].map(|path| site.url(path));
    for expected in ["2 stored, 0 were there", "0 stored, 2 were there"] {
        let said = site
            .installation
            .verb(&["cdn", "warm", "--rate", "1000", &warmed[0], &warmed[1]])
            .await;
        assert!(said.stdout.contains(expected), "{}", said.output());
    }
    let stats = site.installation.verb(&["cdn", "stats"]).await;
    assert!(
        stats.stdout.contains("OF CACHEABLE") && stats.stdout.contains("/a"),
        "{}",
        stats.stdout
    );
    let told = site.installation.verb(&["cdn", "explain", &url]).await;
    for expected in [
        format!("key      {url}"),
        "verdict  a hit".to_owned(),
        "a change is seen after 1h".to_owned(),
    ] {
        assert!(told.stdout.contains(&expected), "{expected}\n{}", told.stdout);
    }
    site.installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_reaches_three_edges_and_so_does_what_a_change_makes_untrue_also_when_one_is_killed() {
    let mut site = Site::with_three_edges().await;
    let addresses = site.edges();
    // One name for all of them, as users have.
    let ask = async |method: Method, address| {
        let request = Request::builder()
            .method(method)
            .uri("/a")
            .header("host", "shop.example");
        let client = Client::fresh_connections(address);
        let answer = client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
        number(answer.body()).unwrap()
    };
    let told = async || {
        let mut told = Vec::new();
        for address in &addresses {
            told.push(ask(Method::GET, *address).await);
        }
        told
    };
    assert_eq!(told().await, [0, 0, 0]);
    site.say(1);
    assert_eq!(told().await, [0, 0, 0], "each has it");
    let url = "http://shop.example/a";
    let said = site.installation.verb(&["--json", "purge", "--hard", url]).await;
    let said: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(said["purged"]["edges"].as_array().unwrap().len(), 3, "{said}");
    println!("three edges after {} ms", said["purged"]["took_ms"]);
    assert_eq!(told().await, [1, 1, 1]);
    site.say(2);
    site.kill_south().await;
    site.installation.verb(&["purge", "--hard", url]).await;
    site.installation.serving("/").await;
    let all = async || match Client::fresh_connections(addresses[1]).get("/").await {
        Ok(_) => Ok(()),
        Err(failure) => Err(failure.to_string()),
    };
    wait::until("the killed edge to serve again", LIMIT, all)
        .await
        .unwrap();
    assert_eq!(told().await, [2, 2, 2]);
    // What passes one edge and changes something, the others hear of.
    site.say(3);
    ask(Method::POST, addresses[1]).await;
    wait::until("all edges to have forgotten it", LIMIT, async || {
        match told().await {
            told if told == [3, 3, 3] => Ok(()),
            told => Err(format!("{told:?}")),
        }
    })
    .await
    .unwrap_or_else(|late| panic!("{late}\n{}", site.installation.logs()));
    site.installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_edges_none_serves_what_was_purged_also_when_one_is_killed_in_the_middle_under_load() {
    let mut site = Site::with_three_edges().await;
    let readers = Readers::start(&site);
    acknowledged(&site, &readers, 1..=8).await;
    site.say(9);
    let (purged, ()) = tokio::join!(purge(&site, 9), site.kill_south());
    if purged {
        readers.acknowledged.store(9, Ordering::SeqCst);
    }
    acknowledged(&site, &readers, 10..=16).await;
    let wrong = readers.end().await;
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", site.installation.logs());
    site.installation.down().await;
}

/// Each key is at one of them: whoever asks another edge gets what that one has, and the next on the ring has it while it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_edges_beside_each_other_none_serves_what_was_purged_whoever_is_killed_under_load() {
    let mut site = Site::with_edges_beside().await;
    let readers = Readers::start(&site);
    acknowledged(&site, &readers, 1..=6).await;
    let owner = site.owner("/0").await;
    let all = ["edge", "edge-south", "edge-west"];
    let other = all.into_iter().find(|edge| *edge != owner).unwrap().to_owned();
    for (version, killed) in [(7, owner), (12, other)] {
        let pid = site.pid(&killed).await.unwrap();
        site.say(version);
        let (purged, ()) = tokio::join!(purge(&site, version), async { signal(pid, Signal::KILL) });
        if purged {
            readers.acknowledged.store(version, Ordering::SeqCst);
        }
        acknowledged(&site, &readers, version + 1..=version + 2).await;
        site.replaced(&killed, pid).await;
        acknowledged(&site, &readers, version + 3..=version + 4).await;
    }
    let wrong = readers.end().await;
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", site.installation.logs());
    site.installation.down().await;
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_over_http_are_for_whoever_has_the_token() {
    let mut site = Site::up().await;
    let url = site.url("/a");
    assert_eq!(site.told("/a").await, 0);
    site.say(1);
    let token = site.token();
    assert_eq!(
        mode(&site.installation.state().join("secrets/purge-token")),
        0o600
    );
    let (status, said) = site.post("0123456789abcdef", &json!({ "all": true })).await;
    assert_eq!(status, 401, "{said}");
    let (status, said) = site.post(&token, &json!({ "urls": ["/a"] })).await;
    assert_eq!(status, 400);
    assert!(said["error"].as_str().unwrap().contains("no whole URL"), "{said}");
    let (status, said) = site.post(&token, &json!({ "url": url })).await;
    assert_eq!(status, 400);
    assert!(
        said["error"]
            .as_str()
            .unwrap()
            .contains("urls, prefixes, globs, tags"),
        "{said}"
    );
    assert_eq!(site.told("/a").await, 0, "none of it has purged anything");
    let (status, said) = site.post(&token, &json!({ "urls": [url], "hard": true })).await;
    assert_eq!(
        (status.as_u16(), said["complete"].as_bool()),
        (200, Some(true)),
        "{said}"
    );
    assert_eq!(site.told("/a").await, 1);
    // Without a cache there is nothing to purge, and nobody listens.
    site.installation.apply(|manifest| manifest.edge.clear()).await;
    let refused = site.installation.try_verb(&["purge", "--all"]).await;
    assert!(
        refused.stderr.contains("there is no cache to purge"),
        "{}",
        refused.output()
    );
    let address = site.endpoint.address();
    wait::until(
        "the port to be given up",
        LIMIT,
        async || match tokio::net::TcpStream::connect(address).await {
            Ok(_) => Err("somebody listens"),
            Err(_) => Ok(()),
        },
    )
    .await
    .unwrap();
    site.installation.down().await;
}
