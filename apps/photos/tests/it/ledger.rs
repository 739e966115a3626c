//! What a client was told is in the database, once: posts and comments can be found by their text.

use http::Method;
use serde_json::json;

use crate::world::{World, article};

#[tokio::test]
async fn each_acknowledged_write_is_there_exactly_once() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let token = app.register("ann").await;
    for n in 0..5 {
        let (status, post) = app
            .call(
                Method::POST,
                "/api/articles",
                Some(&token),
                &article(&format!("ledger {n}")),
            )
            .await;
        assert_eq!(status, 201);
        let path = format!(
            "/api/articles/{}/comments",
            post["article"]["slug"].as_str().unwrap()
        );
        let comment = json!({"comment": {"body": format!("ledger {n}")}});
        let (status, _) = app.call(Method::POST, &path, Some(&token), &comment).await;
        assert_eq!(status, 201);
    }
    let sql = world.sql().await;
    for query in [
        "select title from posts order by title",
        "select body from comments order by body",
    ] {
        let rows = sql.query(query, &[]).await.unwrap();
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(
            found,
            ["ledger 0", "ledger 1", "ledger 2", "ledger 3", "ledger 4"]
        );
    }
}
