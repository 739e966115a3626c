//! What the upstream is told of the client, what the client is told back, what the log says.

use banyan_testkit::upstream::Upstream;

use crate::world::World;

async fn mirror() -> Upstream {
    Upstream::answering(|r| {
        let names = [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-request-id",
        ];
        names.map(|n| r.header(n)).join(" ")
    })
    .await
}

const CLAIM: &str = "GET /p?token=secret HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
    X-Request-Id: mine\r\n\r\n";

#[tokio::test]
async fn an_untrusted_client_cannot_say_who_it_is() {
    let upstream = mirror().await;
    let world = World::start(&[upstream.address]).await;
    let answer = world.ask(CLAIM).await;
    let id = answer.header("x-request-id");
    assert_eq!(id.len(), 32);
    assert_eq!(answer.text(), format!("127.0.0.1 http a {id}"));
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_its_request_id_kept() {
    let upstream = mirror().await;
    let world = World::with(&[upstream.address], |s| {
        s.settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let answer = world.ask(CLAIM).await;
    assert_eq!(answer.text(), "1.2.3.4, 127.0.0.1 https a mine");
    assert_eq!(answer.header("x-request-id"), "mine");
}

#[tokio::test]
async fn the_log_has_one_line_per_request_and_no_query() {
    let upstream = mirror().await;
    let world = World::start(&[upstream.address]).await;
    let answer = world.ask(CLAIM).await;
    let lines = world.logged(1).await;
    let line = &lines[0];
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&line["path"], &line["status"], &line["upstream"]),
        (&"/p".into(), &200.into(), &"web.1@r1".into())
    );
    assert_eq!(line["id"], answer.header("x-request-id"));
    assert_eq!(line["bytes"], answer.body.len());
    assert_eq!(line["outcome"], "answered");
}

#[tokio::test]
async fn the_log_can_be_switched_off_by_snapshot() {
    let upstream = mirror().await;
    let mut world = World::start(&[upstream.address]).await;
    world.get("/logged").await;
    world.publish(|s| s.settings.access_log = false).await;
    world.get("/silent").await;
    world.publish(|s| s.settings.access_log = true).await;
    world.get("/again").await;
    let paths: Vec<_> = world.logged(2).await.iter().map(|l| l["path"].clone()).collect();
    assert!(
        paths.contains(&"/logged".into()) && paths.contains(&"/again".into()) && paths.len() == 2,
        "{paths:?}"
    );
}

#[tokio::test]
async fn a_browser_gets_a_page_and_a_program_json() {
    let upstream = mirror().await;
    let world = World::with(&[upstream.address], |s| s.settings.limits.body = 1).await;
    let ask =
        |accept: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nContent-Length: 9\r\n\r\n");
    let page = world.ask(&ask("text/html,*/*;q=0.8")).await;
    assert!(
        page.text().contains("<h1>413 Payload Too Large</h1>")
            && page.header("content-type").starts_with("text/html")
    );
    let json: serde_json::Value = serde_json::from_str(&world.ask(&ask("*/*")).await.text()).unwrap();
    assert_eq!(
        (&json["status"], &json["error"]),
        (&413.into(), &"the request body is larger than allowed".into())
    );
}

/// What an app may take for the word of a proxy, under whatever spelling, or for another path than the edge has judged.
#[tokio::test]
async fn nothing_that_only_a_proxy_says_comes_from_a_stranger() {
    let claims = "X-Forwarded-Scheme: http\r\nX-Forwarded-Ssl: on\r\nX-Forwarded-Server: evil\r\nX-Forwarded-Uri: /evil\r\n\
        X-Forwarded-Method: DELETE\r\nX_Forwarded_For: 1.2.3.4\r\nX_Forwarded-Host: evil\r\nX_Real_IP: 1.2.3.4\r\n\
        X-Original-URL: /evil\r\nX-Rewrite-URL: /evil\r\nX-Original-Host: evil\r\nX_Request_Id: 7\r\nFront-End-Https: on\r\n";
    let upstream = Upstream::answering(|r| {
        let names = r.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
        names.collect::<Vec<_>>().join(" ")
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{claims}X_Custom: 1\r\nX-Forwarded: 1\r\n\r\n");
    let heard = world.ask(&request).await.text();
    let mut heard: Vec<_> = heard.split(' ').collect();
    heard.sort_unstable();
    let own = [
        "host",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
        "x_custom",
    ];
    let heard: Vec<_> = heard.into_iter().filter(|name| *name != "traceparent").collect();
    assert_eq!(heard, own);
    let world = World::with(&[upstream.address], |s| {
        s.settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let heard = world.ask(&request).await.text();
    assert!(
        heard.contains("x-forwarded-scheme") && heard.contains("x-original-url"),
        "{heard}"
    );
}
