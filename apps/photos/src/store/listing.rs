//! Pages of posts with their total: all, by author, by tag, by words, liked by someone, or of the users one follows.
//!
//! A page is found by key first, on one index, and only its posts are then fetched in full. Totals come from counts kept
//! with the writes, except those by tag and by like, which count index entries, and by words, which count to 1,000.

use sqlx::PgPool;

use super::articles::{Article, COLUMNS};
use super::posts::OF_POST;

#[derive(Debug)]
pub(crate) enum Wanted<'a> {
    All(Filter<'a>),
    /// Posts of the users whom the viewer follows.
    Feed {
        viewer: i64,
    },
}

/// `Some` means: only these. One index leads, the others filter.
#[derive(Debug, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) tag: Option<&'a str>,
    pub(crate) author: Option<i64>,
    pub(crate) liked_by: Option<i64>,
    /// A `tsquery` of the configuration `simple`.
    pub(crate) words: Option<&'a str>,
    /// The text of the search: posts with it as their tag are found by words, too.
    pub(crate) plain: Option<&'a str>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Without their bodies.
    pub(crate) articles: Vec<Article>,
    pub(crate) total: i64,
}

/// Parameters of all: $1 viewer, $2 limit, $3 offset, $4 tag, $5 author, $6 liked by, $7 words, $8 the text they come from.
struct Sql {
    keys: &'static str,
    total: &'static str,
}

const ALL: Sql = Sql {
    keys: "select author_id, id from posts order by created_at desc, id desc",
    total: "select sum(posts)::bigint from post_counts",
};

const OF_AUTHOR: Sql = Sql {
    keys: "select author_id, id from posts where author_id = $5 order by created_at desc, id desc",
    total: "select posts from users where id = $5",
};

const WITH_TAG: Sql = Sql {
    keys: "select author_id, post_id as id from post_tags where tag = $4 order by created_at desc, post_id desc",
    total: "select count(*) from post_tags where tag = $4",
};

const LIKED: Sql = Sql {
    keys: "select p.author_id, p.id
           from likes l join posts p on p.author_id = l.post_author_id and p.id = l.post_id
           where l.user_id = $6
           order by p.created_at desc, p.id desc",
    total: "select count(*) from likes where user_id = $6",
};

/// The expression is that of the index `posts_words`.
const WITH_WORDS: Sql = Sql {
    keys: "select author_id, id
           from (
                select author_id, id, created_at from posts
                where to_tsvector('simple', title || ' ' || description || ' ' || body) @@ to_tsquery('simple', $7)
                union
                select author_id, post_id, created_at from post_tags where tag in ($8, lower($8))) found
           order by created_at desc, id desc",
    total: "select count(*)
            from (
                select author_id, id from posts
                where to_tsvector('simple', title || ' ' || description || ' ' || body) @@ to_tsquery('simple', $7)
                union
                select author_id, post_id from post_tags where tag in ($8, lower($8))
                limit 1000) found",
};

const MIXED: Sql = Sql {
    keys: "select author_id, id from posts p
           where ($5::bigint is null or author_id = $5)
             and ($4::text is null or exists (
                select from post_tags t where t.author_id = p.author_id and t.post_id = p.id and t.tag = $4))
             and ($6::bigint is null or exists (
                select from likes l where l.post_author_id = p.author_id and l.post_id = p.id and l.user_id = $6))
             and ($7::text is null
                or to_tsvector('simple', title || ' ' || description || ' ' || body) @@ to_tsquery('simple', $7))
           order by created_at desc, id desc",
    total: "select count(*) from posts p
           where ($5::bigint is null or author_id = $5)
             and ($4::text is null or exists (
                select from post_tags t where t.author_id = p.author_id and t.post_id = p.id and t.tag = $4))
             and ($6::bigint is null or exists (
                select from likes l where l.post_author_id = p.author_id and l.post_id = p.id and l.user_id = $6))
             and ($7::text is null
                or to_tsvector('simple', title || ' ' || description || ' ' || body) @@ to_tsquery('simple', $7))",
};

/// Of each followed author no more than could be on the page, so the work does not grow with their archives.
const FEED: Sql = Sql {
    keys: "select p.author_id, p.id
           from follows f cross join lateral (
                select author_id, id, created_at from posts
                where author_id = f.followee_id
                order by created_at desc, id desc
                limit $2 + $3) p
           where f.follower_id = $1
           order by p.created_at desc, p.id desc",
    total: "select coalesce(sum(u.posts), 0)::bigint
            from follows f join users u on u.id = f.followee_id where f.follower_id = $1",
};

impl Wanted<'_> {
    fn sql(&self) -> Sql {
        match self {
            Self::Feed { .. } => FEED,
            Self::All(Filter {
                tag,
                author,
                liked_by,
                words,
                plain: _,
            }) => match (tag, author, liked_by, words) {
                (None, None, None, None) => ALL,
                (None, Some(_), None, None) => OF_AUTHOR,
                (Some(_), None, None, None) => WITH_TAG,
                (None, None, Some(_), None) => LIKED,
                (None, None, None, Some(_)) => WITH_WORDS,
                _ => MIXED,
            },
        }
    }
}

pub(crate) async fn list(
    pool: &PgPool,
    viewer: Option<i64>,
    wanted: &Wanted<'_>,
    page: Page,
) -> Result<Listing, sqlx::Error> {
    let sql = wanted.sql();
    let keys = sql.keys;
    let none = Filter::default();
    let (viewer, filter) = match wanted {
        Wanted::All(filter) => (viewer, filter),
        Wanted::Feed { viewer } => (Some(*viewer), &none),
    };
    // Written into the text: with parameters the planner expects a tenth of the table, finds its general plan dear, and
    // plans every request anew, which takes longer than the query. Page::limit and the text stay small in number.
    let limit = page.limit;
    let offset = if page.offset == 0 { "" } else { "offset $3" };
    let text = format!(
        "with page as ({keys} limit {limit} {offset})
         select {OF_POST}, {COLUMNS}, '' as body
         from page join posts p using (author_id, id) join users u on u.id = p.author_id
         order by p.created_at desc, p.id desc"
    );
    let articles = sqlx::query_as(&text)
        .bind(viewer)
        .bind(page.limit)
        .bind(page.offset)
        .bind(filter.tag)
        .bind(filter.author)
        .bind(filter.liked_by)
        .bind(filter.words)
        .bind(filter.plain)
        .fetch_all(pool)
        .await?;
    let total: Option<i64> = sqlx::query_scalar(sql.total)
        .bind(viewer)
        .bind(page.limit)
        .bind(page.offset)
        .bind(filter.tag)
        .bind(filter.author)
        .bind(filter.liked_by)
        .bind(filter.words)
        .bind(filter.plain)
        .fetch_optional(pool)
        .await?;
    Ok(Listing {
        articles,
        total: total.unwrap_or(0),
    })
}
