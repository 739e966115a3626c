//! `photos seed`: users, follows, posts, likes and comments from a number. The same amounts and seed make the same rows,
//! so a second run adds nothing; ids and dates come from the seed, too.
//!
//! All seeded users share one password (`photos-demo`); the first is `demo`, e-mail `demo@photos.test`.
//!
//! `photos migrate --demo` fills a database without users only, in one transaction: whole or not at all.

mod graph;
mod rows;
mod words;

use std::fmt;
use std::num::NonZeroUsize;

use banyan_sdk::auth::{PasswordError, Passwords};
use clap::Args;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::slug::PostKey;

pub(crate) const DEMO_PASSWORD: &str = "photos-demo";

#[derive(Clone, Debug, Args)]
pub(crate) struct Amounts {
    /// Users to make; the first one is the demo log-in
    #[arg(long, default_value = "50")]
    users: NonZeroUsize,
    /// Posts to make, most of them by few users
    #[arg(long, default_value_t = 200)]
    posts: usize,
    /// Follows to make, most of them of few users
    #[arg(long, default_value_t = 600)]
    follows: usize,
    /// Likes to make (default: five per post)
    #[arg(long)]
    likes: Option<usize>,
    /// Comments to make (default: two per post)
    #[arg(long)]
    comments: Option<usize>,
    /// Another seed makes other rows, beside those that are there
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Amounts {
    /// What a first visitor sees: enough for several pages, made in a moment.
    const DEMO: Self = Self {
        users: NonZeroUsize::new(50).unwrap(),
        posts: 200,
        follows: 600,
        likes: None,
        comments: None,
        seed: 1,
    };
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SeedError {
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    #[error("failed to hash the demo password: {0}")]
    Password(#[from] PasswordError),
}

/// How many rows were added.
#[derive(Debug, Default)]
pub(crate) struct Made {
    users: u64,
    follows: u64,
    posts: u64,
    likes: u64,
    comments: u64,
    log_in: String,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            users,
            follows,
            posts,
            likes,
            comments,
            log_in,
        } = self;
        writeln!(
            f,
            "added: {users} users, {follows} follows, {posts} posts, {likes} likes, {comments} comments"
        )?;
        write!(f, "log in as: {log_in} / {DEMO_PASSWORD}")
    }
}

pub(crate) async fn run(database: &PgConnectOptions, amounts: &Amounts) -> Result<Made, SeedError> {
    let mut connection = PgConnection::connect_with(database).await?;
    let made = insert(&mut connection, amounts).await?;
    connection.close().await?;
    Ok(made)
}

/// `None`: it has users already, and nothing was done. Several at once, and users who register meanwhile, wait.
pub(crate) async fn demo(database: &PgConnectOptions) -> Result<Option<Made>, SeedError> {
    let mut connection = PgConnection::connect_with(database).await?;
    // Without a lock first: a site in use must not wait for this at each deploy.
    if has_users(&mut connection).await? {
        return Ok(None);
    }
    let mut transaction = connection.begin().await?;
    sqlx::query("lock table users in share row exclusive mode")
        .execute(&mut *transaction)
        .await?;
    if has_users(&mut transaction).await? {
        return Ok(None);
    }
    let made = insert(&mut transaction, &Amounts::DEMO).await?;
    transaction.commit().await?;
    connection.close().await?;
    Ok(Some(made))
}

async fn has_users(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from users)")
        .fetch_one(connection)
        .await
}

async fn insert(connection: &mut PgConnection, amounts: &Amounts) -> Result<Made, SeedError> {
    let seed = amounts.seed;
    let salt = format!("photos-seed-{seed}");
    let hash = Passwords::hash_with_salt(DEMO_PASSWORD, salt.as_bytes())?;

    let users = rows::users(seed, amounts.users.get());
    let posts = graph::posts(seed, &users, amounts.posts);
    let follows = graph::follows(seed, users.len(), amounts.follows);
    let likes = graph::likes(
        seed,
        users.len(),
        posts.len(),
        amounts.likes.unwrap_or(posts.len() * 5),
    );
    let comments = graph::comments(
        seed,
        users.len(),
        posts.len(),
        amounts.comments.unwrap_or(posts.len() * 2),
    );
    let users_added = rows::insert_users(connection, &users, &hash).await?;
    let follows_added = rows::insert_follows(connection, &users, &follows).await?;
    let new = rows::insert_posts(connection, seed, &posts).await?;
    let made = Made {
        users: users_added,
        follows: follows_added,
        posts: new.len() as u64,
        likes: rows::insert_likes(connection, &users, &posts, &likes).await?,
        comments: rows::insert_comments(connection, seed, &users, &posts, &comments).await?,
        log_in: users.first().map(|user| user.email.clone()).unwrap_or_default(),
    };
    let old: Vec<PostKey> = posts.into_iter().filter(|key| !new.contains(key)).collect();
    rows::forget_cached(connection, &users, &old).await?;
    // Without statistics the first queries would be planned for empty tables.
    sqlx::query("analyze users, follows, posts, post_tags, post_counts, likes, comments")
        .execute(connection)
        .await?;
    Ok(made)
}
