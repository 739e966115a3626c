//! Users: registering, logging in, changing.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgPool};

use crate::cached::Card;
use crate::error::ApiError;

#[derive(Clone, Debug, FromRow, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) id: i64,
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) bio: Option<String>,
    pub(crate) image: Option<String>,
}

/// What others see of a user.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Profile {
    pub(crate) id: i64,
    pub(crate) username: String,
    pub(crate) bio: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) following: bool,
}

/// Of a user's page.
#[derive(Clone, Copy, Debug, FromRow, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) posts: i64,
    pub(crate) followers: i64,
    pub(crate) following: i64,
}

pub(crate) struct NewUser<'a> {
    pub(crate) id: i64,
    pub(crate) username: &'a str,
    pub(crate) email: &'a str,
    pub(crate) password_hash: &'a str,
}

/// Outer `None`: unchanged; inner: empty.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) username: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) bio: Option<Option<String>>,
    pub(crate) image: Option<Option<String>>,
    pub(crate) password_hash: Option<String>,
}

pub(crate) async fn insert(connection: &mut PgConnection, user: NewUser<'_>) -> Result<Account, ApiError> {
    sqlx::query_as(
        "insert into users (id, username, email, password_hash) values ($1, $2, $3, $4)
         returning id, username, email, bio, image",
    )
    .bind(user.id)
    .bind(user.username)
    .bind(user.email)
    .bind(user.password_hash)
    .fetch_one(connection)
    .await
    .map_err(taken)
}

pub(crate) async fn by_id(pool: &PgPool, id: i64) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as(
        "/* banyan: fresh=primary */ select id, username, email, bio, image from users where id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// Those that there are.
pub(crate) async fn by_ids(pool: &PgPool, ids: Vec<i64>) -> Result<HashMap<i64, Account>, sqlx::Error> {
    let accounts: Vec<Account> = sqlx::query_as(
        "/* banyan: fresh=primary */ select id, username, email, bio, image from users where id = any($1)",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    Ok(accounts
        .into_iter()
        .map(|account| (account.id, account))
        .collect())
}

/// Stored with today's parameters.
pub(crate) async fn rehash(pool: &PgPool, id: i64, hash: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update users set password_hash = $2 where id = $1")
        .bind(id)
        .bind(hash)
        .execute(pool)
        .await
        .map(drop)
}

/// The user and the stored password hash.
pub(crate) async fn by_email(pool: &PgPool, email: &str) -> Result<Option<(Account, String)>, sqlx::Error> {
    #[derive(FromRow)]
    struct Row {
        #[sqlx(flatten)]
        account: Account,
        password_hash: String,
    }
    let row: Option<Row> = sqlx::query_as(
        "select id, username, email, bio, image, password_hash
         from users where lower(email) = lower($1)",
    )
    .bind(email)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| (row.account, row.password_hash)))
}

pub(crate) async fn id_of(pool: &PgPool, username: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("/* banyan: fresh=primary */ select id from users where lower(username) = lower($1)")
        .bind(username)
        .fetch_optional(pool)
        .await
}

/// Followers are counted by their index entries.
pub(crate) async fn card(pool: &PgPool, id: i64) -> Result<Option<Card>, sqlx::Error> {
    sqlx::query_as(
        "/* banyan: fresh=primary */
         select id, username, bio, image, posts,
                (select count(*) from follows where followee_id = $1) as followers,
                (select count(*) from follows where follower_id = $1) as following
         from users where id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await
}

/// A few users whose names begin so, in their order.
pub(crate) async fn called(
    pool: &PgPool,
    beginning: &str,
    viewer: Option<i64>,
) -> Result<Vec<Profile>, sqlx::Error> {
    sqlx::query_as(
        "select id, username, bio, image,
                exists (select from follows where follower_id = $2 and followee_id = users.id) as following
         from users
         where lower(username) like $1 and $1 <> '%'
         order by lower(username)
         limit 6",
    )
    .bind(format!("{}%", escaped(&beginning.to_lowercase())))
    .bind(viewer)
    .fetch_all(pool)
    .await
}

/// What means something to LIKE means itself.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

pub(crate) async fn update(
    connection: &mut PgConnection,
    id: i64,
    change: Change,
) -> Result<Account, ApiError> {
    sqlx::query_as(
        "update users set
            username = coalesce($2, username),
            email = coalesce($3, email),
            bio = case when $4 then $5 else bio end,
            image = case when $6 then $7 else image end,
            password_hash = coalesce($8, password_hash),
            updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
         where id = $1
         returning id, username, email, bio, image",
    )
    .bind(id)
    .bind(change.username)
    .bind(change.email)
    .bind(change.bio.is_some())
    .bind(change.bio.flatten())
    .bind(change.image.is_some())
    .bind(change.image.flatten())
    .bind(change.password_hash)
    .fetch_one(connection)
    .await
    .map_err(taken)
}

/// The two unique indexes are the answer to "is it taken": asking first would race.
fn taken(error: sqlx::Error) -> ApiError {
    let constraint = error
        .as_database_error()
        .and_then(|database| database.constraint());
    match constraint {
        Some("users_username") => ApiError::taken("username"),
        Some("users_email") => ApiError::taken("email"),
        _ => error.into(),
    }
}
