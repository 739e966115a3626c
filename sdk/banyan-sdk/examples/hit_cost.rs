//! What a hit costs by the SDK and by a plain GET of the same kilobyte, in turns; and how often the cache is of use when keys are asked
//! for by Zipf's law and a tenth of them fit. REDIS_CACHE_URL: a Redis to be emptied (`bench/sdk.sh` brings one).

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it prints its figures, and is an app of its own"
)]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use banyan_sdk::cache::Settings;
use banyan_sdk::{Cache, Cached};
use redis::AsyncCommands as _;
use redis::aio::ConnectionManager;
use tokio::time::Instant;

type Failure = Box<dyn Error + Send + Sync>;

/// ROUNDS, SECONDS_PER_ROUND.
const DEFAULTS: [u64; 2] = [7, 3];
const AT_ONCE: [usize; 2] = [1, 32];
const KEYS: usize = 50_000;
const READS: usize = 300_000;

#[derive(Clone, Copy)]
enum Way {
    Get,
    Sdk,
}

#[derive(Clone)]
struct Readers {
    plain: ConnectionManager,
    cached: Cached<String>,
}

impl Readers {
    async fn read(&self, way: Way) -> Result<(), Failure> {
        let length = match way {
            Way::Get => self.plain.clone().get::<_, String>("plain").await?.len(),
            Way::Sdk => {
                let load = async || Ok::<_, std::io::Error>(Some(value()));
                self.cached
                    .get_or_load("hit", load)
                    .await?
                    .map_or(0, |text| text.len())
            }
        };
        if length < 1024 {
            Err("a value is missing".into())
        } else {
            Ok(())
        }
    }
}

fn value() -> String {
    "v".repeat(1024)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::var("REDIS_CACHE_URL")?;
    let patient = Settings {
        slow: Duration::from_secs(5),
        ..Settings::default()
    };
    let cache = Cache::open(&url, patient)?;
    let mut plain = ConnectionManager::new(redis::Client::open(url)?).await?;
    plain.set::<_, _, ()>("plain", value()).await?;
    let readers = Readers {
        plain,
        cached: cache.of("hit"),
    };
    readers.read(Way::Sdk).await?;
    let [rounds, seconds] = ["ROUNDS", "SECONDS_PER_ROUND"].map(|name| std::env::var(name).ok());
    let number = |text: Option<String>, default| text.and_then(|text| text.parse().ok()).unwrap_or(default);
    let (rounds, length) = (
        number(rounds, DEFAULTS[0]),
        Duration::from_secs(number(seconds, DEFAULTS[1])),
    );
    for tasks in AT_ONCE {
        let (mut gets, mut hits) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            gets.push(round(&readers, Way::Get, tasks, length).await?);
            hits.push(round(&readers, Way::Sdk, tasks, length).await?);
        }
        let ((get, get_rate), (hit, hit_rate)) = (median(gets), median(hits));
        println!("{tasks:2} at once: GET  {get:6.0} us median, {get_rate:7.0}/s");
        println!(
            "            hit  {hit:6.0} us median, {hit_rate:7.0}/s  ({:.2} x, {:.2} x)",
            hit / get,
            hit_rate / get_rate
        );
    }
    zipf(&cache).await
}

/// Of all tasks: the median latency in microseconds, and reads per second.
async fn round(readers: &Readers, way: Way, tasks: usize, length: Duration) -> Result<(f64, f64), Failure> {
    let start = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let readers = readers.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while start.elapsed() < length {
                    let begin = Instant::now();
                    readers.read(way).await?;
                    took.push(begin.elapsed().as_secs_f64() * 1e6);
                }
                Ok::<_, Failure>(took)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in running {
        all.extend(task.await??);
    }
    let rate = all.len() as f64 / start.elapsed().as_secs_f64();
    all.sort_by(f64::total_cmp);
    Ok((all[all.len() / 2], rate))
}

fn median(mut rounds: Vec<(f64, f64)>) -> (f64, f64) {
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    rounds[rounds.len() / 2]
}

/// The k-th key is asked for in proportion to 1/k.
async fn zipf(cache: &Cache) -> Result<(), Failure> {
    let mut sum = 0.0;
    let upto: Arc<[f64]> = (1..=KEYS)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let before = cache.stats();
    let running: Vec<_> = (0..16)
        .map(|_| {
            let (upto, entries) = (Arc::clone(&upto), cache.of::<String>("zipf"));
            tokio::spawn(async move {
                for _ in 0..READS / 16 {
                    let at = rand::random_range(0.0..sum);
                    let rank = upto.partition_point(|upto| *upto < at);
                    let load = async || Ok::<_, std::io::Error>(Some(value()));
                    entries.get_or_load(rank, load).await?;
                }
                Ok::<_, Failure>(())
            })
        })
        .collect();
    for task in running {
        task.await??;
    }
    let hits = cache.stats().hits - before.hits;
    println!(
        "Zipf over {KEYS} keys: {:.1} % of {READS} reads were hits",
        100.0 * hits as f64 / READS as f64
    );
    Ok(())
}
