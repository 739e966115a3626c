//! Migrations, readiness, and a database that goes away.

use std::time::Duration;

use banyan_testkit::wait;
use http::Method;
use serde_json::{Value, json};

use crate::world::{LIMIT, World, article};

#[tokio::test]
async fn migrations_run_at_the_same_time_apply_once() {
    let world = World::without_schema();
    let run = || world.run(&["migrate"]);
    let (a, b, c, d) = tokio::join!(run(), run(), run(), run());
    for finished in [a, b, c, d] {
        assert!(finished.status.success(), "{}", finished.output());
    }
    let applied = world
        .sql()
        .await
        .query("select version from _sqlx_migrations", &[])
        .await
        .unwrap();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    assert_eq!(applied.len(), files.count());
}

#[tokio::test]
async fn an_instance_is_healthy_but_not_ready_until_the_schema_fits() {
    let world = World::without_schema();
    let app = world.start("web.1");
    app.wait_for("/healthz", 200).await;
    wait::until("the missing schema to be named", LIMIT, async || {
        let answer = app
            .client
            .get("/readyz")
            .await
            .map_err(|failure| failure.to_string())?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        if answer.status() == 503 && text.contains("photos migrate") {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await
    .unwrap();
    assert!(world.run(&["migrate"]).await.status.success());
    app.wait_for("/readyz", 200).await;
}

#[tokio::test]
async fn a_database_that_is_away_is_answered_503_and_used_again_when_back() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let token = app.register("ann").await;
    let sql = world.sql().await;
    // No new connections, and the old ones ended: what a restart looks like.
    let close = "alter database postgres with allow_connections false";
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'photos'";
    let admin_url = world.postgres.create_database("admin").await.unwrap();
    let admin = banyan_testkit::postgres::connect(&admin_url).await.unwrap();
    drop(sql);
    admin.batch_execute(close).await.unwrap();
    admin.query(end, &[]).await.unwrap();

    let answer = app
        .client
        .json(Method::POST, "/api/articles", Some(&token), &article("t"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 503, "{answer:?}\n{}", app.process.stderr());
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(app.get("/healthz").await.status(), 200);
    assert_eq!(
        app.get("/readyz").await.status(),
        200,
        "a shared dependency takes no instance out"
    );

    admin
        .batch_execute("alter database postgres with allow_connections true")
        .await
        .unwrap();
    wait::until(
        "the app to use the database again",
        Duration::from_secs(30),
        async || {
            let (status, answer) = app.call(Method::GET, "/api/articles", None, &Value::Null).await;
            if status == 200 { Ok(()) } else { Err(answer) }
        },
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn killed_connections_cost_no_request_once_idle() {
    let world = World::new().await;
    let app = world.ready("web.1").await;
    let sql = world.sql().await;
    // More connections than what runs beside requests keeps warm.
    let at_once = (0..10).map(|_| app.get("/api/tags"));
    futures_util::future::join_all(at_once).await;
    wait::until("connections to be idle for the pool's trial time", LIMIT, async || {
        let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'photos'
                   and state = 'idle' and clock_timestamp() - state_change > interval '1.2 s'";
        let row = sql.query_one(end, &[]).await.map_err(|error| error.to_string())?;
        match row.get::<_, i64>(0) {
            0 => Err("used lately"),
            _ => Ok(()),
        }
        .map_err(str::to_owned)
    })
    .await
    .unwrap();
    let (status, answer) = app.call(Method::GET, "/api/articles", None, &json!({})).await;
    assert_eq!(status, 200, "{answer}");
}
