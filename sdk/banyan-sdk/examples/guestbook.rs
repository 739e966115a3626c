//! An app behind Banyan: DATABASE_URL says where its database is, PORT where it listens. With REDIS_CACHE_URL its page comes from
//! the cache, with REDIS_URL its limit holds for all instances together.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use banyan_sdk::Banyan;
use banyan_sdk::cache::PRIMARY;
use banyan_sdk::limit::Rate;

const PER_MINUTE: Rate = Rate::per(NonZeroU32::new(600).unwrap(), Duration::from_secs(60));

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let banyan = banyan_sdk::init().await?;
    let database = banyan.db().clone();
    let banyan = banyan.before_ready(move || prepare(database.clone()));
    let app = Router::new()
        .route("/", get(read).post(write))
        .with_state(banyan.clone());
    banyan.serve(app).await?;
    Ok(())
}

async fn prepare(database: banyan_sdk::Database) -> Result<(), sqlx::Error> {
    let table = "create table if not exists guestbook (id bigserial primary key, line text not null)";
    sqlx::raw_sql(table).execute(database.pool()).await?;
    Ok(())
}

async fn read(State(banyan): State<Banyan>) -> Response {
    let load = async || {
        let select = format!("{PRIMARY} select line from guestbook order by id desc limit 20");
        let lines: Vec<String> = sqlx::query_scalar(&select).fetch_all(banyan.db().pool()).await?;
        Ok::<_, sqlx::Error>(Some(lines))
    };
    match banyan
        .cache::<Vec<String>>("guestbook")
        .get_or_load("page", load)
        .await
    {
        Ok(lines) => lines.unwrap_or_default().join("\n").into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

async fn write(State(banyan): State<Banyan>, line: String) -> Response {
    let decision = banyan.limiter().check("write", PER_MINUTE).await;
    if !decision.is_allowed() {
        return (StatusCode::TOO_MANY_REQUESTS, decision, "later, please\n").into_response();
    }
    match insert(&banyan, &line).await {
        Ok(()) => StatusCode::CREATED.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

async fn insert(banyan: &Banyan, line: &str) -> Result<(), sqlx::Error> {
    let mut tx = banyan.db().begin().await?;
    let insert = sqlx::query("insert into guestbook (line) values ($1)").bind(line);
    insert.execute(&mut *tx).await?;
    banyan
        .cache::<Vec<String>>("guestbook")
        .invalidate(&mut tx, "page")
        .await?;
    tx.commit().await
}
