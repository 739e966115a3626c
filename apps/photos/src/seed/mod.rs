//! `photos seed`: users, follows, posts, likes and comments from a number. The same amounts and seed make the same rows,
//! so a second run adds nothing; ids and dates come from the seed, too.
//!
//! All seeded users share one password (`photos-demo`); the first is `demo`, e-mail `demo@photos.test`.

mod graph;
mod rows;
mod words;

use std::fmt;
use std::num::NonZeroUsize;

use clap::Args;
use sqlx::postgres::PgPoolOptions;

use crate::auth::hash_with_salt;
use crate::settings::Database;

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

#[derive(Debug, thiserror::Error)]
pub(crate) enum SeedError {
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    #[error("failed to hash the demo password: {0}")]
    Password(argon2::password_hash::Error),
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

pub(crate) async fn run(database: &Database, amounts: &Amounts) -> Result<Made, SeedError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(database.options.clone())
        .await?;
    let seed = amounts.seed;
    let salt = format!("photos-seed-{seed}");
    let hash = hash_with_salt(DEMO_PASSWORD, salt.as_bytes()).map_err(SeedError::Password)?;

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
    let made = Made {
        users: rows::insert_users(&pool, &users, &hash).await?,
        follows: rows::insert_follows(&pool, &users, &follows).await?,
        posts: rows::insert_posts(&pool, seed, &posts).await?,
        likes: rows::insert_likes(&pool, &users, &posts, &likes).await?,
        comments: rows::insert_comments(&pool, seed, &users, &posts, &comments).await?,
        log_in: users.first().map(|user| user.email.clone()).unwrap_or_default(),
    };
    // Without statistics the first queries would be planned for empty tables.
    sqlx::query("analyze").execute(&pool).await?;
    pool.close().await;
    Ok(made)
}
