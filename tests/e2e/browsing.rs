//! A person at the whole system: the sample app's page in a real browser, through the edge, at the rung with sessions and a
//! cache in Redis and a cache in the edge, while it is deployed and its instances die. Screenshots stay in the target directory's
//! `tmp/site-screens`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::browser::{self, Browser, Screen};
use banyan_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::redis::ask;
use crate::scenario::reaped;
use crate::servers::set;

const DESK: Screen = Screen {
    width: 1440,
    height: 900,
    is_dark: false,
    is_phone: false,
};
const INSTANCES: u32 = 3;
const LIMIT: Duration = Duration::from_secs(120);
/// Slow enough that a photo takes seconds, in which a person wants to see it go.
const UPLOAD_SECONDS: usize = 4;
/// What the page says of the upload, each word once.
const WATCH: &str = "said = [], new MutationObserver(() => said.at(-1) === document.querySelector('.state').textContent || \
    said.push(document.querySelector('.state').textContent)).observe(document.querySelector('.state'), { childList: true })";

struct Person {
    browser: Browser,
    it: Installation,
}

/// As `stages/cdn.toml`.
fn manifest() -> Manifest {
    let mut manifest = Manifest::photos(INSTANCES)
        .process("stop_grace = \"10s\"")
        .edge("cache = { memory = \"64MiB\", rules = [{ path = \"/media/*\", image = true }] }");
    manifest.release = Some("./photos migrate --demo".to_owned());
    set(&mut manifest, &["replicas = 1", "durability = \"sync\""]);
    manifest.more = vec!["[sessions]".to_owned(), "[cache]".to_owned()];
    manifest
}

impl Person {
    /// `None`, and a word about it, where there is no browser.
    async fn come() -> Option<Self> {
        if browser::installed().is_none() {
            println!("SKIPPED: Chromium is not installed (apt-get install chromium)");
            return None;
        }
        let mut it = Installation::new(manifest());
        it.up().await;
        let mut browser = Browser::start().await.unwrap();
        browser.screen(DESK).await.unwrap();
        Some(Self { browser, it })
    }

    async fn open(&mut self, hash: &str) {
        let url = format!("http://{}/{hash}", self.it.edge_address());
        self.browser.open(&url).await.unwrap();
        self.until("document.querySelector('main')?.firstChild && !document.querySelector('main').ariaBusy")
            .await;
    }

    async fn until(&mut self, expression: &str) {
        if let Err(error) = self.browser.until(expression).await {
            panic!("{error}\n{}", self.it.logs());
        }
    }

    async fn value(&mut self, expression: &str) -> Value {
        self.browser.value(expression).await.unwrap()
    }

    async fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression).await;
        value
            .as_str()
            .unwrap_or_else(|| panic!("{expression}: {value}"))
            .to_owned()
    }

    async fn click(&mut self, selector: &str) {
        self.browser.click(selector).await.unwrap();
    }

    async fn fill(&mut self, selector: &str, text: &str) {
        self.browser.fill(selector, text).await.unwrap();
    }

    /// All pictures on the screen are there.
    async fn keep(&mut self, name: &str) {
        self.until("[...document.images].every((image) => image.complete || image.getBoundingClientRect().top > innerHeight)")
            .await;
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("site-screens");
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join(format!("{name}.png")),
            self.browser.screenshot().await.unwrap(),
        )
        .unwrap();
    }

    async fn log_in(&mut self) {
        self.open("#/login").await;
        self.fill("form [name=email]", "demo@photos.test").await;
        self.fill("form [name=password]", "photos-demo").await;
        self.browser.press("Enter").await.unwrap();
        self.until("location.hash === '#/' && document.querySelector('.me')")
            .await;
    }

    /// More comes until all of the first pages is there, each post once.
    async fn scroll(&mut self) {
        for cards in [18, 36, 54] {
            self.until(&format!("document.querySelectorAll('.card').length >= {cards}"))
                .await;
            self.value("scrollTo(0, document.body.scrollHeight)").await;
        }
        let links = "[...document.querySelectorAll('.card h3 a')].map((link) => link.href)";
        self.until(&format!("new Set({links}).size === {links}.length"))
            .await;
        self.value("scrollTo(0, 0)").await;
    }

    /// A photo of what is on the screen, over a slow line.
    async fn post_a_photo(&mut self, title: &str) {
        let photo = self.browser.screenshot().await.unwrap();
        let file = self.it.dir().join("photo.png");
        fs::write(&file, &photo).unwrap();
        self.open("#/new").await;
        self.until("document.querySelector('.drop input')").await;
        self.value(WATCH).await;
        self.browser
            .slow_uploads(Some(photo.len() / UPLOAD_SECONDS))
            .await
            .unwrap();
        self.browser.choose(".drop input", &file).await.unwrap();
        self.until("document.querySelector('.state').textContent.startsWith('Sending … ')")
            .await;
        self.keep("uploading").await;
        self.until("document.querySelector('.state').textContent.startsWith('Ready')")
            .await;
        self.browser.slow_uploads(None).await.unwrap();
        let said = self.value("said").await;
        assert_uploaded(&said);
        for (name, text) in [
            ("title", title),
            ("description", "Seen on a screen"),
            ("body", "Once."),
            ("tags", "screens"),
        ] {
            self.fill(&format!("form [name={name}]"), text).await;
        }
        self.click("button[type=submit]:not(.write *)").await;
        self.until(&format!(
            "document.querySelector('.post h1')?.textContent === {}",
            json!(title)
        ))
        .await;
    }

    async fn like_and_comment(&mut self, comment: &str) {
        let is_liked = "document.querySelector('.post .like').ariaPressed === 'true'";
        let before = self.value(is_liked).await;
        self.click(".post .like").await;
        self.until(&format!("({is_liked}) !== {before}")).await;
        self.fill(".write input", comment).await;
        self.browser.press("Enter").await.unwrap();
        self.says(comment).await;
    }

    async fn says(&mut self, comment: &str) {
        self.until(&format!(
            "document.querySelector('.comment p')?.textContent === {}",
            json!(comment)
        ))
        .await;
    }

    /// As who reloads the page: the comment is there, and so is who is logged in.
    async fn reload(&mut self, comment: &str) {
        self.value("said = null, location.reload()").await;
        self.until("typeof said === 'undefined' && document.querySelector('.me[title=demo]')")
            .await;
        self.says(comment).await;
    }

    /// The browser tells of each answer that is an error, and who reads again after one has what they wanted: what was cut by a
    /// kill is no complaint, an exception is.
    fn forgive_the_network(&mut self) {
        let mut complaints = self.browser.complaints();
        complaints.retain(|complaint| !complaint.starts_with("\"network\""));
        assert!(complaints.is_empty(), "{complaints:#?}");
    }

    fn has_no_complaint(&mut self) {
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}\n{}", self.it.logs());
    }
}

/// It grew, and it was on its way at least once.
fn assert_uploaded(said: &Value) {
    let said: Vec<&str> = said
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let share = |text: &&str| {
        text.strip_prefix("Sending … ")?
            .strip_suffix(" %")?
            .parse::<u32>()
            .ok()
    };
    let shares: Vec<u32> = said.iter().filter_map(share).collect();
    assert!(shares.is_sorted(), "{said:?}");
    assert!(shares.iter().any(|share| (1..100).contains(share)), "{said:?}");
    assert!(said.contains(&"Developing …"), "{said:?}");
}

/// Pictures and hot rows come from where this rung has them.
async fn comes_from_memory(person: &mut Person) {
    let shown = person
        .text("new URL(document.querySelector('.stage img').currentSrc).pathname + new URL(document.querySelector('.stage img').currentSrc).search")
        .await;
    assert!(
        shown.contains("/full.webp?w="),
        "the edge makes the sizes: {shown}"
    );
    let client = person.it.client();
    let kept = wait::until("the photo from the edge", LIMIT, async || {
        let answer = client.get(&shown).await.map_err(|failure| failure.to_string())?;
        let said = answer.headers().get("cache-status").cloned();
        let said = said.map_or(String::new(), |said| {
            String::from_utf8_lossy(said.as_bytes()).into_owned()
        });
        if said.contains("hit") { Ok(()) } else { Err(said) }
    });
    kept.await.unwrap();
    let it = &person.it;
    let counted = wait::until("hits of the app's cache", LIMIT, async || {
        let told = it.try_verb(&["cache", "stats", "--json"]).await;
        let stats: Value = serde_json::from_str(&told.stdout).map_err(|_| told.output())?;
        if stats["app"]["hits"].as_u64() > Some(0) {
            return Ok(());
        }
        // Somebody has to look.
        client
            .get("/api/profiles/demo")
            .await
            .map_err(|failure| failure.to_string())?;
        Err(stats.to_string())
    });
    counted.await.unwrap();
    assert_ne!(
        ask(it, "REDIS_URL", &["DBSIZE"]).await,
        "0",
        "sessions are in Redis"
    );
}

async fn all_ready(it: &Installation) -> Vec<(String, u32)> {
    let ready = wait::until("all instances to be ready", LIMIT, async || {
        let instances = it.ready_instances().await;
        if instances.len() == INSTANCES as usize {
            Ok(instances)
        } else {
            Err(format!("{instances:?}"))
        }
    });
    ready.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_logs_in_posts_likes_scrolls_and_stays_logged_in_through_a_deploy_and_kills() {
    let Some(mut person) = Person::come().await else {
        return;
    };
    person.log_in().await;
    person.keep("logged-in").await;
    person.scroll().await;
    person.post_a_photo("A screen of a screen").await;
    person
        .until("document.querySelector('.stage img')?.naturalWidth > 0")
        .await;
    person.keep("posted").await;
    person.like_and_comment("before the deploy").await;
    comes_from_memory(&mut person).await;
    person.has_no_complaint();

    person.it.verb(&["deploy"]).await;
    person.like_and_comment("after the deploy").await;
    person.reload("after the deploy").await;
    person.has_no_complaint();

    for (name, pid) in all_ready(&person.it).await {
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
        let last = person
            .text("document.querySelector('.comment p').textContent")
            .await;
        person.reload(&last).await;
        reaped(&person.it, pid).await;
        person.like_and_comment(&format!("{name} was killed")).await;
        person.forgive_the_network();
        all_ready(&person.it).await;
    }
    person.keep("after-kills").await;

    person.open("#/feed").await;
    person.scroll().await;
    person.keep("feed").await;
    person.open("#/tag/screens").await;
    person
        .until("document.querySelectorAll('.card').length === 1")
        .await;
    person.open("#/settings").await;
    person.until("document.querySelector('[name=bio]')").await;
    person
        .value("[...document.querySelectorAll('button.link')].find((button) => button.textContent === 'Log out').click()")
        .await;
    person
        .until("document.querySelector('#account a[href=\"#/login\"]')")
        .await;
    person.open("#/feed").await;
    person
        .until("document.querySelector('.empty a[href=\"#/login\"]')")
        .await;
    person.value("location.reload()").await;
    person
        .until("document.querySelector('#account a[href=\"#/login\"]')")
        .await;
    person.keep("logged-out").await;
    person.has_no_complaint();
    person.it.down().await;
}
