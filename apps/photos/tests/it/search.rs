//! Finding posts by their words and tags, and people by their names.

use http::Method;
use serde_json::{Value, json};

use crate::world::{App, World};

async fn post(app: &App, token: &str, title: &str, body: &str, tags: &[&str]) {
    let post = json!({"article": {"title": title, "description": "d", "body": body, "tagList": tags}});
    let (status, answer) = app.call(Method::POST, "/api/articles", Some(token), &post).await;
    assert_eq!(status, 201, "{answer}");
}

/// The titles, the newest first, and the total.
async fn found(app: &App, query: &str) -> String {
    let (status, answer) = app
        .call(Method::GET, &format!("/api/articles?{query}"), None, &Value::Null)
        .await;
    assert_eq!(status, 200, "{answer}");
    let titles = answer["articles"].as_array().unwrap().iter();
    let titles: Vec<&str> = titles.map(|article| article["title"].as_str().unwrap()).collect();
    format!("{} of {}", titles.join(", "), answer["articlesCount"])
}

#[tokio::test]
async fn posts_are_found_by_words_and_tags() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let (ann, bob) = (app.register("ann").await, app.register("bob").await);
    post(&app, &ann, "Misty mountains", "seen at dawn", &["alps"]).await;
    post(&app, &ann, "Harbour", "a mist over the sea", &["Sea", "dusk"]).await;
    post(&app, &bob, "Bridge", "steel", &["mist"]).await;
    for (query, wanted) in [
        ("search=mist", "Bridge, Harbour, Misty mountains of 3"),
        ("search=MISTY", "Misty mountains of 1"),
        ("search=mist%20sea", "Harbour of 1"),
        ("search=%23dusk", "Harbour of 1"),
        ("search=%23dusk%20steel", " of 0"),
        ("search=mist&author=ann", "Harbour, Misty mountains of 2"),
        ("search=mist&limit=1&offset=1", "Harbour of 3"),
        ("search=alps", "Misty mountains of 1"),
        ("search=sea", "Harbour of 1"),
        ("search=!%26(", " of 0"),
        ("search=%27%3A*", " of 0"),
    ] {
        assert_eq!(found(&app, query).await, wanted, "{query}");
    }
    let (status, answer) = app
        .call(
            Method::GET,
            &format!("/api/articles?search={}", "x".repeat(201)),
            None,
            &Value::Null,
        )
        .await;
    assert_eq!(status, 422, "{answer}");
    let text = json!({"article": {"title": "Fog"}});
    let (_, list) = app
        .call(Method::GET, "/api/articles?tag=alps", None, &Value::Null)
        .await;
    let slug = list["articles"][0]["slug"].as_str().unwrap();
    app.call(Method::PUT, &format!("/api/articles/{slug}"), Some(&ann), &text)
        .await;
    assert_eq!(found(&app, "search=misty").await, " of 0", "a changed text");
}

#[tokio::test]
async fn the_search_uses_its_index() {
    let world = World::new().await;
    let amounts = ["seed", "--users", "20", "--posts", "3000", "--follows", "50"];
    assert!(world.run(&amounts).await.status.success());
    let sql = world.sql().await;
    sql.batch_execute("analyze posts").await.unwrap();
    let plan = sql
        .query(
            "explain select id from posts
             where to_tsvector('simple', title || ' ' || description || ' ' || body) @@ to_tsquery('simple', 'zzz:*')",
            &[],
        )
        .await
        .unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("posts_words")), "{plan:?}");
}

#[tokio::test]
async fn people_are_found_by_the_beginning_of_their_names_and_shown_with_figures() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let ann = app.register("Anna_1").await;
    app.register("annabel").await;
    app.register("bob").await;
    let names = async |query: &str| {
        let path = format!("/api/profiles?search={query}");
        let (status, answer) = app.call(Method::GET, &path, None, &Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        let names = answer["profiles"].as_array().unwrap().iter();
        names
            .map(|profile| profile["username"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("ANNA").await, ["Anna_1", "annabel"]);
    assert_eq!(names("anna_").await, ["Anna_1"]);
    assert!(names("%25").await.is_empty());
    assert!(names("").await.is_empty());
    post(&app, &ann, "t", "b", &[]).await;
    app.call(Method::POST, "/api/profiles/bob/follow", Some(&ann), &Value::Null)
        .await;
    let (_, shown) = app
        .call(Method::GET, "/api/profiles/bob", Some(&ann), &Value::Null)
        .await;
    assert_eq!(
        shown,
        json!({"profile": {"username": "bob", "bio": null, "image": null, "following": true,
            "postsCount": 0, "followersCount": 1, "followingCount": 0}})
    );
    let (_, shown) = app
        .call(Method::GET, "/api/profiles/Anna_1", None, &Value::Null)
        .await;
    assert_eq!(
        (
            &shown["profile"]["postsCount"],
            &shown["profile"]["followingCount"]
        ),
        (&json!(1), &json!(1))
    );
}
