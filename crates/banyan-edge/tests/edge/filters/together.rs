//! Rate limits of two edges, counted together in a real Redis.

use std::fs;
use std::time::Duration;

use banyan_config::{AuthBy, CountLimits, EdgePlace, Filters, RateBy, RateLimit};
use banyan_runtime::Clock;
use banyan_testkit::Redis;
use banyan_testkit::upstream::Upstream;
use banyan_testkit::wait;
use banyan_topology::snapshot::{EdgeSnapshot, LIMITS_URL};

use super::auth::{ACME, auth, keys, private};
use super::rate_limit::limit;
use super::{asking, route};
use crate::world::World;

const BURST: u32 = 6;
/// Of the limits by header: one of two edges gets half of it.
const SHARE: usize = 3;
const PATIENCE: Duration = Duration::from_secs(90);
/// ann:sesame, and a guess of it.
const ANN: &str = "Authorization: Basic YW5uOnNlc2FtZQ==\r\n";
const WRONG: &str = "Authorization: Basic YW5uOlNlc2FtZQ==\r\n";

struct Edges {
    first: World,
    south: World,
    redis: Redis,
    _upstream: Upstream,
}

impl Edges {
    /// `/api` is limited by a header, so that each test can have clients that nobody has counted yet.
    async fn start() -> Self {
        Self::with(|_| {}, |redis| redis.url()).await
    }

    /// `url`: what edges are told.
    async fn with(change: impl FnOnce(&mut EdgeSnapshot), url: impl FnOnce(&Redis) -> String) -> Self {
        let redis = Redis::start().unwrap();
        let upstream = Upstream::answering(|_| "ok".to_owned()).await;
        let mut first = World::with(&[upstream.address], |s| {
            let place = EdgePlace {
                listen: "127.0.0.1:0".parse().unwrap(),
                https: None,
            };
            s.places = [("south".parse().unwrap(), place)].into();
            s.settings.count_limits = CountLimits::Redis;
            let by = RateBy::Header("x-tenant".to_owned());
            s.routes = vec![route("api", limited(&[limit("api", BURST, by)]))];
            change(s);
        })
        .await;
        let secrets = first.dir.path().join("secrets");
        fs::create_dir_all(&secrets).unwrap();
        private(&secrets.join(LIMITS_URL), &url(&redis));
        first.settled().await;
        let south = first.at("south").await;
        Self {
            first,
            south,
            redis,
            _upstream: upstream,
        }
    }

    /// How many of so many requests of a tenant the edge lets pass.
    async fn passed(edge: &World, tenant: &str, requests: usize) -> usize {
        let statuses = statuses(edge, "/api", &format!("X-Tenant: {tenant}\r\n"), requests).await;
        assert!(statuses.iter().all(|s| [200, 429].contains(s)), "{statuses:?}");
        statuses.iter().filter(|status| **status == 200).count()
    }

    /// Until the first edge gives new tenants exactly so much.
    async fn until_passed(&self, expected: usize) {
        let mut round = 0;
        let passed = async || {
            round += 1;
            match Self::passed(&self.first, &format!("round {round}"), expected + 2).await {
                passed if passed == expected => Ok(()),
                passed => Err(format!("{passed} passed")),
            }
        };
        wait::until("limits to be counted so", PATIENCE, passed)
            .await
            .unwrap();
    }
}

fn limited(limits: &[RateLimit]) -> Filters {
    Filters {
        rate_limits: limits.to_vec(),
        ..Filters::default()
    }
}

async fn statuses(edge: &World, path: &str, more: &str, requests: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..requests {
        statuses.push(edge.ask(&asking(path, more)).await.status());
    }
    statuses
}

#[tokio::test]
async fn two_edges_share_one_burst_and_say_what_is_left_of_it() {
    let it = Edges::start().await;
    assert_eq!(Edges::passed(&it.first, "a", 4).await, 4);
    let tenant = asking("/api", "X-Tenant: a\r\n");
    let answer = it.south.ask(&tenant).await;
    assert!(
        answer.header("ratelimit").starts_with("\"api\";r=1;t=1"),
        "{answer:?}"
    );
    assert_eq!(Edges::passed(&it.south, "a", 4).await, 1);
    let refused = it.first.ask(&tenant).await;
    assert_eq!(refused.status(), 429);
    assert!(
        refused.header("ratelimit").starts_with("\"api\";r=0;t="),
        "{refused:?}"
    );
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((3000..=3600).contains(&seconds), "{seconds}");
    assert_eq!(Edges::passed(&it.south, "b", 1).await, 1, "another tenant");
    let kept = it.redis.command(&["KEYS", "*"]).unwrap();
    let counted = kept
        .lines()
        .all(|key| key.starts_with("banyan:limit:") && key.len() == 45);
    assert!(counted && kept.lines().count() == 2, "{kept}");
    let key = kept.lines().next().unwrap();
    assert!(it.redis.command(&["PTTL", key]).unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn never_more_than_the_burst_and_the_rate_pass_over_both() {
    let rate = RateLimit {
        name: "fast".to_owned(),
        count: 50,
        per: Duration::from_secs(1),
        burst: 10,
        by: RateBy::Route,
    };
    let it = Edges::with(
        |s| s.routes.push(route("fast", limited(&[rate]))),
        |redis| redis.url(),
    )
    .await;
    let start = Clock.now();
    let both = [&it.first, &it.south, &it.first, &it.south];
    let [a, b, c, d] = both.map(|edge| statuses(edge, "/fast", "", 60));
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    let seconds = Clock.now().duration_since(start).as_secs_f64();
    let passed = [a, b, c, d].concat().iter().filter(|s| **s == 200).count();
    let most = 10.0 + 50.0 * seconds + 1.0;
    assert!(passed >= 10 && passed as f64 <= most, "{passed} in {seconds} s");
}

#[tokio::test]
async fn while_redis_is_dead_each_edge_gives_its_share_and_when_it_is_back_they_count_together() {
    let mut it = Edges::start().await;
    assert_eq!(Edges::passed(&it.first, "before", 1).await, 1);
    it.redis.kill();
    for edge in [&it.first, &it.south] {
        assert_eq!(Edges::passed(edge, "a", 8).await, SHARE);
    }
    it.first.until(|report| report.counts_alone.is_some()).await;
    it.redis.restart().unwrap();
    it.until_passed(BURST as usize).await;
    it.first.until(|report| report.counts_alone.is_none()).await;
}

#[tokio::test]
async fn a_redis_that_says_nothing_is_not_waited_for_by_all() {
    let it = Edges::start().await;
    assert_eq!(Edges::passed(&it.first, "before", 1).await, 1);
    it.redis.pause();
    assert_eq!(Edges::passed(&it.first, "a", 8).await, SHARE);
    it.redis.resume();
    it.until_passed(BURST as usize).await;
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_file_cost_the_rest_of_the_limit_until_they_are_right() {
    let mut it = Edges::with(|_| {}, |redis| redis.url().replace(redis.password(), "wrong")).await;
    assert_eq!(Edges::passed(&it.first, "a", 8).await, SHARE);
    let report = it.first.until(|report| report.counts_alone.is_some()).await;
    let why = report.counts_alone.unwrap();
    assert!(why.contains("log in"), "{why}");
    let file = it.first.dir.path().join("secrets").join(LIMITS_URL);
    fs::remove_file(&file).unwrap();
    let missing = |report: &banyan_topology::report::EdgeReport| {
        let why = report.counts_alone.as_ref();
        why.is_some_and(|why| why.contains("cannot be read"))
    };
    it.first.until(missing).await;
    assert_eq!(Edges::passed(&it.first, "b", 8).await, SHARE);
    private(&file, &it.redis.url());
    it.until_passed(BURST as usize).await;
}

#[tokio::test]
async fn guesses_at_all_edges_count_together_and_so_do_users() {
    let files = tempfile::TempDir::new().unwrap();
    let (keys_file, users_file) = (files.path().join("keys"), files.path().join("users"));
    private(&keys_file, ACME);
    private(
        &users_file,
        &format!("ann:{}\n", bcrypt::hash("sesame", 4).unwrap()),
    );
    let it = Edges::with(
        |s| {
            s.settings.auth = [
                ("partners".to_owned(), keys(keys_file)),
                ("people".to_owned(), auth(AuthBy::Users { file: users_file })),
            ]
            .into();
            let guarded = |name: &str, by: &str, limits: &[RateLimit]| {
                let filters = Filters {
                    auth: vec![by.to_owned()],
                    ..limited(limits)
                };
                route(name, filters)
            };
            s.routes.extend([
                guarded("keys", "partners", &[limit("keys", 2, RateBy::Ip)]),
                guarded("people", "people", &[limit("people", 2, RateBy::Ip)]),
                guarded("mine", "partners", &[limit("mine", 2, RateBy::Key)]),
                guarded("ours", "people", &[limit("ours", 2, RateBy::User)]),
            ]);
        },
        |redis| redis.url(),
    )
    .await;
    for (path, more, known) in [
        ("/keys", "X-Api-Key: bar\r\n", 401),
        ("/people", WRONG, 401),
        ("/mine", "X-Api-Key: foo\r\n", 200),
        ("/ours", ANN, 200),
    ] {
        let first = statuses(&it.first, path, more, 1).await;
        let south = statuses(&it.south, path, more, 2).await;
        let first = [first, statuses(&it.first, path, more, 1).await].concat();
        assert_eq!((first, south), (vec![known, 429], vec![known, 429]), "{path}");
    }
}
