//! Redis for sessions and for a cache: it comes, changes, is killed and goes while people use the site.

use std::time::Duration;

use banyan_e2e::site::variable;
use banyan_e2e::{Installation, Manifest};
use banyan_testkit::http::Client;
use banyan_testkit::redis::command;
use banyan_testkit::{Port, Redis, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::scenario::Loaded;
use crate::servers::row;

const RATE: u32 = 100;
const LIMIT: Duration = Duration::from_secs(120);

/// What the first instance was told; without the number of the database, which `redis-cli` takes by itself.
async fn url(installation: &Installation, name: &str) -> Option<String> {
    let (_, pid) = installation.instances().await.into_iter().next().unwrap();
    let url = variable(pid, name)?;
    Some(url.strip_suffix("/0").unwrap_or(&url).to_owned())
}

pub(crate) async fn ask(installation: &Installation, name: &str, words: &[&str]) -> String {
    let url = url(installation, name).await.unwrap();
    command(&url, words).unwrap_or_else(|error| panic!("{error}\n{}", installation.logs()))
}

pub(crate) async fn pid(installation: &Installation, kind: &str) -> u64 {
    let row = row(installation, kind).await;
    row.and_then(|row| row["pid"].as_u64()).unwrap_or_default()
}

/// SIGKILL, then until it answers again.
pub(crate) async fn kill(installation: &Installation, kind: &str, name: &str) {
    let before = pid(installation, kind).await;
    let raw = i32::try_from(before).unwrap();
    kill_process(Pid::from_raw(raw).unwrap(), Signal::KILL).unwrap();
    let url = url(installation, name).await.unwrap();
    let again = wait::until("Redis to be back", LIMIT, async || {
        let now = pid(installation, kind).await;
        let answer = command(&url, &["PING"]).map_err(|error| error.to_string())?;
        if now == before || answer != "PONG" {
            return Err(format!("pid {now}, {answer}"));
        }
        Ok(())
    });
    again.await.unwrap();
}

pub(crate) fn set(manifest: &mut Manifest, tables: &[&str]) {
    manifest.more = tables.iter().map(|line| (*line).to_owned()).collect();
}

/// The edge adds what the controller measures.
async fn metrics_say(metrics: &Port, line: &str) {
    let client = Client::fresh_connections(metrics.address());
    let told = wait::until("metrics of Redis", LIMIT, async || {
        let page = client.get("/metrics").await.map_err(|error| error.to_string())?;
        let page = String::from_utf8_lossy(page.body()).into_owned();
        if page.contains(line) { Ok(()) } else { Err(page) }
    });
    told.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_comes_changes_dies_and_goes_and_no_request_fails_under_load() {
    let metrics = Port::free();
    let mut manifest = Manifest::photos(2).process("stop_grace = \"5s\"");
    manifest.top = vec![format!("metrics.listen = \"{}\"", metrics.address())];
    let mut loaded = Loaded::of(manifest, RATE).await;
    loaded
        .during("climb: sessions, then cache", async |it| {
            let applied = it.apply(|manifest| set(manifest, &["[sessions]"])).await;
            assert!(
                applied.output().contains("start redis for sessions on port"),
                "{}",
                applied.output()
            );
            it.apply(|manifest| set(manifest, &["[sessions]", "[cache]"]))
                .await;
            let again = it.verb(&["plan"]).await;
            assert!(again.output().contains("nothing to do"), "{}", again.output());
        })
        .await;
    let it = &loaded.installation;
    assert_eq!(ask(it, "REDIS_URL", &["SET", "session", "kept"]).await, "OK");
    assert_eq!(ask(it, "REDIS_CACHE_URL", &["SET", "user", "copy"]).await, "OK");
    for secret in [
        url(it, "REDIS_URL").await.unwrap(),
        url(it, "REDIS_CACHE_URL").await.unwrap(),
    ] {
        let password = secret.split([':', '@']).nth(2).unwrap();
        assert_eq!(password.len(), 64, "{secret}");
        for file in ["topology.json", "intent.json", "snapshots/edge.json"] {
            let text = std::fs::read_to_string(it.state().join(file)).unwrap();
            assert!(!text.contains(password), "{file} holds a password");
        }
    }

    loaded
        .during("kill -9 of each", async |it| {
            kill(it, "redis sessions", "REDIS_URL").await;
            kill(it, "redis cache", "REDIS_CACHE_URL").await;
        })
        .await;
    let it = &loaded.installation;
    assert_eq!(ask(it, "REDIS_URL", &["GET", "session"]).await, "kept");
    assert_eq!(ask(it, "REDIS_CACHE_URL", &["GET", "user"]).await, "");

    let (sessions, cache) = (pid(it, "redis sessions").await, pid(it, "redis cache").await);
    loaded
        .during("memory and eviction: while it runs", async |it| {
            let tables = [
                "[sessions]",
                "memory = \"64MiB\"",
                "[cache]",
                "memory = \"10MiB\"",
                "eviction = \"lru\"",
            ];
            let applied = it.apply(|manifest| set(manifest, &tables)).await;
            let told = applied.output();
            assert!(
                told.contains("change redis of sessions: memory 256MiB → 64MiB"),
                "{told}"
            );
            assert!(told.contains("eviction lfu → lru"), "{told}");
        })
        .await;
    let it = &loaded.installation;
    assert_eq!(pid(it, "redis sessions").await, sessions);
    let memory = ask(it, "REDIS_CACHE_URL", &["INFO", "memory"]).await;
    assert!(
        memory.contains("maxmemory:8388608") && memory.contains("maxmemory_policy:allkeys-lru"),
        "{memory}"
    );
    ask(it, "REDIS_CACHE_URL", &["GET", "user"]).await;
    stats_say(it, "allkeys-lru").await;

    metrics_say(&metrics, "redis_keyspace_misses_total{redis=\"cache\"}").await;

    loaded
        .during("a setting that needs a restart", async |it| {
            let tables = [
                "[sessions]",
                "memory = \"64MiB\"",
                "settings = { databases = 4 }",
                "[cache]",
                "memory = \"10MiB\"",
                "eviction = \"lru\"",
            ];
            let applied = it.apply(|manifest| set(manifest, &tables)).await;
            assert!(
                applied.output().contains("restart redis of sessions: databases"),
                "{}",
                applied.output()
            );
        })
        .await;
    let it = &loaded.installation;
    assert_ne!(pid(it, "redis sessions").await, sessions);
    assert_eq!(ask(it, "REDIS_URL", &["GET", "session"]).await, "kept");

    loaded
        .during("another controller", async |it| {
            it.kill_controller();
            it.start_controller();
            it.settled().await;
        })
        .await;
    assert_eq!(pid(&loaded.installation, "redis cache").await, cache);

    loaded
        .during("and back", async |it| {
            let applied = it.apply(|manifest| set(manifest, &[])).await;
            assert!(
                applied
                    .output()
                    .contains("stop redis of sessions (its data stays)"),
                "{}",
                applied.output()
            );
        })
        .await;
    assert_eq!(url(&loaded.installation, "REDIS_URL").await, None);
    loaded
        .during("and up again", async |it| {
            it.apply(|manifest| set(manifest, &["[sessions]"])).await;
        })
        .await;
    assert_eq!(
        ask(&loaded.installation, "REDIS_URL", &["GET", "session"]).await,
        "kept"
    );
    let (mut installation, report) = loaded.judged().await;
    assert!(
        report.failures().is_empty(),
        "{report}\n{}\n{}",
        report.explain(20),
        installation.logs()
    );
    installation.down().await;
}

/// The controller asks the servers now and then.
async fn stats_say(installation: &Installation, policy: &str) {
    let told = wait::until("stats of the cache", LIMIT, async || {
        let finished = installation.verb(&["cache", "stats", "--json"]).await;
        let stats: Value = serde_json::from_str(&finished.stdout).map_err(|error| error.to_string())?;
        if stats["policy"] == policy && stats["misses"].as_u64() > Some(0) {
            return Ok(());
        }
        Err(finished.stdout)
    });
    told.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_of_ones_own_is_judged_left_alone_and_passed_on() {
    let own = Redis::start_with(&["maxmemory 16mb", "maxmemory-policy allkeys-lru"]).unwrap();
    let url_of_own = own.url();
    let mut installation = Installation::new(Manifest::misfit(""));
    let secrets = installation.dir().join("secrets.env");
    std::fs::write(&secrets, format!("OWN={}\n", own.password())).unwrap();
    std::fs::set_permissions(&secrets, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = format!("url = \"redis://:{{{{secret.OWN}}}}@127.0.0.1:{}\"", own.port());
    set(&mut installation.manifest, &["[sessions]", &text]);
    installation.manifest.app = vec!["secrets = \"secrets.env\"".to_owned()];
    installation.write_manifest();
    installation.up().await;
    assert_eq!(
        ask(&installation, "REDIS_URL", &["CONFIG", "GET", "maxmemory"]).await,
        "maxmemory\n16777216"
    );
    let doctor = installation.try_verb(&["doctor"]).await;
    assert!(
        doctor.output().contains("throws sessions away; set noeviction"),
        "{}",
        doctor.output()
    );
    assert!(!doctor.output().contains(own.password()), "{}", doctor.output());
    installation.manifest.count = 2;
    installation.write_manifest();
    let plan = installation.try_verb(&["plan"]).await;
    assert!(plan.output().contains("set noeviction"), "{}", plan.output());

    let gone = format!("url = \"redis://127.0.0.1:{}\"", Port::free().number());
    set(
        &mut installation.manifest,
        &["[sessions]", &text, "[cache]", &gone],
    );
    installation.write_manifest();
    let plan = installation.try_verb(&["plan"]).await;
    assert!(
        plan.output().contains("cache.url (redis://127.0.0.1:"),
        "{}",
        plan.output()
    );
    assert!(plan.output().contains("refused"), "{}", plan.output());
    installation.down().await;
    assert_eq!(command(&url_of_own, &["PING"]).unwrap(), "PONG");
}
