//! The page: complete in itself, and under a policy that keeps it so.

use crate::world::World;

#[tokio::test]
async fn the_page_and_its_parts_come_from_the_app_alone() {
    let world = World::new().await;
    let app = world.ready("web.7").await;
    for (path, content_type) in [
        ("/", "text/html"),
        ("/app.css", "text/css"),
        ("/app/other/main.js", "text/javascript"),
        ("/app/other/theme.js", "text/javascript"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = app.get(path).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(answer.status(), 200, "{path}");
        assert!(header("content-type").starts_with(content_type), "{path}");
        assert!(
            header("content-security-policy").starts_with("default-src 'none'"),
            "{path}"
        );
        assert_eq!(header("x-served-by"), "web.7");
        let text = String::from_utf8_lossy(answer.body()).replace("http://www.w3.org/", "");
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{path} names another site"
        );
        assert!(
            !text.contains("innerHTML"),
            "{path} could show a user's text as HTML"
        );
    }
}

#[tokio::test]
async fn what_carries_its_version_is_kept_for_ever_and_what_carries_another_is_not_kept() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let page = app.get("/").await;
    let page = String::from_utf8_lossy(page.body()).into_owned();
    let parts: Vec<&str> = page.split('"').filter(|part| part.starts_with("/app")).collect();
    assert_eq!(parts.len(), 3, "{parts:?}");
    let kept = async |path: &str| {
        let answer = app.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.headers()["cache-control"].to_str().unwrap().to_owned()
    };
    for part in &parts {
        assert_eq!(kept(part).await, "public, max-age=31536000, immutable", "{part}");
    }
    assert_eq!(kept("/app/of-another-version/main.js").await, "no-store");
    assert_eq!(kept("/app.css?of-another-version").await, "no-store");
    for asked in ["/", "/app.css", "/icon.svg"] {
        assert_eq!(kept(asked).await, "no-cache", "{asked}");
    }
}
