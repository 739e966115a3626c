//! A page of a feed: which posts are on it by the tips of those whom the reader follows, then the posts and their authors, each
//! from the cache. Of the tables it asks only which of them the reader likes.

use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use super::Cached;
use crate::error::ApiError;
use crate::slug::PostKey;
use crate::store::articles::Article;
use crate::store::listing::{Listing, Page};
use crate::store::posts::Post;
use crate::store::tips::{self, Followees, Tip};
use crate::store::users::{self, Account, Profile};
use crate::store::{likes, posts};

/// A page of a feed by its keys, and how many posts the whole has.
#[derive(Debug, PartialEq, Eq)]
struct FeedPage {
    keys: Vec<PostKey>,
    total: i64,
}

impl Cached {
    /// `None`: pulled from the tables instead, because the cache does not answer, the reader follows many, or the page lies
    /// deeper than the tips.
    pub(crate) async fn feed(&self, reader: i64, page: Page) -> Result<Option<Listing>, ApiError> {
        match self.followees(reader).await? {
            None | Some(Followees::Many) => Ok(None),
            Some(Followees::Few(authors)) => {
                let load = |authors| tips::tips(&self.pool, authors);
                let tips = self.tips.get_or_load_many(authors, load).await?;
                match merge(&tips, page) {
                    Some(page) => self.with_posts(reader, page).await.map(Some),
                    None => Ok(None),
                }
            }
        }
    }

    async fn with_posts(&self, reader: i64, page: FeedPage) -> Result<Listing, ApiError> {
        let FeedPage { keys, total } = page;
        let authors: BTreeSet<i64> = keys.iter().map(|key| key.author_id).collect();
        let (posts, authors, liked) = tokio::try_join!(
            async {
                let load = |keys| posts::by_keys(&self.pool, keys);
                Ok::<_, ApiError>(self.posts.get_or_load_many(keys.iter().copied(), load).await?)
            },
            async {
                let load = |ids| users::by_ids(&self.pool, ids);
                Ok(self.accounts.get_or_load_many(authors, load).await?)
            },
            async { Ok(likes::among(&self.pool, reader, &keys).await?) },
        )?;
        Ok(Listing {
            articles: assemble(&keys, posts, &authors, &liked),
            total,
        })
    }
}

/// In the order of `keys`. What was deleted since they were found is left out.
fn assemble(
    keys: &[PostKey],
    mut posts: HashMap<PostKey, Post>,
    authors: &HashMap<i64, Account>,
    liked: &HashSet<PostKey>,
) -> Vec<Article> {
    keys.iter()
        .filter_map(|key| {
            let (post, author) = (posts.remove(key)?, authors.get(&key.author_id)?);
            Some(article(post, author.clone(), liked.contains(key)))
        })
        .collect()
}

/// Without its body, as in every list.
fn article(post: Post, author: Account, liked: bool) -> Article {
    Article {
        post,
        body: String::new(),
        liked,
        author: Profile {
            id: author.id,
            username: author.username,
            bio: author.bio,
            image: author.image,
            // Or their posts would not be in the feed.
            following: true,
        },
    }
}

/// The newest of all tips. `None`: an author's tip ends before the page does.
fn merge(tips: &HashMap<i64, Tip>, page: Page) -> Option<FeedPage> {
    let needed = usize::try_from(page.offset + page.limit).ok()?;
    if tips.values().any(|tip| tip.latest.len() < needed && tip.is_cut()) {
        return None;
    }
    let skipped = usize::try_from(page.offset).ok()?;
    let keys = newest_first(tips).take(needed).skip(skipped);
    Some(FeedPage {
        keys: keys.collect(),
        total: tips.values().map(|tip| tip.posts).sum(),
    })
}

/// A tip's newest post that was not taken yet. By time, then number; no two are alike in both.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head<'t> {
    at: i64,
    id: i64,
    author: i64,
    older: &'t [(i64, i64)],
}

impl<'t> Head<'t> {
    fn of(author: i64, latest: &'t [(i64, i64)]) -> Option<Self> {
        let ((at, id), older) = latest.split_first()?;
        Some(Self {
            at: *at,
            id: *id,
            author,
            older,
        })
    }
}

/// Each tip has its newest first: only as many are looked at as are taken.
fn newest_first(tips: &HashMap<i64, Tip>) -> impl Iterator<Item = PostKey> {
    let heads = tips
        .iter()
        .filter_map(|(author, tip)| Head::of(*author, &tip.latest));
    let mut heads: BinaryHeap<Head<'_>> = heads.collect();
    std::iter::from_fn(move || {
        let newest = heads.pop()?;
        heads.extend(Head::of(newest.author, newest.older));
        Some(PostKey {
            author_id: newest.author,
            id: newest.id,
        })
    })
}

#[cfg(test)]
mod tests;
