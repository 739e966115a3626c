//! Feeds and profiles from the app's cache, as people use the site: compared with the database, and with its Redis in trouble.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use banyan_e2e::site::judge;
use banyan_e2e::{Installation, Manifest};
use banyan_testkit::load::{Answer, Load};
use banyan_testkit::wait;
use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::redis::{ask, kill, pid, set};
use crate::sessions::{MEMBERS, Members};

/// The drill has more.
pub(crate) const RATE: u32 = 20;
/// Of one process, without Redis: what the SDK leaves itself of a pool of ten.
const DIRECT_AT_ONCE: u64 = 8;
const PROCESSES: u32 = 2;
const LIMIT: Duration = Duration::from_secs(120);

/// Members who follow each other, read feeds and profiles, and post now and then.
pub(crate) struct Circle {
    members: Members,
}

impl Circle {
    pub(crate) async fn of(it: &Installation) -> Arc<Self> {
        let members = Members::log_in(it).await;
        for (number, member) in members.all.iter().enumerate() {
            for step in 1..4 {
                let other = &members.all[(number + step) % MEMBERS].name;
                let path = format!("/api/profiles/{other}/follow");
                let followed = members.ask(member, Method::POST, &path, &Value::Null).await;
                assert_eq!(followed.unwrap().status(), 200);
            }
        }
        Arc::new(Self { members })
    }

    /// Of four requests: who one is, a feed, a profile, another's feed. One of forty is a post, never of the last member.
    async fn use_it(&self, number: u64) -> Answer {
        let at = usize::try_from(number).unwrap();
        let all = &self.members.all;
        if number.is_multiple_of(40) {
            let post = json!({"article": {"title": "t", "description": "d", "body": "b", "tagList": []}});
            let author = &all[at / 40 % (MEMBERS - 1)];
            let path = "/api/articles";
            return judge(
                "write",
                path,
                self.members.ask(author, Method::POST, path, &post).await,
            );
        }
        let member = &all[at / 3 % MEMBERS];
        let (kind, path) = match number % 4 {
            0 => return self.members.visit(number / 4).await,
            2 => ("profile", format!("/api/profiles/{}", all[at / 7 % MEMBERS].name)),
            _ => ("feed", "/api/articles/feed".to_owned()),
        };
        let answer = self.members.ask(member, Method::GET, &path, &Value::Null).await;
        judge(kind, &path, answer)
    }

    /// Not more at once than come in a sixth of a second: a machine that is too slow for the rate gets less of it.
    pub(crate) fn load(self: &Arc<Self>, per_second: u32) -> Load {
        let circle = Arc::clone(self);
        Load::bounded(per_second, per_second.div_ceil(6) as usize, move |number| {
            let circle = Arc::clone(&circle);
            async move { circle.use_it(number).await }
        })
    }
}

async fn with_cache() -> Installation {
    let mut it = Installation::new(Manifest::photos(PROCESSES).process("stop_grace = \"5s\""));
    set(&mut it.manifest, &["[sessions]", "[cache]"]);
    it.write_manifest();
    it.up().await;
    it
}

/// The key of a member's cached profile; waits until there is one.
async fn profile_of(it: &Installation, name: &str) -> String {
    let cached = wait::until("profiles from the cache", LIMIT, async || {
        let id = ask(
            it,
            "REDIS_CACHE_URL",
            &["HGET", &format!("user-id:{name}"), "value"],
        )
        .await;
        let key = format!("profile:{id}");
        let value = ask(it, "REDIS_CACHE_URL", &["HGET", &key, "value"]).await;
        if value.contains(name) { Ok(key) } else { Err(value) }
    });
    cached.await.unwrap()
}

async fn audited(it: &Installation) -> (i32, Value) {
    let finished = it.try_verb(&["cache", "audit", "--seconds", "3", "--json"]).await;
    let found = serde_json::from_str(&finished.stdout);
    (
        finished.code(),
        found.unwrap_or_else(|_| panic!("{}", finished.output())),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_finds_the_cache_right_and_names_an_entry_that_somebody_made_wrong() {
    let mut it = with_cache().await;
    let silent = it.try_verb(&["cache", "audit", "--seconds", "1"]).await;
    assert!(
        silent.code() == 1 && silent.output().contains("nobody compared anything"),
        "{}",
        silent.output()
    );
    let circle = Circle::of(&it).await;
    let load = circle.load(RATE);
    let last = &circle.members.all[MEMBERS - 1];
    let key = profile_of(&it, &last.name).await;
    let (code, found) = audited(&it).await;
    println!("{found}");
    assert_eq!((code, &found["wrong"]), (0, &json!(0)), "{found}");
    assert!(found["right"].as_u64() > Some(5), "{found}");

    let value = ask(&it, "REDIS_CACHE_URL", &["HGET", &key, "value"]).await;
    let mut value: Value = serde_json::from_str(&value).unwrap();
    value["bio"] = json!("nobody wrote this");
    ask(
        &it,
        "REDIS_CACHE_URL",
        &["HSET", &key, "value", &value.to_string()],
    )
    .await;
    let report = load.stop().await;
    let (client, path) = (it.client(), format!("/api/profiles/{}", last.name));
    let reading = async {
        loop {
            assert_eq!(client.get(&path).await.unwrap().status(), 200);
        }
    };
    let (code, found) = tokio::select! {
        found = audited(&it) => found,
        () = reading => unreachable!("it reads on"),
    };
    println!("{found}");
    assert_eq!((code, &found["wrong_keys"][0]), (2, &json!(key)), "{found}");
    assert!(report.failures().is_empty(), "{report}\n{}", report.explain(20));
    it.down().await;
}

/// What the app's processes have counted, all of them, a second ago at most.
async fn counted(it: &Installation, hits: u64) -> Value {
    let counted = wait::until("counts of all processes", LIMIT, async || {
        let told = it.try_verb(&["cache", "stats", "--json"]).await;
        let told: Value = serde_json::from_str(&told.stdout).map_err(|_| told.output())?;
        let app = &told["app"];
        let all = app["processes"] == PROCESSES && app["hits"].as_u64() > Some(hits);
        if all {
            Ok(app.clone())
        } else {
            Err(app.to_string())
        }
    });
    counted
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", it.logs()))
}

fn number(counts: &Value, name: &str) -> u64 {
    counts[name].as_u64().unwrap()
}

/// People on a site while its Redis is in trouble, and what that costs the database.
pub(crate) struct Troubled {
    it: Installation,
    load: Load,
    rate: u32,
    before: Value,
}

impl Troubled {
    pub(crate) async fn start(rate: u32) -> Self {
        let it = with_cache().await;
        let circle = Circle::of(&it).await;
        let load = circle.load(rate);
        profile_of(&it, &circle.members.all[MEMBERS - 1].name).await;
        let before = counted(&it, 0).await;
        Self {
            it,
            load,
            rate,
            before,
        }
    }

    /// Until the cache is of use again, and so many seconds of load more.
    async fn meet(&mut self, what: &str, trouble: impl AsyncFnOnce(&mut Installation)) -> Cost {
        let (began, answered) = (self.load.elapsed(), self.load.answered());
        self.load.phase(what);
        trouble(&mut self.it).await;
        let goal = self.load.answered() + u64::from(self.rate) * 2;
        let more = wait::until("the load to go on", LIMIT, async || {
            let now = self.load.answered();
            if now >= goal { Ok(()) } else { Err(now) }
        });
        more.await.unwrap();
        let now = counted(&self.it, number(&self.before, "hits")).await;
        let keys = ask(&self.it, "REDIS_CACHE_URL", &["DBSIZE"]).await;
        let more = |name: &str| number(&now, name) - number(&self.before, name);
        let cost = Cost {
            keys: keys.parse().unwrap(),
            loads: more("loads"),
            direct: more("direct_loads"),
            refused: more("refused"),
            invalidations: more("invalidations"),
            rejected: more("rejected"),
            most_at_once: number(&now, "most_loads_at_once"),
        };
        let seconds = (self.load.elapsed() - began).as_secs_f64();
        println!(
            "{what}: {} requests in {seconds:.1} s, {} loads for {} keys ({:.2} of each) and {} without Redis ({:.0} per s in all), {} at once at most",
            self.load.answered() - answered,
            cost.loads,
            cost.keys,
            cost.loads as f64 / cost.keys as f64,
            cost.direct,
            (cost.loads + cost.direct) as f64 / seconds,
            cost.most_at_once,
        );
        assert_eq!(cost.refused, 0, "{what}");
        // Leases: one load of a key, one more when the SDK has noticed what happened to Redis and emptied it once more, one each
        // time that the key was invalidated or emptied while it was loaded. Some that were invalidated are not there now.
        let keys = cost.keys + cost.invalidations;
        let bound = keys * 2 + cost.invalidations + cost.rejected;
        assert!(cost.loads <= bound, "{what}: {cost:?}");
        assert!(
            cost.most_at_once <= DIRECT_AT_ONCE + cost.keys,
            "{what}: {cost:?}"
        );
        self.before = now;
        cost
    }

    /// Everything once; silent for so long.
    pub(crate) async fn round(&mut self, round: u32, silence: Duration) {
        self.meet("FLUSHALL", async |it| {
            ask(it, "REDIS_CACHE_URL", &["FLUSHALL"]).await;
        })
        .await;
        self.meet("a restart", async |it| {
            let databases = format!("settings = {{ databases = {} }}", 4 + round % 2);
            let applied = it.apply(|manifest| set(manifest, &["[sessions]", "[cache]", &databases]));
            let applied = applied.await.output();
            assert!(applied.contains("restart redis of cache"), "{applied}");
        })
        .await;
        self.meet("kill -9", async |it| {
            kill(it, "redis cache", "REDIS_CACHE_URL").await
        })
        .await;
        let cost = self.meet("silence", async |it| silent(it, silence).await).await;
        assert!(cost.direct > 0, "nobody noticed: {cost:?}");
        self.meet("kill -9 of sessions", async |it| {
            kill(it, "redis sessions", "REDIS_URL").await
        })
        .await;
    }

    /// No request failed, nobody was logged out.
    pub(crate) async fn end(self) {
        let Self { mut it, load, .. } = self;
        let report = load.stop().await;
        println!("{report}");
        let why = report.explain(20);
        let reasons = reasons(&it);
        assert!(
            report.failures().is_empty(),
            "{report}\n{why}\n{reasons:#?}\n{}",
            it.logs()
        );
        it.down().await;
    }
}

/// Why the app answered 5xx, in its own words and how often: a visitor is not told.
fn reasons(it: &Installation) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for file in fs::read_dir(it.state().join("logs")).unwrap().flatten() {
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        for line in text.lines() {
            if let Some((_, reason)) = line.split_once("answered 5") {
                *counts.entry(format!("5{reason}")).or_default() += 1;
            }
        }
    }
    counts
}

/// Of the database, while Redis was in trouble.
#[derive(Debug)]
struct Cost {
    keys: u64,
    loads: u64,
    direct: u64,
    refused: u64,
    invalidations: u64,
    /// Fills that came too late.
    rejected: u64,
    /// Of one process, since it began.
    most_at_once: u64,
}

/// SIGSTOP: connections stay and nobody answers, as in a partition.
async fn silent(it: &Installation, how_long: Duration) {
    let redis = i32::try_from(pid(it, "redis cache").await).unwrap();
    let redis = Pid::from_raw(redis).unwrap();
    kill_process(redis, Signal::STOP).unwrap();
    tokio::time::sleep(how_long).await;
    // One that was silent for too long has been killed and started anew.
    kill_process(redis, Signal::CONT).ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_emptied_restarted_killed_or_silent_fails_no_request_and_logs_nobody_out_under_load() {
    let mut troubled = Troubled::start(RATE).await;
    troubled.round(0, Duration::from_secs(3)).await;
    troubled.end().await;
}
