//! Posts: list, feed, show, create, change, delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::body::{Given, JsonOf, PathOf, QueryOf, given};
use super::fields::{Problems, Rule};
use super::search::Search;
use super::views::ArticleView;
use crate::auth::{MaybeViewer, Viewer};
use crate::error::ApiError;
use crate::serve::App;
use crate::slug::{self, PostKey};
use crate::store::articles::{self, Article, Change, NewArticle};
use crate::store::listing::{self, Filter, Listing, Page, Wanted};
use crate::store::uploads;

const SHOWN: i64 = 20;
const SHOWN_LIMIT: i64 = 100;
/// Skipping rows costs reading them.
const OFFSET_LIMIT: i64 = 10_000;

#[derive(Serialize)]
pub(super) struct ArticleAnswer {
    article: ArticleView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArticlesAnswer {
    articles: Vec<ArticleView>,
    articles_count: i64,
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    tag: Option<String>,
    author: Option<String>,
    favorited: Option<String>,
    /// Beyond RealWorld.
    search: Option<String>,
    #[serde(flatten)]
    page: PageQuery,
}

#[derive(Deserialize)]
pub(super) struct PageQuery {
    limit: Option<String>,
    offset: Option<String>,
}

impl PageQuery {
    fn page(&self) -> Result<Page, ApiError> {
        let number = |field, given: &Option<String>, default| match given {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number: &i64| *number >= 0)
                .ok_or_else(|| ApiError::invalid(field, "is not a number from 0")),
        };
        let page = Page {
            limit: number("limit", &self.limit, SHOWN)?.min(SHOWN_LIMIT),
            offset: number("offset", &self.offset, 0)?,
        };
        if page.offset > OFFSET_LIMIT {
            return Err(ApiError::invalid("offset", format!("is above {OFFSET_LIMIT}")));
        }
        Ok(page)
    }
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    viewer: MaybeViewer,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<ArticlesAnswer>, ApiError> {
    let page = query.page.page()?;
    let search = query.search.as_deref().map(Search::parse).transpose()?;
    if search.as_ref().is_some_and(Search::is_empty) {
        return Ok(answer_list(Listing::default()));
    }
    let mut filter = Filter {
        tag: query.tag.as_deref(),
        ..Filter::default()
    };
    if let Some(search) = &search {
        filter.tag = filter.tag.or(search.tag.as_deref());
        filter.words = search.words.as_deref();
        filter.plain = Some(&search.plain);
    }
    for (name, id) in [
        (&query.author, &mut filter.author),
        (&query.favorited, &mut filter.liked_by),
    ] {
        let Some(name) = name else { continue };
        *id = app.cached.id_of(name).await?;
        if id.is_none() {
            return Ok(answer_list(Listing::default()));
        }
    }
    let wanted = Wanted::All(filter);
    let listing = listing::list(&app.pool, viewer.id(), &wanted, page).await?;
    Ok(answer_list(listing))
}

pub(super) async fn feed(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    QueryOf(query): QueryOf<PageQuery>,
) -> Result<Json<ArticlesAnswer>, ApiError> {
    let (viewer, page) = (viewer.id(), query.page()?);
    let listing = match app.cached.feed(viewer, page).await? {
        Some(listing) => listing,
        None => listing::list(&app.pool, Some(viewer), &Wanted::Feed { viewer }, page).await?,
    };
    Ok(answer_list(listing))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    viewer: MaybeViewer,
    PathOf(slug): PathOf<String>,
) -> Result<Json<ArticleAnswer>, ApiError> {
    find(&app, &slug, viewer.id()).await.map(answer)
}

#[derive(Deserialize)]
pub(super) struct CreateRequest {
    article: Create,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    title: Option<String>,
    description: Option<String>,
    body: Option<String>,
    #[serde(default)]
    tag_list: Vec<String>,
    /// What `POST /photos` answered.
    photo: Option<String>,
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    JsonOf(request): JsonOf<CreateRequest>,
) -> Result<(StatusCode, Json<ArticleAnswer>), ApiError> {
    let given = request.article;
    let mut problems = Problems::default();
    let title = problems.text("title", given.title, Rule::Title);
    let description = problems.text("description", given.description, Rule::Description);
    let body = problems.text("body", given.body, Rule::Text);
    let tags = problems.tags(given.tag_list);
    problems.none()?;
    if let Some(blob) = &given.photo
        && !uploads::owns(&app.pool, viewer.id(), blob).await?
    {
        return Err(ApiError::invalid("photo", "is not one you uploaded"));
    }
    let key = PostKey {
        author_id: viewer.id(),
        id: app.next_id()?,
    };
    let slug = slug::slug(&title, key);
    let new = NewArticle {
        key,
        slug: &slug,
        title: &title,
        description: &description,
        body: &body,
        photo: given.photo.as_deref(),
        tags: &tags,
    };
    let mut tx = app.database.begin().await?;
    articles::insert(&mut tx, new).await?;
    app.cached.forget_tip(&mut tx, key.author_id).await?;
    tx.commit().await?;
    let article = find_by_key(&app, key, Some(viewer.id())).await?;
    Ok((StatusCode::CREATED, answer(article)))
}

#[derive(Deserialize)]
pub(super) struct UpdateRequest {
    article: Update,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    #[serde(default, deserialize_with = "given")]
    title: Given<String>,
    #[serde(default, deserialize_with = "given")]
    description: Given<String>,
    #[serde(default, deserialize_with = "given")]
    body: Given<String>,
    #[serde(default, deserialize_with = "given")]
    tag_list: Given<Vec<String>>,
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    PathOf(slug): PathOf<String>,
    JsonOf(request): JsonOf<UpdateRequest>,
) -> Result<Json<ArticleAnswer>, ApiError> {
    let key = own(&app, &slug, &viewer).await?;
    let given = request.article;
    let mut problems = Problems::default();
    let mut change = Change {
        slug: None,
        title: problems.change("title", given.title, Rule::Title),
        description: problems.change("description", given.description, Rule::Description),
        body: problems.change("body", given.body, Rule::Text),
        tags: None,
    };
    match given.tag_list {
        Some(Some(tags)) => change.tags = Some(problems.tags(tags)),
        Some(None) => problems.add("tagList", "can't be null"),
        None => {}
    }
    problems.none()?;
    change.slug = change.title.as_deref().map(|title| slug::slug(title, key));
    let mut tx = app.database.begin().await?;
    if articles::update(&mut tx, key, change).await? {
        app.cached.forget_post(&mut tx, key).await?;
    }
    tx.commit().await?;
    find_by_key(&app, key, Some(viewer.id())).await.map(answer)
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    PathOf(slug): PathOf<String>,
) -> Result<StatusCode, ApiError> {
    let key = own(&app, &slug, &viewer).await?;
    let mut tx = app.database.begin().await?;
    articles::delete(&mut tx, key).await?;
    app.cached.forget_tip(&mut tx, key.author_id).await?;
    app.cached.forget_post(&mut tx, key).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// 404 before 403: who may not change a post may still know that it is there.
async fn own(app: &App, slug: &str, viewer: &Viewer) -> Result<PostKey, ApiError> {
    let key = existing(app, slug).await?;
    if key.author_id == viewer.id() {
        Ok(key)
    } else {
        Err(ApiError::forbidden("article"))
    }
}

/// The key of a post that is there.
pub(super) async fn existing(app: &App, slug: &str) -> Result<PostKey, ApiError> {
    let key = slug::key(slug).ok_or_else(|| ApiError::not_found("article"))?;
    if articles::exists(&app.pool, key).await? {
        Ok(key)
    } else {
        Err(ApiError::not_found("article"))
    }
}

async fn find(app: &App, slug: &str, viewer: Option<i64>) -> Result<Article, ApiError> {
    let key = slug::key(slug).ok_or_else(|| ApiError::not_found("article"))?;
    find_by_key(app, key, viewer).await
}

pub(super) async fn find_by_key(app: &App, key: PostKey, viewer: Option<i64>) -> Result<Article, ApiError> {
    let article = articles::by_key(&app.pool, key, viewer).await?;
    article.ok_or_else(|| ApiError::not_found("article"))
}

pub(super) fn answer(article: Article) -> Json<ArticleAnswer> {
    Json(ArticleAnswer {
        article: ArticleView::whole(article),
    })
}

fn answer_list(listing: Listing) -> Json<ArticlesAnswer> {
    Json(ArticlesAnswer {
        articles: listing.articles.into_iter().map(ArticleView::listed).collect(),
        articles_count: listing.total,
    })
}
