//! The JSON forms of answers.

use serde::Serialize;

use crate::media::url_of;
use crate::store::articles::Article;
use crate::store::comments::Comment;
use crate::store::iso;
use crate::store::users::{Account, Figures, Profile};

/// The token is for programs only.
#[derive(Serialize)]
pub(super) struct UserView {
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    username: String,
    bio: Option<String>,
    image: Option<String>,
}

impl UserView {
    pub(super) fn new(account: Account, token: Option<String>) -> Self {
        Self {
            email: account.email,
            token,
            username: account.username,
            bio: account.bio,
            image: account.image,
        }
    }
}

#[derive(Serialize)]
pub(super) struct ProfileView {
    username: String,
    bio: Option<String>,
    image: Option<String>,
    following: bool,
}

impl From<Profile> for ProfileView {
    fn from(profile: Profile) -> Self {
        Self {
            username: profile.username,
            bio: profile.bio,
            image: profile.image,
            following: profile.following,
        }
    }
}

/// Beyond RealWorld: the figures.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WholeProfileView {
    #[serde(flatten)]
    profile: ProfileView,
    posts_count: i64,
    followers_count: i64,
    following_count: i64,
}

impl WholeProfileView {
    pub(super) fn new(profile: Profile, figures: Figures) -> Self {
        Self {
            profile: profile.into(),
            posts_count: figures.posts,
            followers_count: figures.followers,
            following_count: figures.following,
        }
    }
}

/// Beyond RealWorld: `photo`, the address of the picture or null.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArticleView {
    slug: String,
    title: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    photo: Option<String>,
    tag_list: Vec<String>,
    created_at: String,
    updated_at: String,
    favorited: bool,
    favorites_count: i64,
    author: ProfileView,
}

impl ArticleView {
    pub(super) fn whole(mut article: Article) -> Self {
        let body = std::mem::take(&mut article.body);
        Self {
            body: Some(body),
            ..Self::listed(article)
        }
    }

    /// In a list: without the body.
    pub(super) fn listed(article: Article) -> Self {
        let post = article.post;
        Self {
            slug: post.slug,
            title: post.title,
            description: post.description,
            body: None,
            photo: post.photo.as_deref().map(url_of),
            tag_list: post.tags,
            created_at: iso(post.created_at),
            updated_at: iso(post.updated_at),
            favorited: article.liked,
            favorites_count: post.likes,
            author: article.author.into(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommentView {
    id: i64,
    created_at: String,
    updated_at: String,
    body: String,
    author: ProfileView,
}

impl From<Comment> for CommentView {
    fn from(comment: Comment) -> Self {
        Self {
            id: comment.comment_id,
            created_at: iso(comment.created_at),
            updated_at: iso(comment.updated_at),
            body: comment.body,
            author: comment.author.into(),
        }
    }
}
