//! What a reader and a writer may rely on.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_misses_are_one_load() {
    let world = World::with(1).await;
    let reads = (0..1000).map(|_| {
        let world = Arc::clone(&world);
        start(async move {
            let read = world
                .items()
                .get_or_load(0, || async {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    world.load(0).await
                })
                .await;
            assert_eq!(read.unwrap(), Some(0));
        })
    });
    for read in reads.collect::<Vec<_>>() {
        read.await.unwrap();
    }
    assert_eq!(world.loads(), 1, "{:?}", world.cache.stats());
}

#[tokio::test]
async fn two_processes_share_one_load() {
    let world = World::with(1).await;
    let other = Cache::open(
        &world.redis.url(),
        Settings {
            slow: LIMIT,
            ..Settings::default()
        },
    )
    .unwrap();
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.load(0).await
    };
    let theirs = other.of::<i64>("item");
    let ours = world.items();
    let (a, b) = tokio::join!(ours.get_or_load(0, slow), theirs.get_or_load(0, slow));
    assert_eq!((a.unwrap(), b.unwrap()), (Some(0), Some(0)));
    assert_eq!(world.loads(), 1);
}

#[tokio::test]
async fn a_value_is_loaded_once_and_again_after_a_write() {
    let world = World::with(1).await;
    assert_eq!(world.read(0).await.unwrap(), Some(0));
    assert_eq!(world.read(0).await.unwrap(), Some(0));
    assert_eq!(world.loads(), 1);
    world.write(0).await;
    assert_eq!(world.read(0).await.unwrap(), Some(1));
    assert_eq!(world.loads(), 2);
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_invalidates_nothing() {
    let world = World::with(1).await;
    world.read(0).await.unwrap();
    let (tx, _) = world.change(0).await;
    tx.rollback().await.unwrap();
    assert_eq!(world.read(0).await.unwrap(), Some(0));
    assert_eq!(world.loads(), 1);
    assert_eq!(world.pass().await.rows, 0);
}

#[tokio::test]
async fn that_there_is_none_is_remembered_until_there_is_one() {
    let world = World::with(1).await;
    assert_eq!(world.read(7).await.unwrap(), None);
    assert_eq!(world.read(7).await.unwrap(), None);
    assert_eq!(world.loads(), 1);
    let mut tx = world.database.begin().await.unwrap();
    sqlx::query("insert into item values (7, 3)")
        .execute(&mut *tx)
        .await
        .unwrap();
    world.items().invalidate(&mut tx, 7).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.read(7).await.unwrap(), Some(3));
}

#[tokio::test]
async fn the_row_of_a_writer_that_died_is_applied() {
    let world = World::with(1).await;
    world.read(0).await.unwrap();
    let died = Delays::new(&mut StdRng::seed_from_u64(1), Some(Point::Committed));
    DELAYS
        .scope(died.clone(), async {
            tokio::select! {
                () = world.write(0) => unreachable!("it dies before"),
                () = died.died.notified() => {}
            }
        })
        .await;
    assert_eq!(
        world.read(0).await.unwrap(),
        Some(0),
        "nobody was told, and nothing was acknowledged"
    );
    assert_eq!(world.pass().await.rows, 1);
    assert_eq!(world.read(0).await.unwrap(), Some(1));
}

#[tokio::test]
async fn past_its_soft_time_one_reader_loads_and_the_others_have_the_old_value() {
    let world = World::with(1).await;
    let items = world.items();
    items.get_or_load(0, || world.load(0)).await.unwrap();
    // Time passes in Redis, not here.
    world.redis.command(&["HSET", "item:0", "soft", "1"]).unwrap();
    let old = world.items();
    let load = || async {
        let meanwhile = old.get_or_load(0, || world.load(0)).await.unwrap();
        assert_eq!(meanwhile, Some(0));
        Ok::<_, sqlx::Error>(Some(8))
    };
    assert_eq!(items.get_or_load(0, load).await.unwrap(), Some(8));
    assert_eq!(world.read(0).await.unwrap(), Some(8));
    assert_eq!((world.loads(), world.cache.stats().stale), (1, 1));
}

#[tokio::test]
async fn a_failed_load_gives_the_lease_back_and_what_is_kept_answers_unless_it_was_invalidated() {
    let world = World::with(1).await;
    let fails = || async { Err::<Option<i64>, _>("no") };
    let failed = world.items().get_or_load(0, fails).await;
    assert!(matches!(failed, Err(CacheError::Load("no"))), "{failed:?}");
    assert_eq!(world.read(0).await.unwrap(), Some(0), "the lease is free again");
    for field in ["soft", "hard"] {
        world.redis.command(&["HSET", "item:0", field, "1"]).unwrap();
    }
    assert_eq!(world.items().get_or_load(0, fails).await.unwrap(), Some(0));
    world.write(0).await;
    let failed = world.items().get_or_load(0, fails).await;
    assert!(matches!(failed, Err(CacheError::Load("no"))), "{failed:?}");
}

#[tokio::test]
async fn a_reader_that_goes_away_gives_its_lease_back() {
    let world = World::with(1).await;
    let items = world.items();
    tokio::select! {
        biased;
        _ = items.get_or_load(0, std::future::pending::<Result<Option<i64>, sqlx::Error>>) => unreachable!("it never ends"),
        () = async { while world.redis.command(&["EXISTS", "item:0"]).unwrap() == "0" { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(world.read(0).await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_load_that_takes_too_long_is_an_error() {
    let world = World::with(1).await;
    let items = world.items().loader_limit(Duration::from_millis(20));
    let read = items
        .get_or_load(0, std::future::pending::<Result<Option<i64>, sqlx::Error>>)
        .await;
    assert!(matches!(read, Err(CacheError::TimedOut(_))), "{read:?}");
}

#[tokio::test]
async fn an_entry_of_another_shape_is_loaded_anew() {
    let world = World::with(1).await;
    let texts = world.cache.of::<String>("item");
    let text = || async { Ok::<_, sqlx::Error>(Some("text".to_owned())) };
    texts.get_or_load(0, text).await.unwrap();
    assert_eq!(world.read(0).await.unwrap(), Some(0));
    assert_eq!(world.read(0).await.unwrap(), Some(0));
    assert_eq!(world.loads(), 1);
}

#[tokio::test]
async fn a_tag_makes_its_entries_unreachable_also_when_redis_lost_it() {
    let world = World::with(2).await;
    let tagged = |item: usize| {
        let world = &world;
        async move {
            let items = world.items();
            let read = items.get_or_load_tagged("all", item, || world.load(item));
            read.await.unwrap()
        }
    };
    tagged(0).await;
    tagged(1).await;
    tagged(0).await;
    assert_eq!(world.loads(), 2);
    let mut tx = world.database.begin().await.unwrap();
    sqlx::query("update item set version = 5")
        .execute(&mut *tx)
        .await
        .unwrap();
    world.cache.invalidate_tag(&mut tx, "all").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((tagged(0).await, tagged(1).await), (Some(5), Some(5)));
    world.redis.command(&["DEL", "tag:all"]).unwrap();
    tagged(0).await;
    assert_eq!(world.loads(), 5, "a lost nonce is a new one");
}

#[tokio::test]
async fn rows_go_ten_minutes_after_they_were_applied_and_never_before_they_are() {
    let world = World::with(1).await;
    world.write(0).await;
    let age = "update banyan.invalidation set created_at = created_at - interval '1 day', \
               applied_at = applied_at - interval '11 minutes'";
    let rows = || async {
        sqlx::query_scalar::<_, i64>("select count(*) from banyan.invalidation")
            .fetch_one(world.database.pool())
            .await
            .unwrap()
    };
    sqlx::query(age).execute(world.database.pool()).await.unwrap();
    assert_eq!(world.pass().await.rows, 1, "old, and not yet applied");
    assert_eq!(rows().await, 1);
    sqlx::query(age).execute(world.database.pool()).await.unwrap();
    world.pass().await;
    assert_eq!(rows().await, 0);
}

#[tokio::test]
async fn one_process_at_a_time_applies() {
    let world = World::with(1).await;
    let mut holder = world.database.pool().begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(hashtext('banyan invalidation'))")
        .execute(&mut *holder)
        .await
        .unwrap();
    assert!(world.pass().await.elsewhere);
    holder.rollback().await.unwrap();
    assert!(!world.pass().await.elsewhere);
}
