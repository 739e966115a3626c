//! The page's log-in: a cookie that is good at every instance, beside tokens.

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use crate::world::{App, World};

/// A browser's cookie jar of one cookie, and where its requests come from.
struct Browser {
    cookie: String,
    site: &'static str,
}

impl Browser {
    fn new() -> Self {
        Self {
            cookie: String::new(),
            site: "same-origin",
        }
    }

    async fn ask(&mut self, app: &App, method: Method, path: &str, body: &Value) -> Response<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("sec-fetch-site", self.site)
            .header("cookie", &self.cookie)
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let answer = app.client.send(request).await.unwrap();
        if let Some(set) = answer.headers().get("set-cookie") {
            let set = set.to_str().unwrap();
            let is_taken_back = set.contains("Max-Age=0");
            assert!(
                is_taken_back || set.contains("HttpOnly") && set.contains("SameSite=Lax"),
                "{set}"
            );
            set.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer
    }

    async fn log_in(&mut self, app: &App, name: &str) -> u16 {
        let given = json!({"user": {"email": format!("{name}@x.test"), "password": "password123"}});
        let answer = self.ask(app, Method::POST, "/api/session", &given).await;
        assert!(!String::from_utf8_lossy(answer.body()).contains("token"));
        answer.status().as_u16()
    }

    /// Whose session it is; none: "".
    async fn name(&mut self, app: &App) -> String {
        let answer = self.ask(app, Method::GET, "/api/session", &Value::Null).await;
        assert_eq!(answer.headers()["cache-control"], "private, no-cache");
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        body["user"]["username"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn a_session_of_one_instance_is_good_at_another_until_its_end() {
    let world = World::new().await;
    let (one, two) = (world.ready("web.1").await, world.ready("web.2").await);
    one.register("ann").await;
    let mut ann = Browser::new();
    assert_eq!(ann.name(&one).await, "");
    assert_eq!(ann.cookie, "", "who only looks gets no cookie");
    assert_eq!(ann.log_in(&one, "ann").await, 200);
    assert_eq!(ann.name(&two).await, "ann");
    let post = crate::world::article("by the page");
    assert_eq!(
        ann.ask(&two, Method::POST, "/api/articles", &post).await.status(),
        201
    );
    let stolen = Browser {
        cookie: ann.cookie.clone(),
        ..Browser::new()
    };
    assert_eq!(
        ann.ask(&two, Method::DELETE, "/api/session", &Value::Null)
            .await
            .status(),
        204
    );
    let mut stolen = stolen;
    for app in [&one, &two] {
        assert_eq!(stolen.name(app).await, "", "it ended for everybody");
    }
    let mut wrong = Browser::new();
    let given = json!({"user": {"email": "ann@x.test", "password": "wrong"}});
    assert_eq!(
        wrong
            .ask(&one, Method::POST, "/api/session", &given)
            .await
            .status(),
        401
    );
    assert_eq!(
        wrong
            .ask(&one, Method::POST, "/api/session", &json!({}))
            .await
            .status(),
        422
    );
}

#[tokio::test]
async fn another_site_cannot_make_a_page_act() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    app.register("ann").await;
    let mut ann = Browser::new();
    ann.log_in(&app, "ann").await;
    for site in ["cross-site", "same-site"] {
        ann.site = site;
        let post = crate::world::article("forged");
        assert_eq!(
            ann.ask(&app, Method::POST, "/api/articles", &post).await.status(),
            403,
            "{site}"
        );
    }
    let list = app.get("/api/articles").await;
    assert!(!String::from_utf8_lossy(list.body()).contains("forged"));
}

#[tokio::test]
async fn a_log_in_gets_a_new_id_and_a_new_password_ends_the_other_sessions_and_tokens() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let token = app.register("ann").await;
    // It is the one that this change keeps; the next one, by the page, keeps no token.
    let same = json!({"user": {"password": "password123"}});
    let (status, _) = app.call(Method::PUT, "/api/user", Some(&token), &same).await;
    assert_eq!(status, 200);
    let (mut here, mut there) = (Browser::new(), Browser::new());
    here.log_in(&app, "ann").await;
    there.log_in(&app, "ann").await;
    let first = here.cookie.clone();
    here.log_in(&app, "ann").await;
    assert_ne!(here.cookie, first, "what somebody planted is worth nothing");
    let change = json!({"user": {"password": "another-password"}});
    assert_eq!(
        here.ask(&app, Method::PUT, "/api/user", &change).await.status(),
        200
    );
    assert_eq!(here.name(&app).await, "ann");
    assert_eq!(there.name(&app).await, "");
    let (status, _) = app
        .call(Method::GET, "/api/user", Some(&token), &Value::Null)
        .await;
    assert_eq!(status, 401);
}
