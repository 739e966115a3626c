//! Random interleavings of two readers and two writers of one key and of a reader of several, with evictions, expired leases and writers that die between
//! commit and invalidation: no read older than an acknowledged write, nothing stale at rest.

use futures_util::future::join_all;

use super::*;

/// `BANYAN_INTERLEAVINGS` says another number.
const HISTORIES: usize = 100_000;
/// Of a busy machine: it stops with fewer histories, and says how many.
const TIME: Duration = Duration::from_secs(150);
/// Or the time was not enough for anything.
const ENOUGH: usize = 500;
const AT_ONCE: usize = 16;
/// Items that two transactions write together; each has its own readers, and each is a history.
const TOGETHER: usize = 8;
/// Rows wait for so long, so that a pass has many.
const PASS_EVERY: Duration = Duration::from_millis(20);
/// Some items are read once more when its rows are applied, or about to be.
const LATER: usize = AT_ONCE * TOGETHER * 8;

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
    let repairs = start(repair(Arc::clone(&world)));
    let begin = tokio::time::Instant::now();
    let todo = Arc::new(Todo {
        histories,
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        end: (histories == HISTORIES).then_some(begin + TIME),
    });
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|worker| {
            let dice = StdRng::seed_from_u64((seed * 1000 + worker) as u64);
            start(work(Arc::clone(&world), Arc::clone(&todo), dice))
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    repairs.abort();
    let kept = world.assert_right_at_rest().await;
    let stats = world.cache.stats();
    let done = todo.done.load(Ordering::Relaxed);
    let took = begin.elapsed().as_secs();
    println!("{done} histories in {took} s, {kept} entries at rest, {stats:?}");
    if done < histories {
        println!(
            "NOT ALL: {TIME:?} were enough for {done} of {histories} histories, the machine is too busy"
        );
    }
    // The interesting ends are reached by a few of a hundred: entries survive, fills come too late, readers wait.
    assert!(done >= ENOUGH, "{done} histories are too few to judge by");
    assert!(kept > 0);
    assert!(
        stats.rejected > 0 && stats.waits > 0 && stats.hits > 0,
        "{stats:?}"
    );
    assert_eq!(stats.missed_invalidations, 0);
}

struct Todo {
    histories: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    /// Nothing is begun after it.
    end: Option<tokio::time::Instant>,
}

impl Todo {
    fn take(&self) -> Option<Range<usize>> {
        if self.end.is_some_and(|end| tokio::time::Instant::now() > end) {
            return None;
        }
        let first = self.next.fetch_add(TOGETHER, Ordering::Relaxed);
        (first < self.histories).then(|| first..self.histories.min(first + TOGETHER))
    }
}

async fn work(world: Arc<World>, todo: Arc<Todo>, mut dice: StdRng) {
    while let Some(items) = todo.take() {
        history(&world, items.clone(), &mut dice).await;
        todo.done.fetch_add(items.len(), Ordering::Relaxed);
    }
}

/// As `keep_right`, with shorter rests: rows must be applied while their histories still run.
async fn repair(world: Arc<World>) {
    loop {
        // One that a busy machine is too slow for is made again, as by `keep_right`.
        world.cache.apply_invalidations(&world.database).await.ok();
        tokio::time::sleep(PASS_EVERY).await;
    }
}

/// Two transactions that write all of them, a reader of all of them; of each, two readers and what may go wrong.
async fn history(world: &World, items: Range<usize>, dice: &mut StdRng) {
    let [first, second] = [(); 2].map(|()| Delays::new(dice, None));
    let mortal = Delays::new(dice, Some(Point::Committed));
    let second = if dice.random_ratio(1, 8) { mortal } else { second };
    let all = Delays::new(dice, None);
    let readers: Vec<_> = items.clone().map(|item| around(world, item, dice)).collect();
    tokio::join!(
        DELAYS.scope(first, async {
            pause().await;
            world.write_all(items.clone()).await;
        }),
        DELAYS.scope(second.clone(), async {
            pause().await;
            tokio::select! {
                () = world.write_all(items.clone()) => {}
                () = second.died.notified() => {}
            }
        }),
        DELAYS.scope(all, async {
            pause().await;
            world.read_all_judged(items.clone()).await;
        }),
        join_all(readers),
    );
    // What a reader has stored wrongly stays until its row is applied: soon.
    join_all(items.map(|item| world.read_judged(item))).await;
}

/// What happens to one of them besides.
fn around<'w>(world: &'w World, item: usize, dice: &mut StdRng) -> impl Future<Output = ()> + use<'w> {
    let [first, second, third, fourth] = [(); 4].map(|()| Delays::new(dice, None));
    let fault = dice.random_range(0..4);
    async move {
        tokio::join!(
            DELAYS.scope(first, async {
                pause().await;
                world.read_judged(item).await;
            }),
            DELAYS.scope(second, async {
                pause().await;
                world.read_judged(item).await;
                pause().await;
                world.read_judged(item).await;
            }),
            DELAYS.scope(third, async {
                pause().await;
                lose(world, item, fault).await;
            }),
            DELAYS.scope(fourth, async {
                if item.is_multiple_of(4) {
                    world.read_judged(item.saturating_sub(LATER)).await;
                }
            }),
        );
    }
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
