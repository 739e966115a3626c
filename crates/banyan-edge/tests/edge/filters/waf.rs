//! Rules against attacks, over real sockets: what is refused, what is only counted, forms on their way.

use banyan_config::{Filters, Waf, WafMode};
use banyan_testkit::upstream::{Message, Upstream, Wire};

use super::{asking, route};
use crate::world::{World, post};

fn waf(mode: WafMode, except: &[&str]) -> Filters {
    Filters {
        waf: Some(Waf {
            mode,
            except: except.iter().map(|id| (*id).to_owned()).collect(),
        }),
        ..Filters::default()
    }
}

fn form(path: &str, body: &str) -> String {
    let kind = "Host: app.example\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    post(path, body).replacen("Host: app.example\r\n", kind, 1)
}

/// `/block` refuses, `/log` counts, `/except` blocks all but W301; the app answers with the body that it got.
async fn guarded() -> (World, Upstream) {
    let upstream = Upstream::answering(|request| format!("got {}", request.text())).await;
    let world = World::with(&[upstream.address], |s| {
        crate::metrics::served(s);
        s.routes = vec![
            route("block", waf(WafMode::Block, &[])),
            route("log", waf(WafMode::Log, &[])),
            route("except", waf(WafMode::Block, &["W301"])),
        ];
    })
    .await;
    (world, upstream)
}

fn refused(answer: &Message, rule: &str) {
    assert_eq!(answer.status(), 403);
    assert!(answer.text().contains(rule), "{}", answer.text());
}

#[tokio::test]
async fn an_attack_is_refused_or_counted_as_its_route_says() {
    let (world, _upstream) = guarded().await;
    refused(&world.get("/block/x?q=1+union+select+2").await, "W201");
    refused(&world.get("/block/.git/config").await, "W110");
    refused(
        &world.ask(&asking("/block", "User-Agent: sqlmap/1.7\r\n")).await,
        "W111",
    );
    for path in [
        "/log/x?q=1+union+select+2",
        "/x?q=1+union+select+2",
        "/block/x?q=union+of+selected",
    ] {
        assert_eq!(world.get(path).await.status(), 200, "{path}");
    }
    refused(&world.get("/except/x?q=../../x").await, "W101");
    assert_eq!(world.get("/except/x?q=%3Cscript%3E").await.status(), 200);
}

#[tokio::test]
async fn a_form_is_judged_before_its_end_reaches_the_app() {
    let (world, _upstream) = guarded().await;
    let honest = "name=O%27Brien&text=hello%0D%0ALocation%3A+here&n=1";
    assert_eq!(
        world.ask(&form("/block", honest)).await.text(),
        format!("got {honest}")
    );
    let attack = "a=1&b=%27+or+1%3D1--&c=2";
    let answer = world.ask(&form("/block", attack)).await;
    refused(&answer, "W202");
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(
        world.ask(&form("/log", attack)).await.text(),
        format!("got {attack}")
    );
    // Not a form: nobody knows what is meant.
    assert_eq!(
        world.ask(&post("/block", attack)).await.text(),
        format!("got {attack}")
    );
    // Piece by piece, with the attack last.
    let mut client: Wire = world.client().await;
    let whole = form("/block", attack);
    let (first, rest) = whole.split_at(whole.find("+or").unwrap());
    client.send(first).await;
    client.send(rest).await;
    refused(&client.message().await.expect("an answer"), "W202");
}

#[tokio::test]
async fn what_is_met_is_counted_by_rule() {
    let (mut world, _upstream) = guarded().await;
    world.get("/block/.env").await;
    world.get("/log/.env").await;
    world.settled().await;
    let page = crate::metrics::page(&world).await;
    for action in ["blocked", "logged"] {
        let labels = ["rule=\"W110\"".to_owned(), format!("action=\"{action}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(page.sum("banyan_edge_waf_total", &labels), 1.0, "{action}");
    }
}
