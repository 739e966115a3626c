//! Reads a profile through the cache, changes it, reads it again, and then several at once. DATABASE_URL and REDIS_CACHE_URL say
//! where; it makes a table `profile` and empties that Redis at its first start.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example shows what it does, and is an app of its own"
)]

use std::collections::HashMap;
use std::error::Error;

use banyan_sdk::cache::{PRIMARY, Settings};
use banyan_sdk::{Cache, Cached, Database};

async fn find(database: &Database, id: i64) -> Result<Option<String>, sqlx::Error> {
    println!("  asking the database for {id}");
    sqlx::query_scalar(&format!("{PRIMARY} select name from profile where id = $1"))
        .bind(id)
        .fetch_optional(database.pool())
        .await
}

async fn find_many(database: &Database, ids: Vec<i64>) -> Result<HashMap<i64, String>, sqlx::Error> {
    println!("  asking the database for {ids:?}");
    let rows = sqlx::query_as(&format!(
        "{PRIMARY} select id, name from profile where id = any($1)"
    ))
    .bind(ids)
    .fetch_all(database.pool())
    .await?;
    Ok(rows.into_iter().collect())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = Database::lazy(std::env::var("DATABASE_URL")?.parse()?, 10);
    database.install().await?;
    sqlx::raw_sql(
        "create table if not exists profile (id bigint primary key, name text not null);
         insert into profile values (7, 'first'), (8, 'second') on conflict do nothing",
    )
    .execute(database.pool())
    .await?;
    let cache = Cache::open(&std::env::var("REDIS_CACHE_URL")?, Settings::default())?;
    tokio::spawn(cache.clone().keep_right(database.clone()));

    let profiles: Cached<String> = cache.of("profile");
    for _ in 0..2 {
        let name = profiles.get_or_load(7, || find(&database, 7)).await?;
        println!("profile 7 is {name:?}");
    }
    let mut tx = database.begin().await?;
    sqlx::query("update profile set name = name || '!' where id = 7")
        .execute(&mut *tx)
        .await?;
    profiles.invalidate(&mut tx, 7).await?;
    tx.commit().await?;
    let name = profiles.get_or_load(7, || find(&database, 7)).await?;
    println!("profile 7 is {name:?}");
    // 7 is there, and of 9 it will be known that there is none.
    let names = profiles
        .get_or_load_many([7, 8, 9], |ids| find_many(&database, ids))
        .await?;
    println!("of 7, 8 and 9 there are {names:?}");
    Ok(())
}
