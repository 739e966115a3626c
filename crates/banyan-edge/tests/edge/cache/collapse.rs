//! Many want the same at once: one request reaches the origin.

use std::sync::Arc;

use banyan_testkit::upstream::{Message, Upstream, Wire};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::{get, ok, safe, said, world};
use crate::world::World;

const MANY: usize = 1000;

/// Answers when it is let go; counts what it was asked before.
pub(super) struct Held {
    pub upstream: Upstream,
    asked: watch::Receiver<usize>,
    go: Arc<Semaphore>,
}

impl Held {
    pub(super) async fn with(response: impl Fn(&Message) -> String + Clone + Send + Sync + 'static) -> Self {
        let go = Arc::new(Semaphore::new(0));
        let (count, asked) = watch::channel(0);
        let (held, count) = (Arc::clone(&go), Arc::new(count));
        let upstream = Upstream::start(move |mut wire: Wire| {
            let (held, count, response) = (Arc::clone(&held), Arc::clone(&count), response.clone());
            async move {
                while let Some(request) = wire.message().await {
                    count.send_modify(|count| *count += 1);
                    held.acquire().await.unwrap().forget();
                    wire.send(response(&request)).await;
                }
            }
        })
        .await;
        Self { upstream, asked, go }
    }

    pub(super) async fn asked(&mut self, count: usize) {
        self.asked.wait_for(|asked| *asked >= count).await.unwrap();
    }

    pub(super) fn count(&self) -> usize {
        *self.asked.borrow()
    }

    pub(super) fn let_go(&self, count: usize) {
        self.go.add_permits(count);
    }
}

pub(super) async fn many(world: &World, count: usize, path: &str) -> JoinSet<Message> {
    let mut clients = JoinSet::new();
    for n in 0..count {
        let mut client = world.client().await;
        let request = get(path, &format!("X-Who: {n}\r\n"));
        clients.spawn(async move {
            client.send(request).await;
            client.message().await.expect("an answer")
        });
    }
    clients
}

#[tokio::test]
async fn a_thousand_that_miss_cost_the_origin_one_request() {
    let mut origin = Held::with(|_| ok("Cache-Control: max-age=60\r\n", &"x".repeat(10_000))).await;
    let world = world(&origin.upstream, safe()).await;
    let clients = many(&world, MANY, "/").await;
    origin.asked(1).await;
    // However few of them wait by now, the others come to the same.
    origin.let_go(MANY);
    let answers = clients.join_all().await;
    assert!(answers.iter().all(|answer| answer.body.len() == 10_000));
    assert_eq!(*origin.asked.borrow(), 1);
    let collapsed = answers
        .iter()
        .filter(|answer| said(answer).contains("; collapsed"));
    let hits = answers.iter().filter(|answer| said(answer).starts_with("hit"));
    assert_eq!(collapsed.count() + hits.count(), MANY - 1);
}

#[tokio::test]
async fn the_first_that_leaves_takes_nothing_from_the_others() {
    let mut origin = Held::with(|_| ok("Cache-Control: max-age=60\r\n", "kept")).await;
    let world = world(&origin.upstream, safe()).await;
    let mut first = world.client().await;
    first.send(get("/", "")).await;
    origin.asked(1).await;
    let clients = many(&world, 50, "/").await;
    drop(first);
    origin.let_go(MANY);
    let answers = clients.join_all().await;
    assert!(answers.iter().all(|answer| answer.text() == "kept"));
    assert_eq!(*origin.asked.borrow(), 1);
}

#[tokio::test]
async fn what_is_for_one_alone_is_asked_for_by_all_at_once_and_nobody_waits_again() {
    let mut origin = Held::with(|request| ok("Cache-Control: private\r\n", &request.header("x-who"))).await;
    let world = world(&origin.upstream, safe()).await;
    let clients = many(&world, 20, "/").await;
    origin.asked(1).await;
    origin.let_go(1);
    // Now all the others are there together.
    origin.asked(20).await;
    origin.let_go(19);
    let mut seen: Vec<_> = clients.join_all().await.iter().map(Message::text).collect();
    seen.sort_by_key(|who| who.parse::<usize>().unwrap());
    assert_eq!(seen, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    let clients = many(&world, 5, "/").await;
    origin.asked(25).await;
    origin.let_go(5);
    clients.join_all().await;
}

/// Else whoever asks in such a way once a minute has all others ask for themselves.
#[tokio::test]
async fn who_asks_for_itself_does_not_have_others_ask_for_themselves() {
    for way in [
        "Authorization: x\r\n",
        "Cache-Control: no-store\r\n",
        "Cookie: a=1\r\n",
    ] {
        let mut origin = Held::with(|request| match request.header("x-who").as_str() {
            "" => ok("ETag: \"a\"\r\n", "mine"),
            _ => ok("Cache-Control: max-age=60\r\n", "all"),
        })
        .await;
        let world = world(&origin.upstream, safe()).await;
        for (path, waits) in [("/a", true), ("/b", false)] {
            let before = *origin.asked.borrow();
            let mut one = world.client().await;
            one.send(get(path, way)).await;
            origin.asked(before + 1).await;
            if !waits {
                origin.let_go(1);
                assert_eq!(one.message().await.unwrap().text(), "mine");
            }
            let clients = many(&world, 50, path).await;
            if waits {
                origin.let_go(1);
                assert_eq!(one.message().await.unwrap().text(), "mine");
            }
            origin.asked(before + 2).await;
            origin.let_go(MANY);
            let answers = clients.join_all().await;
            assert!(answers.iter().all(|answer| answer.text() == "all"));
            assert_eq!(*origin.asked.borrow(), before + 2, "{way} {path}");
            origin.go.forget_permits(usize::MAX);
        }
    }
}

/// An app that was out of breath once gets one request for many again, and not a minute later.
#[tokio::test]
async fn an_error_is_not_remembered_as_what_is_for_one_alone() {
    let failed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut origin = Held::with(
        move |_| match failed.swap(true, std::sync::atomic::Ordering::SeqCst) {
            false => super::answer("503 Busy", "", "later"),
            true => ok("Cache-Control: max-age=60\r\n", "now"),
        },
    )
    .await;
    let world = world(&origin.upstream, safe()).await;
    origin.let_go(1);
    assert_eq!(world.get("/").await.status(), 503);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let clients = many(&world, 100, "/").await;
    origin.asked(2).await;
    origin.let_go(MANY);
    let answers = clients.join_all().await;
    assert!(answers.iter().all(|answer| answer.text() == "now"));
    assert_eq!(*origin.asked.borrow(), 2);
}

#[tokio::test]
async fn those_who_ask_for_themselves_do_not_wait_for_each_other_again() {
    let mut origin =
        Held::with(|request| ok("Cache-Control: max-age=60\r\n", &request.header("x-who"))).await;
    let world = world(&origin.upstream, safe()).await;
    for (clients, before) in [(20, 0), (5, 20)] {
        let mut asking = JoinSet::new();
        for n in 0..clients {
            let mut client = world.client().await;
            asking.spawn(async move {
                client
                    .send(get("/", &format!("Authorization: x\r\nX-Who: {n}\r\n")))
                    .await;
                client.message().await.unwrap().text() == n.to_string()
            });
        }
        if before == 0 {
            origin.asked(1).await;
            origin.let_go(1);
        }
        origin.asked(before + clients).await;
        origin.let_go(clients);
        assert!(asking.join_all().await.into_iter().all(|own| own));
    }
}

#[tokio::test]
async fn those_who_want_another_variant_share_one_of_their_own() {
    let mut origin = Held::with(|request| {
        let lines = "Cache-Control: max-age=60\r\nVary: X-Kind\r\n";
        ok(lines, &request.header("x-kind"))
    })
    .await;
    let world = world(&origin.upstream, safe()).await;
    let mut clients = JoinSet::new();
    for n in 0..60 {
        let mut client = world.client().await;
        clients.spawn(async move {
            let kind = ["a", "b", "c"][n % 3];
            client.send(get("/", &format!("X-Kind: {kind}\r\n"))).await;
            (kind.to_owned(), client.message().await.unwrap().text())
        });
    }
    origin.asked(1).await;
    origin.let_go(MANY);
    for (wanted, got) in clients.join_all().await {
        assert_eq!(wanted, got);
    }
    assert_eq!(*origin.asked.borrow(), 3);
}
