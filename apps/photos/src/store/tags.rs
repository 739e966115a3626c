//! Tags in the order of their last use.

use sqlx::PgPool;

/// Of the newest 5,000 uses: bounded work, and no row that every post must lock.
pub(crate) async fn latest(pool: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select tag
         from (select tag, created_at from post_tags order by created_at desc limit 5000) recent
         group by tag
         order by max(created_at) desc, tag
         limit 1000",
    )
    .fetch_all(pool)
    .await
}
