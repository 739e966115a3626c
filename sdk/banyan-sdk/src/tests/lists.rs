//! Lists that a commit adds to instead of making them load again.

use std::num::NonZeroU16;

use super::*;

const KEEP: NonZeroU16 = NonZeroU16::new(5).unwrap();

struct Lists {
    world: Arc<World>,
}

impl Lists {
    async fn new() -> Self {
        let world = World::with(1).await;
        sqlx::raw_sql("create table post (list bigint, id bigint, primary key (list, id))")
            .execute(world.database.pool())
            .await
            .unwrap();
        Self { world }
    }

    fn cached(&self) -> Cached<Vec<u64>> {
        self.world.cache.of("list").loader_limit(LIMIT)
    }

    async fn truth(&self, list: i64) -> Vec<u64> {
        self.world.loads.fetch_add(1, Ordering::Relaxed);
        let sql = "select id from post where list = $1 order by id desc limit $2";
        let ids: Vec<i64> = sqlx::query_scalar(sql)
            .bind(list)
            .bind(i64::from(KEEP.get()))
            .fetch_all(self.world.database.pool())
            .await
            .unwrap();
        ids.into_iter().map(|id| u64::try_from(id).unwrap()).collect()
    }

    async fn read(&self, list: i64) -> Vec<u64> {
        let load = async || Ok::<_, sqlx::Error>(Some(self.truth(list).await));
        self.cached().get_or_load(list, load).await.unwrap().unwrap()
    }

    async fn add(&self, list: i64, id: i64) {
        self.change("insert into post values ($1, $2)", list, id, true)
            .await;
    }

    async fn remove(&self, list: i64, id: i64) {
        let delete = "delete from post where list = $1 and id = $2";
        self.change(delete, list, id, false).await;
    }

    async fn change(&self, sql: &'static str, list: i64, id: i64, appends: bool) {
        let mut tx = self.world.database.begin_for(list).await.unwrap();
        let query = sqlx::query(sql).bind(list).bind(id);
        query.execute(&mut *tx).await.unwrap();
        let cached = self.cached();
        if appends {
            let item = u64::try_from(id).unwrap();
            cached.append(&mut tx, list, item, KEEP).await.unwrap();
        } else {
            cached.invalidate(&mut tx, list).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    fn kept(&self, list: i64) -> String {
        let key = format!("list:{list}");
        self.world.redis.command(&["HGET", &key, "value"]).unwrap()
    }
}

#[tokio::test]
async fn an_appended_number_is_there_at_its_place_without_a_load() {
    let lists = Lists::new().await;
    assert_eq!(lists.read(1).await, [0; 0]);
    for id in [30, 9, 7_000_000_000_000_000_001, 20, 20_000] {
        lists.add(1, id).await;
    }
    let all = [7_000_000_000_000_000_001, 20_000, 30, 20, 9];
    assert_eq!(lists.read(1).await, all);
    // One more than are kept: the last goes; and one that would be behind the last.
    lists.add(1, 10).await;
    lists.add(1, 1).await;
    assert_eq!(
        lists.read(1).await,
        [7_000_000_000_000_000_001, 20_000, 30, 20, 10]
    );
    assert_eq!(lists.world.loads(), 1);
    // Applied by its row, it is there already.
    while lists.world.pass().await.rows > 0 {}
    lists.read(1).await;
    assert_eq!(lists.world.loads(), 1);
    lists.remove(1, 30).await;
    assert_eq!(lists.kept(1), "");
}

#[tokio::test]
async fn a_transaction_that_fails_adds_nothing_and_a_dead_writers_row_makes_the_list_load_again() {
    let lists = Lists::new().await;
    lists.add(1, 1).await;
    lists.read(1).await;
    let mut tx = lists.world.database.begin().await.unwrap();
    lists.cached().append(&mut tx, 1, 2, KEEP).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(lists.kept(1), "[1]");
    let died = Delays::new(&mut StdRng::seed_from_u64(1), Some(Point::Committed));
    DELAYS
        .scope(died.clone(), async {
            tokio::select! {
                () = lists.add(1, 3) => unreachable!("it dies before"),
                () = died.died.notified() => {}
            }
        })
        .await;
    assert_eq!(lists.kept(1), "[1]");
    while lists.world.pass().await.rows > 0 {}
    assert_eq!(lists.read(1).await, [3, 1]);
}

/// The call comes when the number is gone again and the list was loaded anew.
#[tokio::test]
async fn a_late_call_does_not_bring_back_what_was_removed() {
    let lists = Lists::new().await;
    lists.add(1, 1).await;
    lists.read(1).await;
    let mut tx = lists.world.database.begin().await.unwrap();
    sqlx::query("insert into post values (1, 2)")
        .execute(&mut *tx)
        .await
        .unwrap();
    lists.cached().append(&mut tx, 1, 2, KEEP).await.unwrap();
    // As far as the others see it: committed, and the writer stands still.
    lists.world.redis.command(&["UNLINK", "list:1"]).unwrap();
    lists.read(1).await;
    tx.commit().await.unwrap();
    assert_eq!(lists.kept(1), "", "another load's list is not added to");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_additions_and_removals_leave_no_list_wrong_at_rest() {
    const LISTS: i64 = 100;
    let lists = Arc::new(Lists::new().await);
    let workers: Vec<_> = (0..16u64)
        .map(|number| {
            let lists = Arc::clone(&lists);
            let mut dice = StdRng::seed_from_u64(number);
            start(async move {
                for turn in 0..60 {
                    let list = dice.random_range(0..LISTS) % dice.random_range(1..LISTS);
                    let id = i64::try_from(number).unwrap() * 1000 + turn / 2;
                    let died = dice.random_ratio(1, 10).then_some(Point::Committed);
                    let delays = Delays::new(&mut dice, died);
                    let change = async {
                        lists.read(list).await;
                        if turn % 2 == 0 {
                            lists.add(list, id).await;
                        }
                        lists.remove(list, id - 1).await;
                        lists.read(list).await;
                    };
                    DELAYS
                        .scope(delays.clone(), async {
                            tokio::select! {
                                () = change => {}
                                () = delays.died.notified() => {}
                            }
                        })
                        .await;
                    if dice.random_ratio(1, 20) {
                        lists.world.pass().await;
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    loop {
        let applied = lists.world.pass().await;
        if applied.rows == 0 && !applied.elsewhere {
            break;
        }
    }
    for list in 0..LISTS {
        let truth = format!("{:?}", lists.truth(list).await).replace(' ', "");
        let kept = lists.kept(list);
        assert!(
            kept.is_empty() || kept == truth,
            "list {list}: {kept} is cached, {truth} is true"
        );
    }
}
