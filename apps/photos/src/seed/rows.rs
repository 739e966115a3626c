//! The rows and their insertion, some thousands per statement. A row that is there is left alone, and counts on users and
//! posts change by what was really added, in the same statement.

use std::collections::HashSet;

use sqlx::PgConnection;
use time::OffsetDateTime;
use time::ext::NumericalDuration as _;

use super::graph::{USERS, WORDS};
use super::words;
use crate::dice::Dice;
use crate::ids::{EPOCH_UNIX_MS, compose};
use crate::media::DEMO_PICTURES;
use crate::slug::{PostKey, slug};

const BATCH: usize = 5_000;
/// Users come from the first months of 2026, posts from the time after, one every 20 minutes.
const USERS_FROM_MS: u64 = 365 * 24 * 3_600_000;
const POSTS_FROM_MS: u64 = USERS_FROM_MS + 60 * 24 * 3_600_000;
const POST_EVERY_MS: u64 = 20 * 60 * 1000;

pub(super) struct User {
    pub(super) id: i64,
    pub(super) username: String,
    pub(super) email: String,
    bio: String,
    image: String,
}

/// Node numbers of seeded ids depend on the seed: two seeds make different ids.
fn id(seed: u64, ms: u64, at: usize) -> i64 {
    compose(ms, seed % 4096, at as u64 % 1024)
}

pub(super) fn post_id(seed: u64, at: usize) -> i64 {
    id(seed, POSTS_FROM_MS + at as u64 * POST_EVERY_MS, at)
}

fn moment(ms: u64) -> OffsetDateTime {
    let unix = i64::try_from(EPOCH_UNIX_MS + ms).unwrap_or(0);
    OffsetDateTime::UNIX_EPOCH + unix.milliseconds()
}

fn created_at(id: i64) -> OffsetDateTime {
    moment(id.unsigned_abs() >> 22)
}

pub(super) fn users(seed: u64, count: usize) -> Vec<User> {
    let suffix = if seed == 1 {
        String::new()
    } else {
        format!("_s{seed}")
    };
    (0..count)
        .map(|at| {
            let mut dice = Dice::new(seed, USERS + WORDS + at as u64);
            let name = if at == 0 {
                "demo".to_owned()
            } else {
                words::username(at)
            };
            User {
                id: id(seed, USERS_FROM_MS + at as u64 * 1000, at),
                username: format!("{name}{suffix}"),
                email: format!("{name}{suffix}@photos.test"),
                bio: words::bio(&mut dice),
                image: format!("/media/demo/face-{}.svg", at % DEMO_PICTURES),
            }
        })
        .collect()
}

pub(super) async fn insert_users(
    connection: &mut PgConnection,
    users: &[User],
    hash: &str,
) -> Result<u64, sqlx::Error> {
    let mut added = 0;
    for batch in users.chunks(BATCH) {
        let column = |of: fn(&User) -> &str| batch.iter().map(of).collect::<Vec<_>>();
        added += sqlx::query(
            "insert into users (id, username, email, bio, image, created_at, updated_at, password_hash)
             select *, given.at, $7 from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],
                $6::timestamptz[]) as given (id, username, email, bio, image, at)
             on conflict do nothing",
        )
        .bind(batch.iter().map(|user| user.id).collect::<Vec<_>>())
        .bind(column(|user| &user.username))
        .bind(column(|user| &user.email))
        .bind(column(|user| &user.bio))
        .bind(column(|user| &user.image))
        .bind(batch.iter().map(|user| created_at(user.id)).collect::<Vec<_>>())
        .bind(hash)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    }
    Ok(added)
}

pub(super) async fn insert_follows(
    connection: &mut PgConnection,
    users: &[User],
    follows: &[(usize, usize)],
) -> Result<u64, sqlx::Error> {
    let mut added = 0;
    for batch in follows.chunks(BATCH) {
        let (followers, followees): (Vec<i64>, Vec<i64>) = batch
            .iter()
            .map(|(follower, followee)| (users[*follower].id, users[*followee].id))
            .unzip();
        added += sqlx::query(
            "insert into follows (follower_id, followee_id)
             select * from unnest($1::bigint[], $2::bigint[])
             on conflict do nothing",
        )
        .bind(followers)
        .bind(followees)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    }
    Ok(added)
}

/// Those that were not there.
pub(super) async fn insert_posts(
    connection: &mut PgConnection,
    seed: u64,
    posts: &[PostKey],
) -> Result<HashSet<PostKey>, sqlx::Error> {
    let mut added = HashSet::new();
    for (number, batch) in posts.chunks(BATCH).enumerate() {
        let mut texts = Vec::with_capacity(batch.len());
        for at in 0..batch.len() {
            let mut dice = Dice::new(seed, WORDS * 2 + (number * BATCH + at) as u64);
            texts.push(words::post(&mut dice, seed, number * BATCH + at));
        }
        let slugs = batch
            .iter()
            .zip(&texts)
            .map(|(key, text)| slug(&text.title, *key));
        let photos = texts.iter().map(|text| format!("demo/{}.svg", text.picture));
        let keys: Vec<(i64, i64)> = sqlx::query_as(INSERT_POSTS)
            .bind(batch.iter().map(|key| key.author_id).collect::<Vec<_>>())
            .bind(batch.iter().map(|key| key.id).collect::<Vec<_>>())
            .bind(slugs.collect::<Vec<_>>())
            .bind(texts.iter().map(|text| text.title.as_str()).collect::<Vec<_>>())
            .bind(
                texts
                    .iter()
                    .map(|text| text.description.as_str())
                    .collect::<Vec<_>>(),
            )
            .bind(texts.iter().map(|text| text.body.as_str()).collect::<Vec<_>>())
            .bind(photos.collect::<Vec<_>>())
            .bind(batch.iter().map(|key| created_at(key.id)).collect::<Vec<_>>())
            .bind(texts.iter().map(|text| text.tags.join(",")).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
        added.extend(keys.into_iter().map(|(author_id, id)| PostKey { author_id, id }));
    }
    Ok(added)
}

const INSERT_POSTS: &str = "
    with given as (
        select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::timestamptz[], $9::text[])
            as given (author_id, id, slug, title, description, body, photo, at, tags)
    ), added as (
        insert into posts (author_id, id, slug, title, description, body, photo, created_at, updated_at)
        select author_id, id, slug, title, description, body, photo, at, at from given
        on conflict do nothing
        returning author_id, id
    ), tagged as (
        insert into post_tags (author_id, post_id, position, tag, created_at)
        select author_id, id, tag.position, tag.tag, given.at
        from added join given using (author_id, id),
             unnest(string_to_array(given.tags, ',')) with ordinality as tag (tag, position)
    ), counted as (
        update users set posts = users.posts + own.posts
        from (select author_id, count(*) as posts from added group by author_id) own
        where users.id = own.author_id
        returning users.id, own.posts
    ), totalled as (
        update post_counts set posts = post_counts.posts + own.posts
        from (select id % 16 as slot, sum(posts) as posts from counted group by 1) own
        where post_counts.slot = own.slot
    )
    select author_id, id from added";

pub(super) async fn insert_likes(
    connection: &mut PgConnection,
    users: &[User],
    posts: &[PostKey],
    likes: &[(usize, usize)],
) -> Result<u64, sqlx::Error> {
    let mut added = 0;
    for batch in likes.chunks(BATCH) {
        let count: i64 = sqlx::query_scalar(
            "with added as (
                insert into likes (post_author_id, post_id, user_id)
                select * from unnest($1::bigint[], $2::bigint[], $3::bigint[])
                on conflict do nothing
                returning post_author_id, post_id
             ), counted as (
                update posts set likes = posts.likes + own.likes
                from (select post_author_id, post_id, count(*) as likes from added group by 1, 2) own
                where posts.author_id = own.post_author_id and posts.id = own.post_id
             )
             select count(*) from added",
        )
        .bind(
            batch
                .iter()
                .map(|(post, _)| posts[*post].author_id)
                .collect::<Vec<_>>(),
        )
        .bind(batch.iter().map(|(post, _)| posts[*post].id).collect::<Vec<_>>())
        .bind(batch.iter().map(|(_, user)| users[*user].id).collect::<Vec<_>>())
        .fetch_one(&mut *connection)
        .await?;
        added += count.unsigned_abs();
    }
    Ok(added)
}

pub(super) async fn insert_comments(
    connection: &mut PgConnection,
    seed: u64,
    users: &[User],
    posts: &[PostKey],
    comments: &[(usize, usize)],
) -> Result<u64, sqlx::Error> {
    let mut added = 0;
    for (number, batch) in comments.chunks(BATCH).enumerate() {
        let mut given: (Vec<i64>, Vec<String>, Vec<OffsetDateTime>) = Default::default();
        for (at, (post, _)) in batch.iter().enumerate() {
            let at = number * BATCH + at;
            let mut dice = Dice::new(seed, WORDS * 3 + at as u64);
            let post_ms = posts[*post].id.unsigned_abs() >> 22;
            let ms = post_ms + 60_000 + dice.below(36 * 3_600_000) as u64;
            // As next_comment_id() makes them: 41 bits of milliseconds, 12 of a number.
            given
                .0
                .push(i64::try_from((ms << 12) | (at as u64 % 4096)).unwrap_or(0));
            given.1.push(words::comment(&mut dice));
            given.2.push(moment(ms));
        }
        added += sqlx::query(
            "insert into comments (post_author_id, post_id, author_id, id, body, created_at, updated_at)
             select author_id, post_id, user_id, id, body, at, at
             from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::timestamptz[])
                as given (author_id, post_id, user_id, id, body, at)
             on conflict do nothing",
        )
        .bind(batch.iter().map(|(post, _)| posts[*post].author_id).collect::<Vec<_>>())
        .bind(batch.iter().map(|(post, _)| posts[*post].id).collect::<Vec<_>>())
        .bind(batch.iter().map(|(_, user)| users[*user].id).collect::<Vec<_>>())
        .bind(given.0)
        .bind(given.1)
        .bind(given.2)
        .execute(&mut *connection)
        .await?
        .rows_affected();
    }
    Ok(added)
}

/// A site in use has a cache of what was before (`cached.rs`). `liked`: posts that were there.
pub(super) async fn forget_cached(
    connection: &mut PgConnection,
    users: &[User],
    liked: &[PostKey],
) -> Result<(), sqlx::Error> {
    let (authors, ids) = PostKey::columns(liked);
    sqlx::query(
        "insert into banyan.invalidation (kind, key)
         select 'key', kind || ':' || id from unnest($1::bigint[]) as id, unnest(array['tip', 'profile', 'followees']) as kind
         union all
         select 'key', 'user-id:' || lower(name) from unnest($2::text[]) as name
         union all
         select 'key', 'post:' || author_id || '-' || id from unnest($3::bigint[], $4::bigint[]) as liked (author_id, id)",
    )
    .bind(users.iter().map(|user| user.id).collect::<Vec<_>>())
    .bind(users.iter().map(|user| user.username.as_str()).collect::<Vec<_>>())
    .bind(authors)
    .bind(ids)
    .execute(connection)
    .await
    .map(drop)
}
