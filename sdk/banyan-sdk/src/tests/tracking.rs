//! Tables that tell the cache themselves, whoever changes them.

use super::*;

/// Eight items that are cached and tracked.
async fn world() -> Arc<World> {
    let world = World::with(8).await;
    sql(&world, "select banyan.track('item', 'item:{id}')").await;
    for item in 0..9 {
        world.read(item).await.unwrap();
    }
    world
}

async fn sql(world: &World, text: &str) {
    sqlx::raw_sql(text).execute(world.database.pool()).await.unwrap();
}

async fn refusal(world: &World, text: &str) -> String {
    let refused = sqlx::raw_sql(text).execute(world.database.pool()).await;
    refused.unwrap_err().to_string()
}

#[tokio::test]
async fn a_statement_that_knows_nothing_of_the_cache_is_followed_by_it() {
    let world = world().await;
    sql(&world, "update item set version = 5 where id < 3").await;
    assert_eq!(world.pass().await.rows, 3);
    assert_eq!(world.read(2).await.unwrap(), Some(5));
    sql(
        &world,
        "delete from item where id = 3; insert into item values (8, 8); update item set id = 20 where id = 4",
    )
    .await;
    // 3, 8, and both 4 and 20.
    assert_eq!(world.pass().await.rows, 4);
    assert_eq!(world.read(3).await.unwrap(), None);
    assert_eq!(world.read(4).await.unwrap(), None);
    assert_eq!(
        world.read(8).await.unwrap(),
        Some(8),
        "the cache knew that there was none"
    );
    sql(
        &world,
        "insert into item values (0, 7) on conflict (id) do update set version = excluded.version",
    )
    .await;
    world.assert_right_at_rest().await;
    assert_eq!(world.read(0).await.unwrap(), Some(7));
    sql(&world, "truncate item").await;
    world.pass().await;
    assert_eq!(world.read(0).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_rolled_back_or_changes_nothing_invalidates_nothing() {
    let world = world().await;
    sql(&world, "begin; update item set version = 5; rollback").await;
    sql(&world, "update item set version = 5 where id = 100").await;
    assert_eq!(world.pass().await.rows, 0);
    sql(
        &world,
        "select banyan.track('item', 'item:{id}'); update item set version = 1 where id = 0",
    )
    .await;
    assert_eq!(world.pass().await.rows, 1, "tracked twice, told once");
    sql(
        &world,
        "select banyan.untrack('item', 'item:{id}'); update item set version = 2 where id = 0",
    )
    .await;
    assert_eq!(world.pass().await.rows, 0);
}

#[tokio::test]
async fn a_pattern_that_cannot_be_a_key_is_refused_with_what_to_write() {
    let world = World::with(1).await;
    let refused = refusal(&world, "select banyan.track('item', 'item')").await;
    assert!(refused.contains("'item' names no column"), "{refused}");
    let refused = refusal(&world, "select banyan.track('item', 'item:{nothing}')").await;
    assert!(refused.contains("column r.nothing does not exist"), "{refused}");
    let refused = refusal(&world, "select banyan.track('item', 'item:{id}{')").await;
    assert!(refused.contains("names no column"), "{refused}");
    sql(
        &world,
        r#"create table "odd name" ("It's" text, b int);
           select banyan.track('"odd name"', 'o''dd:{It''s}:{b}!');
           insert into "odd name" values ('x', 1), ('x', 1), (null, 2)"#,
    )
    .await;
    let keys: Vec<String> =
        sqlx::query_scalar("select key from banyan.invalidation where applied_at is null")
            .fetch_all(world.database.pool())
            .await
            .unwrap();
    assert_eq!(keys, ["o'dd:x:1!"]);
}
