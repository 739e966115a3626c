//! Sessions as a browser sees them.

use banyan_testkit::{Postgres, Redis};
use bytes::Bytes;
use http::{Request, Response};
use rustix::process::Signal;

use crate::app::{App, LIMIT, text};

/// Of one visitor, by plain HTTP or behind an edge with TLS.
struct Browser {
    cookie: Option<String>,
    is_secure: bool,
}

impl Browser {
    fn new() -> Self {
        Self {
            cookie: None,
            is_secure: false,
        }
    }

    async fn ask(&mut self, app: &App, method: &str, path: &str) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if self.is_secure {
            request = request.header("x-forwarded-proto", "https");
        }
        let answer = app
            .client
            .send(request.body(Bytes::new()).unwrap())
            .await
            .unwrap();
        if let Some(set) = answer.headers().get("set-cookie") {
            let set = set.to_str().unwrap();
            let pair = set.split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        answer
    }

    async fn page(&mut self, app: &App) -> String {
        text(&self.ask(app, "GET", "/").await)
    }
}

#[tokio::test]
async fn a_visitor_stays_logged_in_on_the_way_to_redis_and_back() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let (database, url) = (postgres.url(), redis.url());
    let plain = [("DATABASE_URL", database.as_str())];
    let with_redis = [("DATABASE_URL", database.as_str()), ("REDIS_URL", &url)];
    let mut browser = Browser::new();
    let mut old = App::ready("visits", &plain).await;
    browser.ask(&old, "POST", "/log-in/ann").await;
    let mut visits = 0;
    for variables in [&with_redis[..], &with_redis, &plain, &plain] {
        let new = App::ready("visits", variables).await;
        for app in [&old, &new, &new, &old] {
            visits += 1;
            assert_eq!(browser.page(app).await, format!("visit {visits} of ann"));
        }
        old.process.signal(Signal::KILL);
        old = new;
        visits += 1;
        assert_eq!(browser.page(&old).await, format!("visit {visits} of ann"));
    }
    old.process.signal(Signal::TERM);
    assert!(old.process.ended(LIMIT).await.unwrap().success());
}

#[tokio::test]
async fn the_cookie_is_as_safe_as_the_connection_allows() {
    let postgres = Postgres::start().unwrap();
    let app = App::ready("visits", &[("DATABASE_URL", &postgres.url())]).await;
    let mut browser = Browser::new();
    let answer = browser.ask(&app, "GET", "/").await;
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    let (value, attributes) = set.split_once("; ").unwrap();
    assert!(value.starts_with("sid="), "{set}");
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=1209600");
    let mut secure = Browser {
        cookie: None,
        is_secure: true,
    };
    let answer = secure.ask(&app, "GET", "/").await;
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        set.starts_with("__Host-sid=") && set.ends_with("; Path=/; Max-Age=1209600; Secure"),
        "{set}"
    );
    assert_eq!(secure.page(&app).await, "visit 2 of a stranger");
    // What came over plain HTTP, where anybody can plant it, is nothing over TLS.
    let mut planted = Browser {
        cookie: browser.cookie.clone(),
        is_secure: true,
    };
    assert_eq!(planted.page(&app).await, "visit 1 of a stranger");
    let answer = secure.ask(&app, "POST", "/log-out").await;
    let removal = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(
        removal.contains("Max-Age=0") && removal.ends_with("; Secure"),
        "{removal}"
    );
}

#[tokio::test]
async fn a_planted_id_is_worth_nothing_after_the_log_in() {
    let postgres = Postgres::start().unwrap();
    let app = App::ready("visits", &[("DATABASE_URL", &postgres.url())]).await;
    let mut attacker = Browser::new();
    attacker.page(&app).await;
    let mut victim = Browser {
        cookie: attacker.cookie.clone(),
        is_secure: false,
    };
    assert_eq!(victim.page(&app).await, "visit 2 of a stranger");
    victim.ask(&app, "POST", "/log-in/ann").await;
    assert_ne!(victim.cookie, attacker.cookie);
    assert_eq!(
        victim.page(&app).await,
        "visit 3 of ann",
        "what was put in before stays"
    );
    assert_eq!(attacker.page(&app).await, "visit 1 of a stranger");
    let invented = Some("sid=AAAAAAAAAAAAAAAAAAAAAA".to_owned());
    let mut inventor = Browser {
        cookie: invented.clone(),
        is_secure: false,
    };
    assert_eq!(inventor.page(&app).await, "visit 1 of a stranger");
    assert_ne!(inventor.cookie, invented, "an id is made by the server alone");
}

#[tokio::test]
async fn a_log_out_everywhere_ends_the_others() {
    let postgres = Postgres::start().unwrap();
    let app = App::ready("visits", &[("DATABASE_URL", &postgres.url())]).await;
    let mut devices = [Browser::new(), Browser::new(), Browser::new()];
    for device in &mut devices {
        device.ask(&app, "POST", "/log-in/ann").await;
    }
    let told = devices[0].ask(&app, "POST", "/log-out-everywhere").await;
    assert_eq!(text(&told), "2 ended");
    let [asked, lost, also_lost] = &mut devices;
    assert_eq!(asked.page(&app).await, "visit 1 of ann");
    assert_eq!(lost.page(&app).await, "visit 1 of a stranger");
    assert_eq!(also_lost.page(&app).await, "visit 1 of a stranger");
}

#[tokio::test]
async fn without_its_sessions_an_app_answers_503() {
    let nobody = banyan_testkit::Port::free();
    let database = format!("postgres://u:p@{}/d", nobody.address());
    let app = App::start("visits", &[("DATABASE_URL", &database)]);
    app.wait_for("/healthz", 200).await;
    let mut browser = Browser::new();
    let answer = browser.ask(&app, "GET", "/").await;
    assert_eq!(answer.status(), 503, "a new session cannot be kept");
    browser.cookie = Some("sid=AAAAAAAAAAAAAAAAAAAAAA".to_owned());
    let answer = browser.ask(&app, "GET", "/").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
}
