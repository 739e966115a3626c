//! Open-loop load: requests start at a fixed rate whatever the answers do.
//!
//! A closed loop slows down with the server and hides its stalls. Latency counts from the moment a request was due, so that
//! a generator that falls behind shows it instead of flattering the server.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use banyan_runtime::shutdown::{ShutdownTrigger, channel};
use banyan_runtime::{Clock, Shutdown, ShutdownStage, TaskKind, Tasks};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::ledger::Outcome;

/// How one request ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// "read", "write" …: figures are given per kind.
    pub kind: &'static str,
    pub outcome: Outcome,
    /// For a failure: status and body, or the broken connection's error.
    pub detail: String,
}

#[derive(Clone, Debug)]
pub struct Sample {
    pub answer: Answer,
    /// When it was due, from the start of the load.
    pub at: Duration,
    pub latency: Duration,
}

/// A load that runs until [`Load::stop`].
#[derive(Debug)]
pub struct Load {
    trigger: ShutdownTrigger,
    samples: mpsc::UnboundedReceiver<Sample>,
    answered: Arc<AtomicU64>,
    started: Instant,
    tasks: Tasks,
    phases: Vec<(Duration, String)>,
}

impl Load {
    /// `request` is called with 0, 1, 2 … and `per_second` times each second. Needs a multi-threaded runtime, so that a
    /// test's own work does not delay arrivals.
    ///
    /// # Panics
    /// With a rate of 0.
    pub fn start<F>(per_second: u32, request: impl Fn(u64) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::bounded(per_second, Semaphore::MAX_PERMITS, request)
    }

    /// As [`Self::start`], but while `most` requests are out, none is added: arrivals meanwhile are left out, not put off.
    /// For what must hold on any machine: one that is too slow for the rate gets less load instead of a growing heap.
    ///
    /// # Panics
    /// With a rate of 0.
    pub fn bounded<F>(per_second: u32, most: usize, request: impl Fn(u64) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        assert!(per_second > 0, "a load needs a rate");
        Self::with(move |_| f64::from(per_second), most, request)
    }

    /// As [`Self::start`], at a rate that may be another one at each moment since the start: requests per second, at least
    /// one.
    pub fn shaped<F>(
        rate: impl Fn(Duration) -> f64 + Send + 'static,
        request: impl Fn(u64) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::with(rate, Semaphore::MAX_PERMITS, request)
    }

    fn with<F>(
        rate: impl Fn(Duration) -> f64 + Send + 'static,
        most: usize,
        request: impl Fn(u64) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let (trigger, shutdown) = channel();
        let (sender, samples) = mpsc::unbounded_channel();
        let tasks = Tasks::new(trigger.clone());
        let answered = Arc::new(AtomicU64::new(0));
        let generator = Generator {
            tasks: tasks.clone(),
            sender,
            answered: Arc::clone(&answered),
            started: Clock.now(),
            places: Arc::new(Semaphore::new(most)),
        };
        let started = generator.started;
        tasks.spawn(
            TaskKind::Background,
            "load",
            generator.run(shutdown, rate, request),
        );
        Self {
            trigger,
            samples,
            answered,
            started,
            tasks,
            phases: Vec::new(),
        }
    }

    /// What happens from now on, for the report's explanations.
    pub fn phase(&mut self, what: impl Into<String>) {
        self.phases.push((self.elapsed(), what.into()));
    }

    /// Requests answered so far, in whatever way.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Since the load began: to place an event among the samples.
    pub fn elapsed(&self) -> Duration {
        Clock.now() - self.started
    }

    /// Starts no more requests and waits for the answers of those that are out.
    pub async fn stop(mut self) -> Report {
        self.trigger.advance(ShutdownStage::Draining);
        let duration = self.elapsed();
        self.tasks.finished().await;
        let mut samples = Vec::new();
        while let Ok(sample) = self.samples.try_recv() {
            samples.push(sample);
        }
        Report {
            samples,
            duration,
            phases: self.phases,
        }
    }
}

struct Generator {
    tasks: Tasks,
    sender: mpsc::UnboundedSender<Sample>,
    answered: Arc<AtomicU64>,
    started: Instant,
    /// One for each request that may be out.
    places: Arc<Semaphore>,
}

impl Generator {
    async fn run<F>(self, mut shutdown: Shutdown, rate: impl Fn(Duration) -> f64, request: impl Fn(u64) -> F)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let mut at = Duration::ZERO;
        for number in 0u64.. {
            tokio::select! {
                biased;
                () = shutdown.draining() => return,
                () = tokio::time::sleep_until((self.started + at).into()) => {}
            }
            let place = match Arc::clone(&self.places).try_acquire_owned() {
                Ok(place) => place,
                Err(_full) => {
                    let place = Arc::clone(&self.places).acquire_owned().await;
                    at = at.max(Clock.now() - self.started);
                    place.expect("nobody closes it")
                }
            };
            self.begin(at, request(number), place);
            at += Duration::from_secs_f64(1.0 / rate(at).max(1.0));
        }
    }

    fn begin(
        &self,
        at: Duration,
        request: impl Future<Output = Answer> + Send + 'static,
        place: OwnedSemaphorePermit,
    ) {
        let (sender, answered) = (self.sender.clone(), Arc::clone(&self.answered));
        let due = self.started + at;
        self.tasks
            .spawn(TaskKind::Connection, "load request", async move {
                let answer = request.await;
                drop(place);
                let latency = Clock.now() - due;
                answered.fetch_add(1, Ordering::Relaxed);
                // The receiver is gone when the test gave up: nobody asks for the figure then.
                sender.send(Sample { answer, at, latency }).ok();
            });
    }
}

/// Everything that was answered.
#[derive(Clone, Debug)]
pub struct Report {
    pub samples: Vec<Sample>,
    pub duration: Duration,
    /// What went on from when on.
    pub phases: Vec<(Duration, String)>,
}

impl Report {
    /// All that was not acknowledged.
    pub fn failures(&self) -> Vec<&Sample> {
        self.samples
            .iter()
            .filter(|sample| sample.answer.outcome != Outcome::Acknowledged)
            .collect()
    }

    /// Those that were not under way during a phase whose name begins so: what happened in it cannot have been their cause.
    pub fn failures_outside(&self, phase: &str) -> Vec<&Sample> {
        let ends = self.phases.iter().skip(1).map(|(at, _)| *at);
        let phases = self.phases.iter().zip(ends.chain([self.duration]));
        let named = phases.filter(|((_, what), _)| what.starts_with(phase));
        let spans: Vec<(Duration, Duration)> = named.map(|((from, _), until)| (*from, until)).collect();
        let is_within = |sample: &&Sample| {
            let end = sample.at + sample.latency;
            spans
                .iter()
                .any(|(from, until)| sample.at <= *until && *from <= end)
        };
        let mut outside = self.failures();
        outside.retain(|sample| !is_within(sample));
        outside
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.samples
            .iter()
            .filter(|sample| sample.answer.outcome == outcome)
            .count()
    }

    /// Nearest rank; zero without samples.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut latencies: Vec<Duration> = self.samples.iter().map(|sample| sample.latency).collect();
        latencies.sort_unstable();
        let Some(last) = latencies.len().checked_sub(1) else {
            return Duration::ZERO;
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index within the samples"
        )]
        let rank = (share * last as f64).round() as usize;
        latencies[rank.min(last)]
    }

    fn phase_at(&self, at: Duration) -> String {
        let phase = self.phases.iter().rev().find(|(from, _)| *from <= at);
        phase.map(|(_, what)| format!(" ({what})")).unwrap_or_default()
    }

    /// The failures, one line each, at most `limit` of them: for assertion messages.
    pub fn explain(&self, limit: usize) -> String {
        let failures = self.failures();
        let lines = failures.iter().take(limit).map(|sample| {
            let Sample { answer, at, latency } = sample;
            format!(
                "  at {:.2}s{} {} {:?} after {:.2}s: {}",
                at.as_secs_f64(),
                self.phase_at(*at + *latency),
                answer.kind,
                answer.outcome,
                latency.as_secs_f64(),
                answer.detail.trim()
            )
        });
        let shown: Vec<String> = lines.collect();
        let more = match failures.len().saturating_sub(limit) {
            0 => String::new(),
            more => format!("\n  … and {more} more"),
        };
        shown.join("\n") + &more
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |share: f64| self.quantile(share).as_secs_f64() * 1000.0;
        write!(
            f,
            "{} requests in {:.1} s ({:.0}/s): {} ok, {} refused, {} unknown; p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            self.samples.len(),
            self.duration.as_secs_f64(),
            self.samples.len() as f64 / self.duration.as_secs_f64().max(f64::EPSILON),
            self.count(Outcome::Acknowledged),
            self.count(Outcome::Refused),
            self.count(Outcome::Unknown),
            ms(0.5),
            ms(0.99),
            ms(1.0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_bounded_load_never_has_more_requests_out_than_told() {
        let out = Arc::new(AtomicU64::new(0));
        let (release, held) = tokio::sync::watch::channel(false);
        let counted = Arc::clone(&out);
        let load = Load::bounded(1000, 3, move |_| {
            let (counted, mut held) = (Arc::clone(&counted), held.clone());
            async move {
                let now = counted.fetch_add(1, Ordering::Relaxed) + 1;
                held.wait_for(|released| *released).await.ok();
                counted.fetch_sub(1, Ordering::Relaxed);
                Answer {
                    kind: "read",
                    outcome: Outcome::Acknowledged,
                    detail: now.to_string(),
                }
            }
        });
        let full = async || {
            let now = out.load(Ordering::Relaxed);
            if now == 3 { Ok(()) } else { Err(now) }
        };
        wait::until("a full load", Duration::from_secs(60), full)
            .await
            .unwrap();
        release.send(true).unwrap();
        let more = async || {
            let answered = load.answered();
            if answered >= 20 { Ok(()) } else { Err(answered) }
        };
        wait::until("answers", Duration::from_secs(60), more)
            .await
            .unwrap();
        let report = load.stop().await;
        let most = report
            .samples
            .iter()
            .map(|sample| sample.answer.detail.parse::<u64>().unwrap());
        assert_eq!(most.max(), Some(3));
    }

    #[test]
    fn a_failure_is_outside_a_phase_unless_it_was_under_way_in_it() {
        let seconds = Duration::from_secs;
        let failed = |at: u64, latency: u64| Sample {
            answer: Answer {
                kind: "read",
                outcome: Outcome::Unknown,
                detail: String::new(),
            },
            at: seconds(at),
            latency: seconds(latency),
        };
        let report = Report {
            samples: vec![
                failed(1, 1),
                failed(1, 5),
                failed(6, 1),
                failed(8, 1),
                failed(21, 1),
            ],
            duration: seconds(30),
            phases: vec![
                (seconds(5), "killed a".to_owned()),
                (seconds(7), "without a".to_owned()),
                (seconds(20), "killed b".to_owned()),
            ],
        };
        let outside = |phase| {
            let outside = report.failures_outside(phase);
            let at: Vec<u64> = outside.iter().map(|sample| sample.at.as_secs()).collect();
            at
        };
        assert_eq!(outside("killed "), [1, 8]);
        assert_eq!(outside("killed a"), [1, 8, 21]);
        assert_eq!(outside("nothing"), [1, 1, 6, 8, 21]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn arrivals_do_not_wait_for_answers() {
        let (release, held) = tokio::sync::watch::channel(false);
        let load = Load::start(500, move |number| {
            let mut held = held.clone();
            async move {
                // The first answers only at the end; a closed loop would stop here.
                if number == 0 {
                    held.wait_for(|released| *released).await.ok();
                }
                Answer {
                    kind: "read",
                    outcome: Outcome::Acknowledged,
                    detail: String::new(),
                }
            }
        });
        wait::until("answers to the others", Duration::from_secs(60), async || {
            if load.answered() >= 20 {
                Ok(())
            } else {
                Err(load.answered())
            }
        })
        .await
        .unwrap();
        release.send(true).unwrap();
        let report = load.stop().await;
        assert!(report.failures().is_empty());
        assert!(
            report.samples.iter().any(|sample| sample.at.is_zero()),
            "the held one is in the report"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_failure_is_kept_with_its_detail() {
        let load = Load::start(1_000, |number| async move {
            let outcome = if number % 2 == 0 {
                Outcome::Acknowledged
            } else {
                Outcome::Unknown
            };
            Answer {
                kind: "write",
                outcome,
                detail: format!("number {number}"),
            }
        });
        wait::until("ten answers", Duration::from_secs(60), async || {
            if load.answered() >= 10 {
                Ok(())
            } else {
                Err(load.answered())
            }
        })
        .await
        .unwrap();
        let report = load.stop().await;
        assert_eq!(report.count(Outcome::Unknown), report.failures().len());
        assert!(
            report.explain(1).contains("write Unknown"),
            "{}",
            report.explain(1)
        );
    }
}
