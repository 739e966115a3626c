//! axum-login, passwords and tokens together.

use banyan_testkit::{Postgres, Redis};
use bytes::Bytes;
use http::{Request, Response};

use crate::app::{App, text};

const KEYS: &str = "a:nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

async fn ask(app: &App, method: &str, path: &str, header: (&str, &str), body: &str) -> Response<Bytes> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header.0, header.1);
    app.client
        .send(request.body(Bytes::from(body.to_owned())).unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_user_of_axum_login_is_known_by_cookie_and_by_token_until_the_password_changes() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let (database, url) = (postgres.url(), redis.url());
    let variables = [
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", &url),
        ("TOKEN_KEYS", KEYS),
    ];
    let app = App::ready("accounts", &variables).await;
    assert_eq!(app.post("/register/ann", "correct horse").await.status(), 201);
    assert_eq!(app.post("/log-in/ann", "wrong").await.status(), 401);
    assert_eq!(app.post("/log-in/bob", "correct horse").await.status(), 401);
    let answer = app.post("/log-in/ann", "correct horse").await;
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    let cookie = ("cookie", cookie.split(';').next().unwrap());
    assert_eq!(text(&ask(&app, "GET", "/me", cookie, "").await), "ann");
    assert_eq!(app.get("/me").await.status(), 401);
    let pair = ask(&app, "POST", "/token", cookie, "").await;
    let pair: serde_json::Value = serde_json::from_slice(pair.body()).unwrap();
    let bearer = format!("Bearer {}", pair["access"].as_str().unwrap());
    assert_eq!(
        text(&ask(&app, "GET", "/by-token", ("authorization", &bearer), "").await),
        "ann"
    );
    assert_eq!(app.get("/by-token").await.status(), 401);
    let sql = banyan_testkit::postgres::connect(&database).await.unwrap();
    let owner = sql
        .query_one("select owner from banyan.session where owner is not null", &[])
        .await
        .unwrap();
    assert_eq!(
        owner.get::<_, &str>(0),
        "ann",
        "its sessions can be ended everywhere"
    );
    sql.batch_execute("update account set password = 'another'")
        .await
        .unwrap();
    assert_eq!(ask(&app, "GET", "/me", cookie, "").await.status(), 401);
}
