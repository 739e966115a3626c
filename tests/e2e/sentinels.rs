//! A Redis of one's own that Sentinels fail over, while people use the site.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::watched::Watched;
use banyan_testkit::{Redis, wait};

use crate::caching::{Circle, RATE};
use crate::redis::set;

const LIMIT: Duration = Duration::from_secs(120);

/// Sessions that nobody throws away, and a cache, each in a Redis with its Sentinels.
async fn site(sessions: &Watched, cache: &Watched) -> Installation {
    let mut it = Installation::new(Manifest::photos(2).process("stop_grace = \"5s\""));
    let secrets = it.dir().join("secrets.env");
    let (first, second) = (sessions.primary.password(), cache.primary.password());
    std::fs::write(&secrets, format!("SESSIONS={first}\nCACHE={second}\n")).unwrap();
    std::fs::set_permissions(&secrets, PermissionsExt::from_mode(0o600)).unwrap();
    let (first, second) = (sessions.url("{{secret.SESSIONS}}"), cache.url("{{secret.CACHE}}"));
    let (first, second) = (format!("url = \"{first}\""), format!("url = \"{second}\""));
    set(&mut it.manifest, &["[sessions]", &first, "[cache]", &second]);
    it.manifest.app = vec!["secrets = \"secrets.env\"".to_owned()];
    it.write_manifest();
    it.up().await;
    it
}

async fn has(what: &str, redis: &Redis, words: &[&str], right: impl Fn(&str) -> bool) {
    let had = wait::until(what, LIMIT, async || match redis.command(words) {
        Ok(told) if right(&told) => Ok(()),
        Ok(told) => Err(told),
        Err(error) => Err(error.to_string()),
    });
    had.await.unwrap();
}

async fn fails_over(watched: &mut Watched) {
    watched.primary.kill();
    has("the replica to lead", &watched.replica, &["ROLE"], |told| {
        told.starts_with("master")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_ones_own_redis_fails_no_request_and_logs_nobody_out_under_load() {
    let mut sessions = Watched::start_with(&["maxmemory-policy noeviction"]).unwrap();
    let mut cache = Watched::start_with(&["maxmemory 64mb", "maxmemory-policy allkeys-lfu"]).unwrap();
    let mut it = site(&sessions, &cache).await;
    let circle = Circle::of(&it).await;
    let load = circle.load(RATE);
    let profiles = ["--scan", "--pattern", "profile:*"];
    has("reads from the cache", &cache.primary, &profiles, |told| {
        !told.is_empty()
    })
    .await;

    fails_over(&mut cache).await;
    // So that what is found there was written since.
    cache.replica.command(&["FLUSHALL"]).unwrap();
    has("reads from the new cache", &cache.replica, &profiles, |told| {
        !told.is_empty()
    })
    .await;
    fails_over(&mut sessions).await;
    sessions.replica.command(&["CONFIG", "RESETSTAT"]).unwrap();
    let asked = ["INFO", "commandstats"];
    has("sessions from the new Redis", &sessions.replica, &asked, |told| {
        told.contains("cmdstat_evalsha")
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let report = load.stop().await;
    println!("{report}");
    assert!(
        report.failures().is_empty(),
        "{report}\n{}\n{}",
        report.explain(20),
        it.logs()
    );
    it.down().await;
}
