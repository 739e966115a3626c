//! The rung `cdn`: pictures come from the edge, what is a user's own from the app; on and off without a break.

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::http::Client;
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};

/// What the edge's cache says of an answer; "": nothing.
fn said(answer: &Response<Bytes>) -> String {
    let status = answer.headers().get("cache-status");
    let text = status.and_then(|status| status.to_str().ok()).unwrap_or_default();
    text.replace("\"banyan-edge\"; ", "")
}

async fn sign_up(client: &Client, name: &str) -> String {
    let user = json!({ "user": { "username": name, "email": format!("{name}@photos.test"), "password": "a long password" } });
    let answer = client
        .json(Method::POST, "/api/users", None, &user)
        .await
        .unwrap();
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    body["user"]["token"].as_str().unwrap().to_owned()
}

async fn who_am_i(client: &Client, token: &str) -> (String, String) {
    let request = Request::get("/api/user")
        .header("host", "photos.test")
        .header("authorization", format!("Token {token}"));
    let answer = client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    (
        body["user"]["username"].as_str().unwrap_or_default().to_owned(),
        said(&answer),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_come_from_the_edge_and_what_is_a_users_own_never_does() {
    let mut installation = Installation::new(Manifest::photos(1));
    installation.up().await;
    let picture = async |it: &Installation| it.client().get("/media/demo/7.svg").await.unwrap();
    assert_eq!(said(&picture(&installation).await), "", "off by default");
    installation
        .apply(|manifest| manifest.edge.push("cache = {}".to_owned()))
        .await;
    let first = picture(&installation).await;
    assert!(
        said(&first).starts_with("fwd=uri-miss; stored"),
        "{}",
        said(&first)
    );
    let mut hits = 0;
    for _ in 0..20 {
        let again = picture(&installation).await;
        assert_eq!(again.body(), first.body());
        hits += usize::from(said(&again).starts_with("hit"));
    }
    // The first may still be on its way into the store when the second asks.
    assert!(hits >= 19, "{hits} of 20");
    let client = installation.client();
    let (alice, bob) = (sign_up(&client, "alice").await, sign_up(&client, "bob").await);
    for _ in 0..3 {
        for (name, token) in [("alice", &alice), ("bob", &bob)] {
            let (told, said) = who_am_i(&client, token).await;
            assert_eq!(told, name);
            assert!(!said.starts_with("hit") && !said.contains("stored"), "{said}");
        }
    }
    // By this the page knows who makes pictures in the sizes that it asks for.
    let probe = async |it: &Installation| {
        let answer = it.client().get("/media/probe.png?fmt=webp").await.unwrap();
        answer.headers()["content-type"].clone()
    };
    assert_eq!(probe(&installation).await, "image/png");
    let pictures = "cache = { rules = [{ path = \"/media/*\", image = true }] }".to_owned();
    installation
        .apply(|manifest| manifest.edge = vec![pictures])
        .await;
    assert_eq!(probe(&installation).await, "image/webp");
    installation.apply(|manifest| manifest.edge.clear()).await;
    assert_eq!(said(&picture(&installation).await), "");
    installation.down().await;
}
