//! Seeding: the same numbers, the same rows, once.

use http::Method;
use serde_json::{Value, json};

use crate::world::World;

const AMOUNTS: [&str; 9] = [
    "seed",
    "--users",
    "60",
    "--posts",
    "150",
    "--follows",
    "300",
    "--seed",
    "7",
];
const ALL_ROWS: &str = "
    select md5(string_agg(row, E'\\n' order by row)) from (
        select 'user ' || id || username || email || bio || image || posts || created_at from users
        union all select 'post ' || posts::text from posts
        union all select 'tag ' || post_tags::text from post_tags
        union all select 'follow ' || follower_id || ' ' || followee_id from follows
        union all select 'like ' || post_author_id || ' ' || post_id || ' ' || user_id from likes
        union all select 'comment ' || comments::text from comments
        union all select 'count ' || post_counts::text from post_counts
    ) as all_rows (row)";

async fn digest(world: &World) -> String {
    world.sql().await.query_one(ALL_ROWS, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_same_seed_makes_the_same_rows_and_only_once() {
    let (one, two) = tokio::join!(World::new(), World::new());
    let (first, other) = tokio::join!(one.run(&AMOUNTS), two.run(&AMOUNTS));
    assert!(first.status.success(), "{}", first.output());
    assert!(
        first
            .stdout
            .starts_with("added: 60 users, 300 follows, 150 posts, 750 likes, 300 comments\n"),
        "{}",
        first.stdout
    );
    assert_eq!(first.stdout, other.stdout);
    let seeded = digest(&one).await;
    assert_eq!(seeded, digest(&two).await);
    let again = one.run(&AMOUNTS).await;
    assert!(
        again
            .stdout
            .starts_with("added: 0 users, 0 follows, 0 posts, 0 likes, 0 comments\n"),
        "{}",
        again.stdout
    );
    assert_eq!(digest(&one).await, seeded);
}

#[tokio::test]
async fn seeded_data_is_served_with_exact_counts_and_a_log_in() {
    let world = World::new().await;
    let amounts = ["seed", "--users", "20", "--posts", "40", "--follows", "50"];
    assert!(world.run(&amounts).await.status.success());
    let app = world.ready("web.1").await;
    let (_, list) = app
        .call(Method::GET, "/api/articles?limit=100", None, &Value::Null)
        .await;
    assert_eq!(list["articlesCount"], 40);
    assert_eq!(list["articles"].as_array().unwrap().len(), 40);
    let photo = list["articles"][0]["photo"].as_str().unwrap();
    let picture = app.get(photo).await;
    assert_eq!(
        (picture.status().as_u16(), &picture.headers()["content-type"]),
        (200, &"image/svg+xml".parse().unwrap())
    );
    let log_in = json!({"user": {"email": "demo@photos.test", "password": "photos-demo"}});
    let (status, user) = app.call(Method::POST, "/api/users/login", None, &log_in).await;
    assert_eq!(status, 200);
    let token = user["user"]["token"].as_str().unwrap();
    let (_, feed) = app
        .call(
            Method::GET,
            "/api/articles/feed?limit=100",
            Some(token),
            &Value::Null,
        )
        .await;
    let shown = feed["articles"].as_array().unwrap().len();
    assert!(shown > 0);
    assert_eq!(feed["articlesCount"], shown);
}

#[tokio::test]
async fn several_migrations_with_demo_data_at_once_fill_an_empty_database_once() {
    let world = World::without_schema();
    let demo = ["migrate", "--demo"];
    let (one, two, three) = tokio::join!(world.run(&demo), world.run(&demo), world.run(&demo));
    let mut filled = 0;
    for run in [one, two, three] {
        assert!(run.status.success(), "{}", run.output());
        filled += usize::from(run.stdout.starts_with("added: 50 users, 600 follows, 200 posts"));
    }
    assert_eq!(filled, 1, "one of them made the rows");
    let demo_data = digest(&world).await;
    let seeded = World::new().await;
    assert!(seeded.run(&["seed"]).await.status.success());
    assert_eq!(demo_data, digest(&seeded).await, "the same rows as `seed`");
}

#[tokio::test]
async fn demo_data_never_comes_to_a_database_with_a_user() {
    let world = World::new().await;
    world.ready("web.1").await.register("ann").await;
    let before = digest(&world).await;
    let run = world.run(&["migrate", "--demo"]).await;
    assert!(run.status.success(), "{}", run.output());
    assert_eq!(run.stdout, "");
    assert_eq!(digest(&world).await, before);
}
