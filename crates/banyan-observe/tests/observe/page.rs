//! Who may look, what is answered, and what a person sees. Screenshots stay in the target directory's `tmp/observe-screens`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use banyan_testkit::browser::{self, Browser, Screen};

use crate::world::{Fault, System, World};

const DESKTOP: Screen = Screen {
    width: 1280,
    height: 1400,
    is_dark: false,
    is_phone: false,
};
const PHONE: Screen = Screen {
    width: 390,
    height: 1800,
    is_dark: true,
    is_phone: true,
};

#[tokio::test]
async fn only_who_has_the_token_is_answered_and_nothing_can_be_changed() {
    let world = World::new().await;
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or_default().to_owned();
    assert_eq!(status(&world.get("/metrics", "").await), "401");
    assert_eq!(status(&world.get("/", "").await), "401");
    assert_eq!(status(&world.get("/", "Cookie: banyan=x\r\n").await), "401");
    let linked = world
        .get(world.link().split_at(world.link().find("/?").unwrap()).1, "")
        .await;
    assert!(
        linked.starts_with("HTTP/1.1 303") && linked.contains("HttpOnly; SameSite=Strict"),
        "{linked}"
    );
    let page = world.get_with_token("/", "").await;
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("default-src 'none'"),
        "{page}"
    );
    assert_eq!(status(&world.get_with_token("/nothing", "").await), "404");
}

#[tokio::test]
async fn the_page_of_metrics_is_of_the_whole_system_in_the_form_that_is_asked_for() {
    let world = World::new().await;
    let plain = world.get_with_token("/metrics", "").await;
    for name in [
        "system_cpu_logical_count",
        "banyan_child_up{child=\"edge\"} 1",
        "banyan_build_info{role=\"observe\"",
        "redis_up{redis=\"cache\"} 1",
    ] {
        assert!(plain.contains(name), "{name}\n{plain}");
    }
    assert!(!plain.contains("# EOF"));
    let open = world
        .get_with_token("/metrics", "Accept: application/openmetrics-text\r\n")
        .await;
    assert!(
        open.contains("# TYPE system_cpu_time_seconds counter") && open.contains("# EOF"),
        "{open}"
    );
}

#[tokio::test]
async fn a_bucket_leads_to_the_newest_trace_that_was_kept_of_it() {
    let world = World::new().await;
    world
        .metrics_with_exemplar(&["http_route=\"api\"", "\"2xx\"", "le=\"2.5\""])
        .await;
    let plain = world.get_with_token("/metrics", "").await;
    assert!(!plain.contains("trace_id"), "{plain}");
}

#[tokio::test]
async fn the_terminal_sees_rates_and_what_has_died() {
    let world = World::new().await;
    let view = world
        .view(|view| view.total.per_second.is_some_and(|rate| rate > 0.0))
        .await;
    assert_eq!((view.app.as_str(), view.release.as_deref()), ("shop", Some("r3")));
    world.breaks(Fault::InstanceKilled);
    let dead = |view: &banyan_observe::view::View| {
        view.troubles
            .iter()
            .any(|trouble| trouble.what == "web.2@r3 has ended, is started again")
    };
    world.view(dead).await;
}

struct Visit {
    browser: Browser,
    world: World,
}

impl Visit {
    /// `None`, and a word about it, where there is no browser.
    async fn begin() -> Option<Self> {
        if browser::installed().is_none() {
            eprintln!("skipped: Chromium is not installed (apt-get install chromium)");
            return None;
        }
        let world = World::new().await;
        let browser = Browser::start().await.unwrap();
        Some(Self { browser, world })
    }

    async fn open(&mut self) {
        let link = self.world.link();
        self.browser.screen(DESKTOP).await.unwrap();
        self.browser.open(&link).await.unwrap();
    }

    /// The system serves while the page is waited for.
    async fn until(&mut self, what: &str) {
        for _ in 0..300 {
            self.world.system.send_modify(System::serve);
            // While the page is replaced there is nobody to ask.
            let held = self.browser.value(&format!("!!({what})")).await;
            if matches!(held, Ok(serde_json::Value::Bool(true))) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never so: {what}");
    }

    async fn keep(&mut self, name: &str, screen: Screen) {
        self.browser.screen(screen).await.unwrap();
        self.until("document.querySelectorAll('#wires path').length >= 8")
            .await;
        let wide = self
            .browser
            .value("document.documentElement.scrollWidth <= innerWidth")
            .await
            .unwrap();
        assert_eq!(
            wide,
            serde_json::Value::Bool(true),
            "{name} is wider than its screen"
        );
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("observe-screens");
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join(format!("{name}.png")),
            self.browser.screenshot().await.unwrap(),
        )
        .unwrap();
    }
}

#[tokio::test]
async fn a_person_sees_that_all_is_well_and_within_seconds_what_is_broken() {
    let Some(mut visit) = Visit::begin().await else {
        return;
    };
    visit.open().await;
    visit
        .until("document.querySelectorAll('.part').length === 10")
        .await;
    visit
        .until("document.querySelectorAll('.part.bad').length === 0 && document.querySelector('.wire.flows')")
        .await;
    assert_eq!(
        visit.browser.value("location.search").await.unwrap(),
        serde_json::json!(""),
        "the token stays in the address"
    );
    visit
        .until("document.querySelectorAll('.chart path').length > 3")
        .await;
    visit.keep("healthy", DESKTOP).await;
    visit.keep("healthy-phone-dark", PHONE).await;
    visit.until("document.querySelector('#alerts-box').hidden").await;
    visit.world.fires();
    visit.until("document.querySelector('#verdict.bad') && document.querySelector('#troubles li').innerText.startsWith('P0 no-primary')").await;
    visit
        .until("document.querySelectorAll('#alerts td.unknown').length === 2 && document.querySelector('#alerts').innerText.includes('silenced')")
        .await;
    visit.keep("alerts", DESKTOP).await;
    visit.keep("alerts-phone-dark", PHONE).await;
    visit.world.nothing_fires();
    visit
        .until("document.querySelector('#alerts-box').hidden && !document.querySelector('#troubles').innerText.includes('no-primary')")
        .await;
    visit.world.breaks(Fault::InstanceKilled);
    visit.until("document.querySelector('#verdict.bad') && document.querySelector('#troubles').innerText.includes('web.2@r3 has ended')").await;
    visit.keep("instance-killed", DESKTOP).await;
    visit.keep("instance-killed-phone-dark", PHONE).await;
    assert_eq!(visit.browser.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_lost_primary_and_a_flash_crowd_say_what_they_are() {
    let Some(mut visit) = Visit::begin().await else {
        return;
    };
    visit.open().await;
    visit
        .until("document.querySelectorAll('.part.bad').length === 0 && document.querySelector('.wire.flows')")
        .await;
    visit.world.breaks(Fault::PrimaryLost);
    visit
        .until("document.querySelector('#verdict.bad') && document.querySelector('.part.bad[data-id=db1]') && document.querySelector('#troubles').innerText.includes('db1 has ended')")
        .await;
    visit.keep("primary-lost", DESKTOP).await;
    visit.keep("primary-lost-phone-dark", PHONE).await;
    visit.world.breaks(Fault::None);
    visit
        .until("document.querySelectorAll('.part.bad').length === 0")
        .await;
    visit.world.breaks(Fault::FlashCrowd);
    visit
        .until("document.querySelector('#troubles').innerText.includes('3 of the 9 instances') && document.querySelector('#troubles').innerText.includes('34 requests wait')")
        .await;
    visit.keep("flash-crowd", DESKTOP).await;
    visit.keep("flash-crowd-phone-dark", PHONE).await;
    assert_eq!(visit.browser.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_person_opens_a_slow_request_and_sees_where_its_time_went() {
    let Some(mut visit) = Visit::begin().await else {
        return;
    };
    visit.world.traced();
    visit.open().await;
    visit.until("document.querySelector('#traces button.open')").await;
    let open = "document.querySelector('#traces button.open').click()";
    visit.browser.value(open).await.unwrap();
    visit
        .until("document.querySelectorAll('.step').length === 5 && document.querySelector('.step.cause').innerText.includes('charge') && document.querySelector('.step.bad').innerText.includes('SELECT')")
        .await;
    let bars = "[...document.querySelectorAll('.step .track i')].map((bar) => Math.round(bar.getBoundingClientRect().left))";
    let lefts = visit.browser.value(bars).await.unwrap();
    let lefts: Vec<i64> = serde_json::from_value(lefts).unwrap();
    assert!(
        lefts[0] == lefts[1] && lefts[2] < lefts[3] && lefts[3] < lefts[4],
        "{lefts:?}"
    );
    visit.keep("trace", DESKTOP).await;
    visit.keep("trace-phone-dark", PHONE).await;
    assert_eq!(visit.browser.complaints(), Vec::<String>::new());
}
