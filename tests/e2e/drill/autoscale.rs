//! Numbers of instances under four loads, by each policy, side by side on the real system: docs/autoscaling.md has the
//! table. The policies' time runs [`SPEED`] times faster than the clock, and so do the loads.
//!
//! Limits: all run on one machine at once, whose own noise is in every row alike. Instances wait, they do not work, but for
//! those that are scaled by CPU: these work [`WORK`] for each request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest, burn, judge};
use banyan_runtime::Clock;
use banyan_testkit::load::{Load, Report};

const SPEED: u32 = 5;
const LENGTH: Duration = Duration::from_secs(140);
/// An instance: so many requests at once, of so many ms each.
const SLOTS: u32 = 2;
const SERVICE: Duration = Duration::from_millis(400);
const EACH: f64 = 5.0;
/// Requests per second at the busiest time: ten instances.
const PEAK: f64 = 50.0;
/// Waited longer than `slo_wait` for an instance.
const SLOW: Duration = Duration::from_millis(500);
/// CPU time of a request where CPU is what is held: 10 % of a core when an instance is never idle, and a little beside it.
const WORK: Duration = Duration::from_millis(20);
const SAMPLE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// A day: from a quarter of the peak to the peak and back.
    Day,
    /// Four times as much within two minutes, for some, and slowly back.
    Flash,
    /// Half as much every other four minutes.
    Square,
    /// Next to nothing for two and a half minutes, then half as much again for two.
    Outage,
}

impl Shape {
    const ALL: [Self; 4] = [Self::Day, Self::Flash, Self::Square, Self::Outage];

    /// Of the peak, so long after the start.
    fn level(self, at: Duration) -> f64 {
        // Of the policies' time.
        let minute = at.as_secs_f64() * f64::from(SPEED) / 60.0;
        match self {
            Self::Day => {
                let day = at.as_secs_f64() / LENGTH.as_secs_f64();
                0.62 - 0.38 * (std::f64::consts::TAU * day).cos()
            }
            Self::Flash => match minute {
                m if m < 2.0 => 0.25,
                m if m < 4.0 => 0.25 + 0.75 * (m - 2.0) / 2.0,
                m if m < 7.0 => 1.0,
                m => (1.0 - 0.75 * (m - 7.0) / 3.0).max(0.25),
            },
            Self::Square if minute % 8.0 < 4.0 => 1.0,
            Self::Square => 0.5,
            Self::Outage => match minute {
                m if m < 3.0 => 0.66,
                m if m < 5.4 => 0.05,
                m if m < 7.4 => 1.0,
                _ => 0.66,
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Headroom,
    Cpu,
    Concurrency,
    Fixed,
}

impl Policy {
    const ALL: [Self; 4] = [Self::Headroom, Self::Cpu, Self::Concurrency, Self::Fixed];

    fn manifest(self, shape: Shape) -> Manifest {
        let sleep = match self {
            Self::Cpu => SERVICE - WORK,
            _ => SERVICE,
        };
        let work = match self {
            Self::Cpu => burn::thousands(WORK),
            _ => 0,
        };
        let args = format!("--start-ms 1000 --sleep-ms {} --burn {work}", sleep.as_millis());
        let mut manifest = Manifest::misfit(&args).edge(&format!(
            "queue = {{ max_connections = {SLOTS}, length = 100000, wait = \"60s\" }}"
        ));
        let first = (shape.level(Duration::ZERO) * PEAK / EACH * 1.25).ceil();
        let most = (PEAK / EACH * 1.25).ceil();
        let count = if self == Self::Fixed { most } else { first };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a handful"
        )]
        let count = count as u32;
        manifest.count = count;
        let rule = match self {
            Self::Headroom => "policy = \"headroom\"",
            // 70 % of what an instance uses when it is never idle.
            Self::Cpu => "policy = \"target\"\nmetric = \"cpu\"\ntarget = 7",
            Self::Concurrency => "policy = \"concurrency\"",
            Self::Fixed => return manifest,
        };
        manifest.more = vec![format!("[scale.web]\nmin = 2\nmax = 25\nspeed = {SPEED}\n{rule}")];
        manifest
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Headroom => "headroom",
            Self::Cpu => "HPA by CPU 70 %",
            Self::Concurrency => "KPA 70 %",
            Self::Fixed => "fixed",
        })
    }
}

struct Row {
    policy: Policy,
    report: Report,
    instance_seconds: f64,
    most: usize,
    steps: (usize, usize),
}

impl Row {
    fn slow(&self) -> f64 {
        let slow = self.report.samples.iter().filter(|sample| sample.latency > SLOW);
        100.0 * count(slow.count()) / count(self.report.samples.len().max(1))
    }

    fn print(&self, shape: Shape) {
        println!(
            "| {shape:?} | {} | {} | {} | {:.2} | {:.0} | {:.0} | {} | {} / {} |",
            self.policy,
            self.report.samples.len(),
            self.report.failures().len(),
            self.slow(),
            self.report.quantile(0.99).as_secs_f64() * 1000.0,
            self.instance_seconds,
            self.most,
            self.steps.0,
            self.steps.1,
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "shares")]
fn count(of: usize) -> f64 {
    of as f64
}

async fn run(policy: Policy, shape: Shape) -> Row {
    let mut installation = Installation::new(policy.manifest(shape));
    installation.up().await;
    let client = Arc::new(installation.client());
    let load = Load::shaped(
        move |at| PEAK * shape.level(at),
        move |_| {
            let client = Arc::clone(&client);
            async move { judge("read", "/", client.get("/").await) }
        },
    );
    let (mut instance_seconds, mut most, mut before) = (0.0, 0, Clock.now());
    while load.elapsed() < LENGTH {
        tokio::time::sleep(SAMPLE).await;
        let running = installation.running();
        let alive = running
            .iter()
            .filter(|(_, command)| command.contains("misfit"))
            .count();
        let now = Clock.now();
        instance_seconds += count(alive) * (now - before).as_secs_f64();
        (most, before) = (most.max(alive), now);
    }
    let report = load.stop().await;
    let steps = steps(&installation).await;
    installation.down().await;
    Row {
        policy,
        report,
        instance_seconds,
        most,
        steps,
    }
}

/// Changes up and down.
async fn steps(installation: &Installation) -> (usize, usize) {
    let status = installation.status().await;
    let changes = status["autoscale"]["changes"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let up = |change: &&serde_json::Value| change["to"].as_u64() > change["from"].as_u64();
    let ups = changes.iter().filter(up).count();
    (ups, changes.len() - ups)
}

/// Ten minutes: what is lost is a bug; the rest is the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn numbers_that_follow_the_load_lose_nothing_and_are_compared() {
    println!(
        "| load | policy | requests | lost | slow % | p99 ms | instance-seconds | most | steps up / down |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut problems = Vec::new();
    for shape in Shape::ALL {
        let [headroom, cpu, concurrency, fixed] = Policy::ALL.map(|policy| Box::pin(run(policy, shape)));
        let (headroom, cpu, concurrency, fixed) = tokio::join!(headroom, cpu, concurrency, fixed);
        for row in [headroom, cpu, concurrency, fixed] {
            row.print(shape);
            if !row.report.failures().is_empty() {
                problems.push(format!("{shape:?} {}:\n{}", row.policy, row.report.explain(5)));
            }
            if row.policy == Policy::Headroom && row.steps.1 == 0 {
                problems.push(format!("{shape:?}: nothing was let go"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
