//! The page in a real browser. Screenshots stay in the target directory's `tmp/photos-screens`.

use std::fs;
use std::path::PathBuf;

use banyan_testkit::browser::{self, Browser, Screen};
use serde_json::json;

use crate::uploads::picture;
use crate::world::{App, World};

const DESKTOP: Screen = Screen {
    width: 1440,
    height: 900,
    is_dark: false,
    is_phone: false,
};
const PHONE: Screen = Screen {
    width: 390,
    height: 844,
    is_dark: false,
    is_phone: true,
};

fn dark(screen: Screen) -> Screen {
    Screen {
        is_dark: true,
        ..screen
    }
}

/// A person in front of a seeded site.
struct Visit {
    browser: Browser,
    app: App,
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
        let amounts = ["seed", "--users", "30", "--posts", "70", "--follows", "200"];
        assert!(world.run(&amounts).await.status.success());
        let app = world.ready("web.1").await;
        let browser = Browser::start().await.unwrap();
        Some(Self { browser, app, world })
    }

    async fn open(&mut self, hash: &str) {
        let url = format!("{}/{hash}", self.app.base());
        self.browser.open(&url).await.unwrap();
        self.until("!document.querySelector('main').ariaBusy && document.querySelector('main').firstChild")
            .await;
    }

    async fn until(&mut self, expression: &str) {
        self.browser.until(expression).await.unwrap();
    }

    async fn click(&mut self, selector: &str) {
        self.browser.click(selector).await.unwrap();
    }

    async fn fill(&mut self, selector: &str, text: &str) {
        self.browser.fill(selector, text).await.unwrap();
    }

    async fn press(&mut self, key: &str) {
        self.browser.press(key).await.unwrap();
    }

    async fn text(&mut self, selector: &str) -> String {
        let found = format!("document.querySelector({}).textContent", json!(selector));
        self.browser
            .value(&found)
            .await
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// All pictures on the screen are there, and it is no wider than the window.
    async fn keep(&mut self, name: &str) {
        self.until(
            "[...document.images].every((image) => image.complete || image.getBoundingClientRect().top > innerHeight)",
        )
        .await;
        self.until("document.documentElement.scrollWidth <= innerWidth")
            .await;
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("photos-screens");
        fs::create_dir_all(&folder).unwrap();
        let taken = self.browser.screenshot().await.unwrap();
        fs::write(folder.join(format!("{name}.png")), taken).unwrap();
    }

    /// In both themes, on a desk and on a phone.
    async fn keep_all(&mut self, name: &str) {
        for (screen, suffix) in [
            (DESKTOP, "desktop-light"),
            (dark(DESKTOP), "desktop-dark"),
            (PHONE, "phone-light"),
            (dark(PHONE), "phone-dark"),
        ] {
            self.browser.screen(screen).await.unwrap();
            self.keep(&format!("{name}-{suffix}")).await;
        }
        self.browser.screen(DESKTOP).await.unwrap();
    }

    async fn log_in(&mut self) {
        self.open("#/login").await;
        self.fill("form [name=email]", "demo@photos.test").await;
        self.fill("form [name=password]", "photos-demo").await;
        self.press("Enter").await;
        self.until("location.hash === '#/' && document.querySelector('.me')")
            .await;
    }

    /// No exception, no refusal by the page's policy.
    fn end(mut self) {
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
        drop(self.browser);
        drop(self.world);
    }
}

#[tokio::test]
async fn a_stranger_looks_around() {
    let Some(mut visit) = Visit::begin().await else {
        return;
    };
    visit.browser.screen(DESKTOP).await.unwrap();
    visit.open("").await;
    visit
        .until("document.querySelectorAll('.card').length >= 18")
        .await;
    visit.keep_all("explore").await;

    // More comes as one scrolls, each post once.
    visit
        .browser
        .value("scrollTo(0, document.body.scrollHeight)")
        .await
        .unwrap();
    visit
        .until("document.querySelectorAll('.card').length >= 36")
        .await;
    let titles = "[...document.querySelectorAll('.card h3 a')].map((link) => link.href)";
    visit
        .until(&format!("new Set({titles}).size === {titles}.length"))
        .await;

    visit.browser.value("scrollTo(0, 0)").await.unwrap();
    let first = visit.text(".card h3").await;
    visit.click(".card h3 a").await;
    visit
        .until("document.querySelector('.post .stage img.there')")
        .await;
    assert_eq!(visit.text(".post h1").await, first);
    visit.keep_all("post").await;
    visit.press("ArrowRight").await;
    visit
        .until(&format!(
            "document.querySelector('.post h1')?.textContent !== {}",
            json!(first)
        ))
        .await;
    visit.press("ArrowLeft").await;
    visit
        .until(&format!(
            "document.querySelector('.post h1')?.textContent === {}",
            json!(first)
        ))
        .await;

    visit.click(".post .by .name").await;
    visit.until("document.querySelector('.profile h1')").await;
    visit.until("document.querySelectorAll('.card').length > 0").await;
    visit.keep_all("profile").await;
    visit.click("[role=tab]:nth-child(2)").await;
    visit
        .until("document.querySelector('[role=tab]:nth-child(2)').ariaSelected === 'true'")
        .await;

    visit.press("/").await;
    visit.until("document.activeElement.id === 'search'").await;
    visit.fill("#search", "the").await;
    visit.press("Enter").await;
    visit.until("document.querySelector('main h1.title')").await;
    visit
        .until("document.querySelectorAll('.card').length > 0 || document.querySelector('.empty')")
        .await;
    visit.keep_all("search").await;
    visit.end();
}

#[tokio::test]
async fn a_member_logs_in_likes_comments_follows_and_posts_a_photo() {
    let Some(mut visit) = Visit::begin().await else {
        return;
    };
    visit.browser.screen(DESKTOP).await.unwrap();
    visit.open("#/login").await;
    visit.keep_all("login").await;
    visit.log_in().await;
    visit
        .until("document.querySelectorAll('.card').length >= 18")
        .await;

    visit.click(".card h3 a").await;
    visit.until("document.querySelector('.post')").await;
    let was_pressed = "document.querySelector('.post .like').ariaPressed === 'true'";
    let before = visit.browser.value(was_pressed).await.unwrap();
    visit.press("l").await;
    visit.until(&format!("({was_pressed}) !== {before}")).await;
    visit.fill(".write input", "What a view <b>indeed</b>").await;
    visit.press("Enter").await;
    visit
        .until("document.querySelector('.comment p')?.textContent === 'What a view <b>indeed</b>'")
        .await;
    visit.click(".comment .meta button").await;
    visit
        .until("document.querySelector('.comment p')?.textContent !== 'What a view <b>indeed</b>'")
        .await;

    visit.open("#/new").await;
    visit.until("document.querySelector('.drop')").await;
    visit.keep("new-empty-desktop-light").await;
    let file = visit.world.data.path().join("photo.jpg");
    fs::write(&file, picture(600, 400, image::ImageFormat::Jpeg)).unwrap();
    visit.browser.choose(".drop input", &file).await.unwrap();
    visit
        .until("document.querySelector('.state').textContent.startsWith('Ready')")
        .await;
    visit.fill("form [name=title]", "Waves of colour").await;
    visit.fill("form [name=description]", "Made for a test").await;
    visit.fill("form [name=body]", "Every stripe in its place.").await;
    visit.fill("form [name=tags]", "test, #stripes").await;
    visit.keep_all("new").await;
    visit.click("button[type=submit]:not(.write *)").await;
    visit
        .until("document.querySelector('.post h1')?.textContent === 'Waves of colour'")
        .await;
    // The app's own sizes: nobody else makes any.
    visit
        .until("document.querySelector('.stage img').srcset.includes('/1080.webp 1080w')")
        .await;
    visit
        .until("document.querySelector('.stage img').naturalWidth > 0")
        .await;
    visit.keep("posted-desktop-light").await;

    visit.open("#/tag/stripes").await;
    visit
        .until("document.querySelectorAll('.card').length === 1")
        .await;
    visit.open("#/feed").await;
    visit.until("document.querySelectorAll('.card').length > 0").await;
    visit.keep_all("following").await;
    visit.open("#/settings").await;
    visit.until("document.querySelector('[name=bio]')").await;
    visit.keep("settings-desktop-light").await;
    visit.end();
}

#[tokio::test]
async fn a_file_that_is_no_photo_is_refused_in_words() {
    let Some(mut visit) = Visit::begin().await else {
        return;
    };
    visit.log_in().await;
    visit.open("#/new").await;
    let file = visit.world.data.path().join("lie.png");
    fs::write(&file, "no picture at all").unwrap();
    visit.until("document.querySelector('.drop input')").await;
    visit.browser.choose(".drop input", &file).await.unwrap();
    visit
        .until("document.querySelector('.state').textContent.includes('is not a JPEG, PNG or WebP picture')")
        .await;
    // The browser's own note of the 415.
    assert_eq!(visit.browser.complaints().len(), 1);
    visit.end();
}

#[tokio::test]
async fn a_chosen_theme_stays_and_all_can_be_reached_by_keys() {
    let Some(mut visit) = Visit::begin().await else {
        return;
    };
    visit.browser.screen(dark(DESKTOP)).await.unwrap();
    visit.open("").await;
    let ground = "getComputedStyle(document.body).backgroundColor";
    let is_dark = visit.browser.value(ground).await.unwrap();
    visit.click("#theme").await;
    visit.until(&format!("{ground} !== {is_dark}")).await;
    visit.browser.value("location.reload()").await.unwrap();
    visit.until("document.querySelector('.card')").await;
    visit.until(&format!("{ground} !== {is_dark}")).await;

    // Skip link, brand, search, tabs, theme, account, tags, cards: whatever is in focus has a name and shows it.
    let mut names = Vec::new();
    for _ in 0..14 {
        visit.press("Tab").await;
        let name = "(document.activeElement.ariaLabel || document.activeElement.textContent).trim()";
        let name = visit.browser.value(name).await.unwrap();
        names.push(name.as_str().unwrap_or_default().to_owned());
    }
    assert!(names.iter().all(|name| !name.is_empty()), "{names:?}");
    assert_eq!(names[0], "Skip to the photos");
    let unnamed = "[...document.querySelectorAll('button, a:not([aria-hidden]), input, img')].filter((node) => !(node.ariaLabel || \
        node.textContent.trim() || node.labels?.length || node.hasAttribute('alt'))).map((node) => node.outerHTML)";
    assert_eq!(visit.browser.value(unnamed).await.unwrap(), json!([]));
    visit.end();
}
