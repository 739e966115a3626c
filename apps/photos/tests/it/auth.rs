//! Tokens across instances and password changes; what comes before what.

use banyan_testkit::wait;
use http::Method;
use serde_json::{Value, json};

use crate::world::{LIMIT, World, article};

#[tokio::test]
async fn a_token_of_one_instance_is_good_at_another() {
    let world = World::new().await;
    let (one, two) = (world.ready("web.1").await, world.ready("web.2").await);
    let token = one.register("ann").await;
    let (status, answer) = two
        .call(Method::GET, "/api/user", Some(&token), &Value::Null)
        .await;
    assert_eq!((status, &answer["user"]["username"]), (200, &json!("ann")));
}

#[tokio::test]
async fn a_password_change_keeps_the_presented_token_and_revokes_the_others() {
    let world = World::new().await;
    let (app, beside) = (world.ready("web.1").await, world.ready("web.2").await);
    let presented = app.register("ann").await;
    let log_in = json!({"user": {"email": "ann@x.test", "password": "password123"}});
    let (_, other) = app.call(Method::POST, "/api/users/login", None, &log_in).await;
    let other = other["user"]["token"].as_str().unwrap().to_owned();
    let change = json!({"user": {"password": "another-password"}});
    let (status, changed) = app
        .call(Method::PUT, "/api/user", Some(&presented), &change)
        .await;
    assert_eq!(status, 200);
    let fresh = changed["user"]["token"].as_str().unwrap();
    for (token, wanted) in [(presented.as_str(), 200), (fresh, 200), (other.as_str(), 401)] {
        let (status, _) = app
            .call(Method::GET, "/api/user", Some(token), &Value::Null)
            .await;
        assert_eq!(status, wanted);
    }
    // Another instance changes nothing for it from here on, and shows it nothing soon.
    let (status, _) = beside
        .call(
            Method::POST,
            "/api/articles",
            Some(&other),
            &article("by a thief"),
        )
        .await;
    assert_eq!(status, 401);
    let refused = wait::until("a revoked token to be refused", LIMIT, async || {
        let user = beside.call(Method::GET, "/api/user", Some(&other), &Value::Null);
        match user.await {
            (401, _) => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    });
    refused.await.unwrap();
    let (status, _) = beside
        .call(Method::GET, "/api/user", Some(&presented), &Value::Null)
        .await;
    assert_eq!(status, 200);
    let (status, answer) = app.call(Method::POST, "/api/users/login", None, &log_in).await;
    assert_eq!(
        (status, answer),
        (401, json!({"errors": {"credentials": ["invalid"]}}))
    );
}

#[tokio::test]
async fn a_guesser_is_stopped_and_others_are_not() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    app.register("ann").await;
    app.register("bob").await;
    let guess = json!({"user": {"email": "ANN@x.test", "password": "a-wrong-guess"}});
    let mut tries = 0;
    let refused = loop {
        let (status, answer) = app.call(Method::POST, "/api/session", None, &guess).await;
        if status != 401 {
            break (status, answer);
        }
        tries += 1;
    };
    let text = json!({"errors": {"credentials": ["were tried too often, wait a little"]}});
    assert_eq!(refused, (429, text));
    assert!(tries >= 10, "{tries}");
    let right = json!({"user": {"email": "bob@x.test", "password": "password123"}});
    let (status, _) = app.call(Method::POST, "/api/users/login", None, &right).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_bad_request_is_answered_in_the_errors_form() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let token = app.register("ann").await;
    let many = "x".repeat(300 * 1024);
    let nul = json!({"article": {"title": "a\u{0}b", "description": "d", "body": "b"}});
    let large = json!({"article": {"title": "t", "description": "d", "body": many}});
    let cases = [
        (Method::GET, "/api/user", Some("forged"), json!({}), 401),
        (Method::GET, "/api/articles", Some("forged"), json!({}), 401),
        (Method::POST, "/api/articles", Some(&*token), nul, 422),
        (Method::POST, "/api/articles", Some(&*token), large, 413),
        (Method::POST, "/api/users", None, json!({"user": 1}), 422),
        (Method::GET, "/api/articles?offset=99999999", None, json!({}), 422),
        (Method::GET, "/api/articles?limit=-1", None, json!({}), 422),
        (Method::GET, "/api/articles?tag=%00", None, json!({}), 422),
        (Method::GET, "/api/profiles/%00", None, json!({}), 422),
        (Method::GET, "/api/profiles/%ff", None, json!({}), 404),
        (
            Method::POST,
            "/api/profiles/ann/follow",
            Some(&*token),
            json!({}),
            422,
        ),
        (Method::GET, "/api/nothing", None, json!({}), 404),
    ];
    for (method, path, token, body, wanted) in cases {
        let (status, answer) = app.call(method.clone(), path, token, &body).await;
        assert_eq!(status, wanted, "{method} {path}: {answer}");
        assert!(answer["errors"].is_object(), "{method} {path}: {answer}");
    }
    let response = app
        .client
        .send(
            http::Request::post("/api/users")
                .body(bytes::Bytes::from_static(b"{"))
                .unwrap(),
        )
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn counts_stay_exact_under_concurrent_writers() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let (ann, bob) = (app.register("ann").await, app.register("bob").await);
    let (_, first) = app
        .call(Method::POST, "/api/articles", Some(&ann), &article("first"))
        .await;
    let slug = first["article"]["slug"].as_str().unwrap().to_owned();
    let like = format!("/api/articles/{slug}/favorite");
    let nothing = Value::Null;
    // Ten writers of the same rows: posts of one author, and likes of one post.
    let (article, like, app_ref) = (article("same title"), like.as_str(), &app);
    let write = async |token: &str| {
        for _ in 0..5 {
            let (status, post) = app_ref
                .call(Method::POST, "/api/articles", Some(token), &article)
                .await;
            assert_eq!(status, 201);
            let path = format!("/api/articles/{}", post["article"]["slug"].as_str().unwrap());
            for method in [Method::POST, Method::DELETE, Method::POST] {
                let (status, _) = app_ref.call(method, like, Some(token), &nothing).await;
                assert_eq!(status, 200);
            }
            let (status, _) = app_ref.call(Method::DELETE, &path, Some(token), &nothing).await;
            assert_eq!(status, 204);
        }
    };
    tokio::join!(
        write(&ann),
        write(&bob),
        write(&ann),
        write(&bob),
        write(&ann),
        write(&bob),
        write(&ann),
        write(&bob),
        write(&ann),
        write(&bob)
    );
    let (_, list) = app.call(Method::GET, "/api/articles", None, &nothing).await;
    assert_eq!(list["articlesCount"], 1);
    assert_eq!(list["articles"][0]["favoritesCount"], 2);
    let (_, list) = app
        .call(Method::GET, "/api/articles?author=ann", None, &nothing)
        .await;
    assert_eq!(list["articlesCount"], 1);
}
