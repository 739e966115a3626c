//! The page: complete in itself, and under a policy that keeps it so.

use crate::world::World;

#[tokio::test]
async fn the_page_and_its_parts_come_from_the_app_alone() {
    let world = World::new().await;
    let app = world.ready("web.7").await;
    for (path, content_type) in [
        ("/", "text/html"),
        ("/app.css", "text/css"),
        ("/app/main.js", "text/javascript"),
        ("/app/theme.js", "text/javascript"),
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
