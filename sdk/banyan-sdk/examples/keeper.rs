//! For an app in another language that uses the cache's scripts: applies the rows of `banyan.invalidation`, and does nothing else.
//! A process of banyan.toml, with DATABASE_URL and REDIS_CACHE_URL; `/readyz` says when the tables are there.

use axum::Router;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let banyan = banyan_sdk::init().await?;
    banyan.serve(Router::new()).await?;
    Ok(())
}
