//! Several entries in one read.

use super::*;

/// Each run of the loader by itself: which items it was asked for.
#[derive(Default)]
struct Loads(std::sync::Mutex<Vec<Vec<usize>>>);

impl Loads {
    async fn all(&self, world: &World, items: Vec<usize>) -> Result<HashMap<usize, i64>, sqlx::Error> {
        self.0.lock().unwrap().push(items.clone());
        let loaded = try_join_all(items.iter().map(|item| world.load(*item))).await?;
        let found = items.into_iter().zip(loaded);
        Ok(found.filter_map(|(item, value)| Some((item, value?))).collect())
    }

    async fn read(&self, world: &World, items: &[usize]) -> HashMap<usize, i64> {
        let load = |items| self.all(world, items);
        let cached = world.items();
        let read = cached.get_or_load_many(items.iter().copied(), load);
        read.await.unwrap()
    }

    fn taken(&self) -> Vec<Vec<usize>> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn values(list: &[(usize, i64)]) -> HashMap<usize, i64> {
    list.iter().copied().collect()
}

#[tokio::test]
async fn those_that_are_missing_are_one_load_and_those_without_a_value_are_remembered() {
    let world = World::with(4).await;
    let loads = Loads::default();
    world.write(1).await;
    assert_eq!(world.read(2).await.unwrap(), Some(0));
    let wanted = values(&[(0, 0), (1, 1), (2, 0)]);
    assert_eq!(loads.read(&world, &[2, 1, 9, 0, 1, 9]).await, wanted);
    assert_eq!(loads.taken(), [[1, 9, 0]]);
    for _ in 0..2 {
        assert_eq!(loads.read(&world, &[0, 1, 2, 9]).await, wanted);
    }
    assert_eq!(loads.taken(), [[0; 0]; 0]);
    world.write(0).await;
    assert_eq!(
        loads.read(&world, &[0, 1, 2]).await,
        values(&[(0, 1), (1, 1), (2, 0)])
    );
    assert_eq!(loads.taken(), [[0]]);
    assert_eq!(loads.read(&world, &[]).await, HashMap::new());
    let stats = world.cache.stats();
    assert_eq!((stats.loads, stats.hits), (5, 11), "{stats:?}");
}

#[tokio::test]
async fn more_than_are_asked_for_at_once_are_all_there() {
    let world = World::with(600).await;
    let loads = Loads::default();
    let all: Vec<usize> = (0..600).collect();
    for _ in 0..2 {
        assert_eq!(loads.read(&world, &all).await.len(), 600);
    }
    let sizes: Vec<usize> = loads.taken().iter().map(Vec::len).collect();
    assert_eq!(sizes, [256, 256, 88]);
}

#[tokio::test]
async fn what_another_loads_is_waited_for_and_the_others_are_loaded_meanwhile() {
    let world = World::with(3).await;
    let loads = Loads::default();
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let items = world.items();
    let another = items.get_or_load(1, || async {
        wait.await.unwrap();
        world.load(1).await
    });
    let ours = async {
        while world.redis.command(&["EXISTS", "item:1"]).unwrap() == "0" {
            tokio::task::yield_now().await;
        }
        let read = loads.read(&world, &[0, 1, 2]);
        tokio::pin!(read);
        tokio::select! {
            _ = &mut read => unreachable!("the other has not loaded yet"),
            () = async { while world.redis.command(&["HGET", "item:2", "value"]).unwrap() != "0" { tokio::task::yield_now().await } } => {}
        }
        go.send(()).unwrap();
        read.await
    };
    let (another, ours) = tokio::join!(another, ours);
    assert_eq!(another.unwrap(), Some(0));
    assert_eq!(ours, values(&[(0, 0), (1, 0), (2, 0)]));
    assert_eq!((loads.taken(), world.loads()), (vec![vec![0, 2]], 3));
}

#[tokio::test]
async fn a_failed_load_gives_all_leases_back_and_what_is_kept_answers_if_it_is_all_there() {
    let world = World::with(2).await;
    let fails = |_: Vec<usize>| async { Err::<HashMap<usize, i64>, _>("no") };
    let failed = world.items().get_or_load_many([0, 1], fails).await;
    assert!(matches!(failed, Err(CacheError::Load("no"))), "{failed:?}");
    let loads = Loads::default();
    let both = values(&[(0, 0), (1, 0)]);
    assert_eq!(
        loads.read(&world, &[0, 1]).await,
        both,
        "the leases are free again"
    );
    for item in ["item:0", "item:1"] {
        for field in ["soft", "hard"] {
            world.redis.command(&["HSET", item, field, "1"]).unwrap();
        }
    }
    assert_eq!(world.items().get_or_load_many([0, 1], fails).await.unwrap(), both);
    world.write(1).await;
    let failed = world.items().get_or_load_many([0, 1], fails).await;
    assert!(matches!(failed, Err(CacheError::Load("no"))), "{failed:?}");
}

#[tokio::test]
async fn a_reader_that_goes_away_gives_all_its_leases_back() {
    let world = World::with(2).await;
    let items = world.items();
    let endless = |_: Vec<usize>| std::future::pending::<Result<HashMap<usize, i64>, sqlx::Error>>();
    tokio::select! {
        biased;
        _ = items.get_or_load_many([0, 1], endless) => unreachable!("it never ends"),
        () = async { while world.redis.command(&["EXISTS", "item:1"]).unwrap() == "0" { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(
        Loads::default().read(&world, &[0, 1]).await,
        values(&[(0, 0), (1, 0)])
    );
}

#[tokio::test]
async fn an_entry_of_another_shape_is_loaded_anew_by_itself() {
    let world = World::with(2).await;
    let loads = Loads::default();
    loads.read(&world, &[0, 1]).await;
    world
        .redis
        .command(&["HSET", "item:1", "value", "\"one\""])
        .unwrap();
    loads.taken();
    assert_eq!(loads.read(&world, &[0, 1]).await, values(&[(0, 0), (1, 0)]));
    assert_eq!(loads.taken(), [[1]]);
    loads.read(&world, &[0, 1]).await;
    assert_eq!(loads.taken(), [[0; 0]; 0]);
}

#[tokio::test]
async fn without_redis_all_of_them_are_one_load_each_time() {
    let world = World::with(3).await;
    let loads = Loads::default();
    let without = Cache::without_redis(Settings::default());
    let items = without.of::<i64>("item");
    for _ in 0..2 {
        let load = |items| loads.all(&world, items);
        let read = items.get_or_load_many([2, 0, 7], load).await;
        assert_eq!(read.unwrap(), values(&[(0, 0), (2, 0)]));
    }
    assert_eq!(loads.taken(), [[2, 0, 7], [2, 0, 7]]);
    assert_eq!(without.stats().direct_loads, 2);
}

#[tokio::test]
async fn what_is_in_this_process_is_not_asked_for() {
    let world = World::with(2).await;
    let loads = Loads::default();
    let local = world.items().l1(crate::cache::L1::lfu(100));
    for _ in 0..3 {
        let load = |items| loads.all(&world, items);
        let read = local.get_or_load_many([0, 1], load).await.unwrap();
        assert_eq!(read, values(&[(0, 0), (1, 0)]));
    }
    assert_eq!(loads.taken(), [[0, 1]]);
    let stats = world.cache.stats();
    assert_eq!(stats.loads + stats.hits, 6, "{stats:?}");
}
