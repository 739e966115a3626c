//! What is read from the cache (REDIS_CACHE_URL, once all instances have it; else each read asks the tables): accounts, profiles, whom a user follows, and
//! each author's *tip*, their newest posts and how many there are, of which feeds are put together (`feed`), and the posts in them.
//!
//! A write forgets what it changes in its own transaction, so that a read that begins after its answer sees it. What is
//! cached holds nothing of who is looking.

mod feed;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

use banyan_sdk::{Banyan, CacheError, Tx};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool};

use crate::error::ApiError;
use crate::fellows::Fellows;
use crate::slug::PostKey;
use crate::store::posts::Post;
use crate::store::tips::{self, Followees, Tip};
use crate::store::users::{self, Account, Figures, Profile};

pub(crate) struct Cached {
    pool: PgPool,
    redis: banyan_sdk::Cache,
    fellows: Arc<Fellows>,
    ids: banyan_sdk::Cached<i64>,
    accounts: banyan_sdk::Cached<Account>,
    cards: banyan_sdk::Cached<Card>,
    followees: banyan_sdk::Cached<Followees>,
    tips: banyan_sdk::Cached<Tip>,
    posts: banyan_sdk::Cached<Post>,
}

/// A profile as everybody sees it.
#[derive(Clone, Debug, FromRow, Serialize, Deserialize)]
pub(crate) struct Card {
    pub(crate) id: i64,
    pub(crate) username: String,
    pub(crate) bio: Option<String>,
    pub(crate) image: Option<String>,
    #[sqlx(flatten)]
    pub(crate) figures: Figures,
}

impl Cached {
    pub(crate) fn new(banyan: &Banyan, fellows: Arc<Fellows>) -> Self {
        Self {
            pool: banyan.db().pool().clone(),
            redis: banyan.caches().clone(),
            fellows,
            ids: banyan.cache("user-id"),
            accounts: banyan.cache("account"),
            cards: banyan.cache("profile"),
            followees: banyan.cache("followees"),
            tips: banyan.cache("tip"),
            posts: banyan.cache("post"),
        }
    }

    pub(crate) async fn id_of(&self, username: &str) -> Result<Option<i64>, ApiError> {
        let name = username.to_lowercase();
        self.read(&self.ids, &name, || users::id_of(&self.pool, &name))
            .await
    }

    pub(crate) async fn account(&self, id: i64) -> Result<Option<Account>, ApiError> {
        self.read(&self.accounts, id, || users::by_id(&self.pool, id))
            .await
    }

    async fn read<T, Fut>(
        &self,
        kind: &banyan_sdk::Cached<T>,
        key: impl Display,
        load: impl FnOnce() -> Fut,
    ) -> Result<Option<T>, ApiError>
    where
        T: Serialize + DeserializeOwned,
        Fut: Future<Output = Result<Option<T>, sqlx::Error>>,
    {
        if self.fellows.read_from_cache() {
            return Ok(kind.get_or_load(key, load).await?);
        }
        Ok(load().await?)
    }

    pub(crate) async fn card(&self, username: &str) -> Result<Option<Card>, ApiError> {
        let Some(id) = self.id_of(username).await? else {
            return Ok(None);
        };
        self.read(&self.cards, id, || users::card(&self.pool, id)).await
    }

    pub(crate) async fn profile(
        &self,
        username: &str,
        viewer: Option<i64>,
    ) -> Result<Option<(Profile, Figures)>, ApiError> {
        let Some(card) = self.card(username).await? else {
            return Ok(None);
        };
        let following = match viewer {
            Some(viewer) => self.follows(viewer, card.id).await?,
            None => false,
        };
        let profile = Profile {
            id: card.id,
            username: card.username,
            bio: card.bio,
            image: card.image,
            following,
        };
        Ok(Some((profile, card.figures)))
    }

    async fn follows(&self, follower: i64, followee: i64) -> Result<bool, ApiError> {
        match self.followees(follower).await? {
            Some(Followees::Few(ids)) => Ok(ids.contains(&followee)),
            Some(Followees::Many) | None => Ok(tips::follows(&self.pool, follower, followee).await?),
        }
    }

    /// `None`: the cache does not answer, and it would take a statement for each.
    async fn followees(&self, follower: i64) -> Result<Option<Followees>, ApiError> {
        if !self.fellows.read_from_cache() || !self.redis.answers() {
            return Ok(None);
        }
        let load = || tips::followees(&self.pool, follower);
        Ok(self.followees.get_or_load(follower, load).await?)
    }

    pub(crate) async fn forget_tip(&self, tx: &mut Tx, author: i64) -> Result<(), sqlx::Error> {
        self.tips.invalidate(tx, author).await?;
        self.cards.invalidate(tx, author).await
    }

    /// When it changes, its likes included.
    pub(crate) async fn forget_post(&self, tx: &mut Tx, post: PostKey) -> Result<(), sqlx::Error> {
        self.posts.invalidate(tx, post).await
    }

    pub(crate) async fn forget_follow(
        &self,
        tx: &mut Tx,
        follower: i64,
        followee: i64,
    ) -> Result<(), sqlx::Error> {
        self.followees.invalidate(tx, follower).await?;
        self.cards.invalidate(tx, follower).await?;
        self.cards.invalidate(tx, followee).await
    }

    /// `names`: those that a user had and has.
    pub(crate) async fn forget_user(&self, tx: &mut Tx, id: i64, names: &[&str]) -> Result<(), sqlx::Error> {
        let names: BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
        for name in names {
            self.ids.invalidate(tx, name).await?;
        }
        self.accounts.invalidate(tx, id).await?;
        self.cards.invalidate(tx, id).await
    }
}

impl From<CacheError<sqlx::Error>> for ApiError {
    fn from(error: CacheError<sqlx::Error>) -> Self {
        match error {
            CacheError::Load(error) => error.into(),
            CacheError::TimedOut(_) | CacheError::Overloaded => Self::Busy(error.to_string()),
            CacheError::Encode(_) | CacheError::Decode(_) => Self::Broken {
                doing: "use the cache",
                cause: error.to_string(),
            },
        }
    }
}
