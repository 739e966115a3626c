//! Feeds and profiles from the cache are those of the tables, after whatever happened: with Redis, while it is away, and while
//! it comes to some instances before others.

use banyan_testkit::wait;
use http::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::world::{App, LIMIT, World, article};

const NAMES: [&str; 4] = ["ann", "bob", "cleo", "dan"];

/// Users who write at any instance, and the tables that tell what is right.
struct Site {
    apps: Vec<App>,
    sql: tokio_postgres::Client,
    tokens: Vec<String>,
    /// Slugs, of each user.
    posts: Vec<Vec<String>>,
    rng: StdRng,
}

/// How many posts the feed of $1 has, and its page of $2 posts from the $3rd on as the API tells it.
const FEED: &str = r#"
    with feed as (
        select p.*, u.username, u.bio, u.image, f.follower_id from posts p join follows f on f.followee_id = p.author_id
        join users u on u.id = p.author_id join users r on r.id = f.follower_id where r.username = $1
    ), page as (select * from feed order by created_at desc, id desc limit $2 offset $3)
    select (select count(*) from feed),
           (select coalesce(json_agg(json_build_object(
                'slug', slug, 'title', title, 'description', description, 'photo', photo,
                'tagList', array(select tag from post_tags t where (t.author_id, t.post_id) = (page.author_id, page.id) order by position),
                'createdAt', to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                'updatedAt', to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                'favorited', exists (select from likes l
                    where (l.post_author_id, l.post_id, l.user_id) = (page.author_id, page.id, page.follower_id)),
                'favoritesCount', likes,
                'author', json_build_object('username', username, 'bio', bio, 'image', image, 'following', true))
                order by created_at desc, id desc), '[]')::text from page)"#;

impl Site {
    async fn new(world: &World, seed: u64) -> Self {
        let app = world.ready("web.1").await;
        let mut tokens = Vec::new();
        for name in NAMES {
            tokens.push(app.register(name).await);
        }
        Self {
            apps: vec![app],
            sql: world.sql().await,
            tokens,
            posts: vec![Vec::new(); NAMES.len()],
            rng: StdRng::seed_from_u64(seed),
        }
    }

    async fn cache_in_use(&self) {
        cache_in_use(&self.sql).await;
    }

    /// Somebody posts, changes a post, deletes one, likes one or no longer, follows, unfollows or tells something else of themselves.
    async fn something_happens(&mut self) {
        let (who, whom) = (self.rng.random_range(0..4), self.rng.random_range(0..4));
        let follow = format!("/api/profiles/{}/follow", NAMES[whom]);
        match self.rng.random_range(0..16) {
            10..15 => self.something_happens_to_a_post(who, whom).await,
            0..5 => {
                let answer = self.write(who, Method::POST, "/api/articles", article("t")).await;
                let slug = answer["article"]["slug"].as_str().unwrap().to_owned();
                self.posts[who].push(slug);
            }
            5 => {
                if let Some(slug) = self.posts[who].pop() {
                    self.write(who, Method::DELETE, &format!("/api/articles/{slug}"), Value::Null)
                        .await;
                }
            }
            6..8 if who != whom => drop(self.write(who, Method::POST, &follow, Value::Null).await),
            8 if who != whom => drop(self.write(who, Method::DELETE, &follow, Value::Null).await),
            _ => {
                let bio = json!({"user": {"bio": format!("{}", self.rng.random::<u16>())}});
                self.write(who, Method::PUT, "/api/user", bio).await;
            }
        }
    }

    /// Of `whom`, by whom it may.
    async fn something_happens_to_a_post(&mut self, who: usize, whom: usize) {
        let Some(at) = self.posts[whom].len().checked_sub(1) else {
            return;
        };
        let at = self.rng.random_range(at.saturating_sub(5)..=at);
        let post = format!("/api/articles/{}", self.posts[whom][at]);
        match self.rng.random_range(0..5) {
            0..2 => drop(
                self.write(who, Method::POST, &format!("{post}/favorite"), Value::Null)
                    .await,
            ),
            2 => drop(
                self.write(who, Method::DELETE, &format!("{post}/favorite"), Value::Null)
                    .await,
            ),
            what => {
                let number = self.rng.random::<u16>();
                let change = match what {
                    3 => json!({"title": format!("t {number}")}),
                    _ => json!({"description": format!("d {number}"), "tagList": [format!("tag{number}")]}),
                };
                let answer = self
                    .write(whom, Method::PUT, &post, json!({ "article": change }))
                    .await;
                answer["article"]["slug"]
                    .as_str()
                    .unwrap()
                    .clone_into(&mut self.posts[whom][at]);
            }
        }
    }

    fn any_app(&mut self) -> usize {
        self.rng.random_range(0..self.apps.len())
    }

    async fn write(&mut self, who: usize, method: Method, path: &str, body: Value) -> Value {
        let app = self.any_app();
        let (status, answer) = self.apps[app]
            .call(method, path, Some(&self.tokens[who]), &body)
            .await;
        assert!(status < 300, "{path}: {status} {answer}");
        answer
    }

    async fn seen(&mut self, who: usize, path: &str) -> Value {
        let app = self.any_app();
        let app = &self.apps[app];
        let (status, answer) = app
            .call(Method::GET, path, Some(&self.tokens[who]), &Value::Null)
            .await;
        assert_eq!(status, 200, "{path}: {answer}\n{}", app.process.stderr());
        answer
    }

    /// A page of somebody's feed, and what they see of somebody's profile.
    async fn is_right(&mut self) {
        let (who, whom) = (self.rng.random_range(0..4), self.rng.random_range(0..4));
        let (limit, offset) = (self.rng.random_range(0..6_i64), self.rng.random_range(0..8_i64));
        let feed = self
            .seen(who, &format!("/api/articles/feed?limit={limit}&offset={offset}"))
            .await;
        let right = self
            .sql
            .query_one(FEED, &[&NAMES[who], &limit, &offset])
            .await
            .unwrap();
        let articles: Value = serde_json::from_str(right.get(1)).unwrap();
        assert_eq!(feed["articles"], articles, "the feed of {}", NAMES[who]);
        assert_eq!(
            feed["articlesCount"],
            right.get::<_, i64>(0),
            "the feed of {}",
            NAMES[who]
        );

        let seen = self.seen(who, &format!("/api/profiles/{}", NAMES[whom])).await;
        let right = self
            .sql
            .query_one(
                "select bio, posts, (select count(*) from follows where followee_id = u.id),
                        (select count(*) from follows where follower_id = u.id),
                        exists (select from follows f join users r on r.id = f.follower_id
                                where f.followee_id = u.id and r.username = $2)
                 from users u where username = $1",
                &[&NAMES[whom], &NAMES[who]],
            )
            .await
            .unwrap();
        assert_eq!(
            seen["profile"],
            json!({"username": NAMES[whom], "image": null, "bio": right.get::<_, Option<String>>(0),
                "postsCount": right.get::<_, i64>(1), "followersCount": right.get::<_, i64>(2),
                "followingCount": right.get::<_, i64>(3), "following": right.get::<_, bool>(4)}),
            "{} as {} sees them",
            NAMES[whom],
            NAMES[who]
        );
    }

    async fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.something_happens().await;
            self.is_right().await;
        }
    }
}

/// Once all instances have it, and it knows all.
async fn cache_in_use(sql: &tokio_postgres::Client) {
    wait::until("reads from the cache", LIMIT, async || {
        let row = sql.query_one("select bool_and(reads) from fellows", &[]).await;
        match row.map_err(|error| error.to_string())?.get::<_, Option<bool>>(0) {
            Some(true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn feeds_and_profiles_are_those_of_the_tables_after_any_history() {
    let world = World::with_cache().await;
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut site = Site::new(&world, seed).await;
    site.apps.push(world.ready("web.2").await);
    site.cache_in_use().await;
    site.rounds(100).await;
    for _ in 0..30 {
        site.is_right().await;
    }
    let keys = world.redis.as_ref().unwrap().command(&["KEYS", "*"]).unwrap();
    for kind in ["tip:", "post:", "followees:", "profile:", "account:", "user-id:"] {
        assert!(keys.contains(kind), "nothing of {kind} in the cache: {keys}");
    }
}

#[tokio::test]
async fn a_cache_that_goes_away_costs_no_request() {
    let mut world = World::with_cache().await;
    let mut site = Site::new(&world, 7).await;
    site.cache_in_use().await;
    site.rounds(20).await;
    world.redis.as_mut().unwrap().kill();
    site.rounds(20).await;
    world.redis.as_mut().unwrap().restart().unwrap();
    site.rounds(20).await;
    let redis = world.redis.as_ref().unwrap();
    wait::until("the cache to be used again", LIMIT, async || {
        site.is_right().await;
        let keys = redis.command(&["DBSIZE"]).map_err(|error| error.to_string())?;
        if keys == "0" { Err(keys) } else { Ok(()) }
    })
    .await
    .unwrap();
    site.rounds(20).await;
}

/// As `banyan apply` does it, instance by instance: who has the cache beside who has not, any of them written to.
#[tokio::test]
async fn a_cache_comes_to_a_running_site_and_goes_and_no_read_is_old() {
    let world = World::with_cache().await;
    let mut site = Site::new(&world, rand::random()).await;
    site.cache_in_use().await;
    site.rounds(20).await;
    site.apps.push(world.ready_without_cache("web.2").await);
    site.rounds(40).await;
    let mut without = site.apps.pop().unwrap();
    without.process.signal(Signal::TERM);
    without.process.ended(LIMIT).await.unwrap();
    site.cache_in_use().await;
    site.rounds(40).await;
    // One that is killed takes no leave.
    let mut killed = world.ready_without_cache("web.3").await;
    site.rounds(10).await;
    killed.process.kill();
    wait::until("the dead to be forgotten", LIMIT, async || {
        site.rounds(1).await;
        let reads = "select reads from fellows where has_cache";
        let row = site
            .sql
            .query_one(reads, &[])
            .await
            .map_err(|error| error.to_string())?;
        if row.get::<_, bool>(0) {
            Ok(())
        } else {
            Err("not yet")
        }
        .map_err(str::to_owned)
    })
    .await
    .unwrap();
    site.rounds(20).await;
}

#[tokio::test]
async fn what_is_seeded_into_a_site_in_use_is_seen() {
    let world = World::with_cache().await;
    let seed = async |posts: &str, likes: &str| {
        let amounts = [
            "seed",
            "--users",
            "20",
            "--follows",
            "100",
            "--posts",
            posts,
            "--likes",
            likes,
        ];
        assert!(world.run(&amounts).await.status.success());
    };
    seed("20", "20").await;
    let app = world.ready("web.1").await;
    let log_in = json!({"user": {"email": "demo@photos.test", "password": "photos-demo"}});
    let (_, user) = app.call(Method::POST, "/api/users/login", None, &log_in).await;
    let token = user["user"]["token"].as_str().unwrap();
    let feed = async || {
        let (_, feed) = app
            .call(Method::GET, "/api/articles/feed", Some(token), &Value::Null)
            .await;
        let likes = |article: &Value| article["favoritesCount"].as_u64().unwrap();
        let likes: u64 = feed["articles"].as_array().unwrap().iter().map(likes).sum();
        (feed["articlesCount"].as_u64().unwrap(), likes)
    };
    cache_in_use(&world.sql().await).await;
    // Nobody tells the cache but the row.
    let (posts, likes) = feed().await;
    seed("20", "200").await;
    wait::until("the new likes", LIMIT, async || match feed().await {
        (same, more) if same == posts && more > likes => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    seed("200", "200").await;
    wait::until("the new posts", LIMIT, async || match feed().await {
        (more, _) if more > posts => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
}
