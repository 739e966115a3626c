//! Random interleavings of two readers and two writers of one key, with evictions, expired leases and writers that die between
//! commit and invalidation: no read older than an acknowledged write, nothing stale at rest.

use super::*;

/// `BANYAN_INTERLEAVINGS` says another number.
const HISTORIES: usize = 100_000;
/// Of a busy machine: it stops with fewer histories, and says how many.
const TIME: Duration = Duration::from_secs(150);
/// Or the time was not enough for anything.
const ENOUGH: usize = 500;
const AT_ONCE: usize = 64;
/// Some items are read once more when its rows are applied, or about to be.
const LATER: usize = AT_ONCE * 8;

#[expect(clippy::disallowed_methods, reason = "a test's own knobs")]
fn knob(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_interleavings_read_nothing_older_than_acknowledged_and_keep_nothing_stale() {
    let histories = knob("BANYAN_INTERLEAVINGS", HISTORIES);
    let seed = knob("BANYAN_SEED", rand::random_range(0..1_000_000));
    println!("BANYAN_SEED={seed}");
    let world = World::with(histories).await;
    let repairs = {
        let world = Arc::clone(&world);
        // As `keep_right`, without its rests: rows must be applied while their histories still run.
        start(async move {
            loop {
                // One that a busy machine is too slow for is made again, as by `keep_right`.
                match world.cache.apply_invalidations(&world.database).await {
                    Ok(applied) if applied.rows > 0 => {}
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        })
    };
    let next = Arc::new(AtomicUsize::new(0));
    let end = tokio::time::Instant::now() + TIME;
    let is_bounded = histories == HISTORIES;
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|worker| {
            let (world, next) = (Arc::clone(&world), Arc::clone(&next));
            let mut dice = StdRng::seed_from_u64((seed * 1000 + worker) as u64);
            start(async move {
                loop {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    if item >= histories || (is_bounded && tokio::time::Instant::now() > end) {
                        return;
                    }
                    history(&world, item, &mut dice).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    repairs.abort();
    let kept = world.assert_right_at_rest().await;
    let stats = world.cache.stats();
    let done = next.load(Ordering::Relaxed) - AT_ONCE;
    println!("{done} histories, {kept} entries at rest, {stats:?}");
    // The interesting ends are reached by a few of a hundred: entries survive, fills come too late, readers wait.
    assert!(done >= ENOUGH, "{done} histories are too few to judge by");
    assert!(kept > 0);
    assert!(
        stats.rejected > 0 && stats.waits > 0 && stats.hits > 0,
        "{stats:?}"
    );
    assert_eq!(stats.missed_invalidations, 0);
}

async fn history(world: &World, item: usize, dice: &mut StdRng) {
    let plans = [(); 6].map(|()| Delays::new(dice, None));
    let [first, second, third, fourth, fifth, sixth] = plans;
    let mortal = Delays::new(dice, Some(Point::Committed));
    let fourth = if dice.random_ratio(1, 8) { mortal } else { fourth };
    let fault = dice.random_range(0..4);
    tokio::join!(
        DELAYS.scope(first, async {
            pause().await;
            world.read_judged(item).await;
        }),
        DELAYS.scope(second, async {
            pause().await;
            world.read_judged(item).await;
            world.read_judged(item).await;
        }),
        DELAYS.scope(third, async {
            pause().await;
            world.write(item).await;
        }),
        DELAYS.scope(fourth.clone(), async {
            pause().await;
            tokio::select! {
                () = world.write(item) => {}
                () = fourth.died.notified() => {}
            }
        }),
        DELAYS.scope(fifth, async {
            pause().await;
            lose(world, item, fault).await;
        }),
        DELAYS.scope(sixth, async {
            if item.is_multiple_of(4) {
                world.read_judged(item.saturating_sub(LATER)).await;
            }
        }),
    );
}

async fn pause() {
    let delays = DELAYS.with(Clone::clone);
    delays.wait().await;
}

/// Redis evicts the entry, or a lease's time is over.
async fn lose(world: &World, item: usize, fault: u32) {
    let mut redis = world.cache.manager();
    let key = format!("item:{item}");
    let mut command = match fault {
        0 => redis::cmd("UNLINK"),
        1 => redis::cmd("HDEL"),
        _ => return,
    };
    command.arg(key);
    if fault == 1 {
        command.arg("token").arg("until");
    }
    command.query_async::<()>(&mut redis).await.unwrap();
}
