//! Clients that stay with their instance, by cookie and by address.

use std::time::Duration;

use banyan_config::{Balance, Sticky};
use banyan_testkit::upstream::{Message, Upstream};
use banyan_topology::snapshot::{EdgeSnapshot, EndpointState};

use crate::world::{World, endpoint};

async fn answering(count: usize) -> Vec<Upstream> {
    let mut all = Vec::new();
    for number in 1..=count {
        all.push(Upstream::answering(move |_| number.to_string()).await);
    }
    all
}

async fn world(upstreams: &[Upstream], change: impl FnOnce(&mut EdgeSnapshot)) -> World {
    let addresses: Vec<_> = upstreams.iter().map(|u| u.address).collect();
    World::with(&addresses, |s| {
        s.settings.sticky = Some(Sticky::Cookie("shop_i".to_owned()));
        s.settings.balance = Balance::RoundRobin;
        s.settings.slow_start = Duration::ZERO;
        change(s);
    })
    .await
}

async fn ask(world: &World, cookie: &str) -> Message {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: theme=dark; {cookie}; x=y\r\n\r\n");
    world.ask(&head).await
}

/// The pair that a browser would send back.
fn pair(answer: &Message) -> String {
    let set = answer.header("set-cookie");
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_gets_a_cookie_once_and_stays_while_instances_come() {
    let upstreams = answering(5).await;
    let mut world = world(&upstreams[..3], |_| {}).await;
    let first = ask(&world, "none=1").await;
    let set = first.header("set-cookie");
    assert!(set.starts_with("shop_i="), "{set}");
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{set}");
    let cookie = pair(&first);
    for round in 0..3 {
        for _ in 0..10 {
            let answer = ask(&world, &cookie).await;
            assert_eq!(
                (answer.text(), answer.header("set-cookie")),
                (first.text(), String::new())
            );
        }
        if let Some(new) = upstreams.get(3 + round) {
            let address = new.address;
            world
                .publish(|s| s.upstream.endpoints.push(endpoint(4 + round, address)))
                .await;
            world.until(|r| r.endpoints.iter().all(|e| e.healthy)).await;
        }
    }
}

#[tokio::test]
async fn a_client_whose_instance_drains_or_dies_goes_to_another_and_stays_there() {
    let mut upstreams = answering(4).await;
    let mut world = world(&upstreams, |_| {}).await;
    let mut cookie = "none=1".to_owned();
    for dies in [false, true, false] {
        let first = ask(&world, &cookie).await;
        let current = if first.header("set-cookie").is_empty() {
            cookie.clone()
        } else {
            pair(&first)
        };
        let number: usize = first.text().parse().unwrap();
        if dies {
            let dead = Upstream::answering(|_| "dead".to_owned()).await;
            std::mem::replace(&mut upstreams[number - 1], dead).kill().await;
        } else {
            world
                .publish(|s| s.upstream.endpoints[number - 1].state = EndpointState::Draining)
                .await;
        }
        let moved = ask(&world, &current).await;
        assert_ne!(moved.text(), first.text());
        if moved.header("set-cookie").is_empty() {
            // A killed one is not known to be dead by every core at once: the next answer moves the client.
            world.until(|r| r.endpoints.iter().any(|e| !e.healthy)).await;
        }
        let moved = ask(&world, &current).await;
        cookie = pair(&moved);
        assert!(cookie.starts_with("shop_i="), "{cookie}");
        for _ in 0..10 {
            let answer = ask(&world, &cookie).await;
            assert_eq!(
                (answer.text(), answer.header("set-cookie")),
                (moved.text(), String::new())
            );
        }
    }
}

#[tokio::test]
async fn a_deploy_keeps_a_client_in_its_slot() {
    let upstreams = answering(3).await;
    let mut world = world(&upstreams[..2], |_| {}).await;
    let mut cookie = String::new();
    while !cookie.starts_with("shop_i=1.") {
        cookie = pair(&ask(&world, "none=1").await);
    }
    let address = upstreams[2].address;
    world
        .publish(|s| {
            s.upstream.endpoints[0].state = EndpointState::Draining;
            let mut new = endpoint(1, address);
            new.id = "web.1@r2".parse().unwrap();
            s.upstream.endpoints.push(new);
        })
        .await;
    world.until(|r| r.endpoints.iter().all(|e| e.healthy)).await;
    // Cores hear of a check before they hear of a later snapshot.
    world.publish(|_| {}).await;
    for _ in 0..10 {
        let answer = ask(&world, &cookie).await;
        assert_eq!(
            (answer.text().as_str(), answer.header("set-cookie").as_str()),
            ("3", "")
        );
    }
}

#[tokio::test]
async fn a_forged_cookie_is_nothing_and_is_replaced() {
    let upstreams = answering(2).await;
    let world = world(&upstreams, |_| {}).await;
    let good = pair(&ask(&world, "none=1").await);
    for forged in [
        "shop_i=1",
        "shop_i=",
        &format!("{good}0"),
        &good.replace('.', ".0"),
        "shop_i=2.0000",
    ] {
        let answer = ask(&world, forged).await;
        assert!(answer.header("set-cookie").starts_with("shop_i="), "{forged}");
    }
}

#[tokio::test]
async fn the_cookie_is_secure_where_the_client_uses_tls_and_the_apps_own_cookies_stay() {
    let upstream = Upstream::start(|mut wire| async move {
        while wire.message().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nContent-Length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    let upstreams = [upstream];
    let world = world(&upstreams, |s| {
        s.settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n";
    let answer = world.ask(head).await;
    let all = answer.header("set-cookie");
    assert!(all.starts_with("session=1|shop_i=1."), "{all}");
    assert!(all.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{all}");
}

#[tokio::test]
async fn by_address_a_client_stays_whatever_the_policy_and_gets_no_cookie() {
    let upstreams = answering(3).await;
    let world = world(&upstreams, |s| s.settings.sticky = Some(Sticky::Ip)).await;
    let first = ask(&world, "none=1").await;
    for _ in 0..20 {
        let answer = ask(&world, "none=1").await;
        assert_eq!(
            (answer.text(), answer.header("set-cookie")),
            (first.text(), String::new())
        );
    }
}
