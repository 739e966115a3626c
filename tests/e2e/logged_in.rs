//! An app of the SDK (its example `visits`) while its sessions move to Redis and back: nobody is logged out, no visit is forgotten.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::wait;

use crate::languages::Browser;

const VISITORS: usize = 6;
/// Between a visitor's visits: two cores have time to spare, or it would be a test of what happens without.
const PAUSE: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_secs(120);

fn installation() -> Installation {
    let mut manifest = Manifest::photos(2).process("stop_grace = \"15s\"");
    manifest.command = "./visits".to_owned();
    manifest.release = None;
    let it = Installation::new(manifest);
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().parent().unwrap();
    fs::copy(built.join("examples/visits"), it.app().join("visits")).unwrap();
    it
}

/// Visits until told to stop; each must know all that came before it.
async fn visit(mut browser: Browser, answered: Arc<AtomicU32>, stop: Arc<AtomicBool>) {
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        let (status, page) = browser.ask("GET", "/").await;
        let number = page
            .strip_prefix("visit ")
            .and_then(|rest| rest.strip_suffix(" of ann"));
        let number: u32 = number.and_then(|number| number.parse().ok()).unwrap_or_default();
        assert!(
            status == 200 && number > last,
            "{status} after visit {last}: {page}"
        );
        last = number;
        answered.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_logged_out_while_sessions_move_to_redis_and_back_under_load() {
    let mut it = installation();
    it.up().await;
    let (answered, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let mut visitors = Vec::new();
    for _ in 0..VISITORS {
        let mut browser = Browser::of(&it);
        assert_eq!(browser.ask("POST", "/log-in/ann").await.0, 200, "{}", it.logs());
        let work = visit(browser, Arc::clone(&answered), Arc::clone(&stop));
        visitors.push(tokio::runtime::Handle::current().spawn(work));
    }
    for tables in [
        vec!["[sessions]".to_owned()],
        Vec::new(),
        vec!["[sessions]".to_owned()],
    ] {
        it.apply(|manifest| manifest.more = tables).await;
        let goal = answered.load(Ordering::Relaxed) + 200;
        let more = wait::until("more visits", LIMIT, async || {
            assert!(
                visitors.iter().all(|visitor| !visitor.is_finished()),
                "{}",
                it.logs()
            );
            let now = answered.load(Ordering::Relaxed);
            if now >= goal { Ok(()) } else { Err(now) }
        });
        more.await.unwrap();
    }
    it.verb(&["deploy"]).await;
    stop.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.await.unwrap();
    }
    println!("{} visits, none unknown", answered.load(Ordering::Relaxed));
    it.down().await;
    it.assert_nothing_runs();
}
