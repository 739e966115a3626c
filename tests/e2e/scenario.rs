//! Scenarios under load, shared by the tests (short) and the drills (long).

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest, Site};
use banyan_testkit::load::{Load, Report};
use banyan_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};

/// Requests per second: the least that counts as steady load.
pub(crate) const RATE: u32 = 200;

/// All values of `balance`.
pub(crate) const POLICIES: [&str; 6] = [
    "round_robin",
    "weighted",
    "least_connections",
    "ip_hash",
    "ring",
    "p2c_ewma",
];

/// A loaded site with `count` instances.
pub(crate) struct Loaded {
    pub(crate) installation: Installation,
    pub(crate) site: Arc<Site>,
    load: Load,
    rate: u32,
}

impl Loaded {
    pub(crate) async fn start(count: u32) -> Self {
        Self::of(Manifest::photos(count).process("stop_grace = \"5s\""), RATE).await
    }

    /// A loaded site of the sample app, with so many requests per second.
    pub(crate) async fn of(manifest: Manifest, rate: u32) -> Self {
        Self::over(Installation::new(manifest), rate).await
    }

    /// The same of an installation that has not been started yet.
    pub(crate) async fn over(mut installation: Installation, rate: u32) -> Self {
        installation.up().await;
        let site = Site::open(&installation).await;
        let load = site.load(rate);
        let mut loaded = Self {
            rate,
            installation,
            site,
            load,
        };
        loaded.carry_on(Duration::from_secs(1)).await;
        loaded
    }

    /// Load for this long: what came before has its effect within the measurement.
    pub(crate) async fn carry_on(&mut self, how_long: Duration) {
        let wanted = self.load.answered() + u64::from(self.rate) * how_long.as_millis() as u64 / 1_000;
        wait::until(
            "the load to go on",
            how_long * 3 + Duration::from_secs(30),
            async || {
                let answered = self.load.answered();
                if answered >= wanted { Ok(()) } else { Err(answered) }
            },
        )
        .await
        .unwrap();
    }

    /// Says when a change began and how long it took, and leaves a second of load behind it.
    pub(crate) async fn during(&mut self, what: &str, change: impl AsyncFnOnce(&mut Installation)) {
        let began = self.load.elapsed();
        self.load.phase(what);
        change(&mut self.installation).await;
        self.load.phase(format!("after {what}"));
        let took = self.load.elapsed() - began;
        println!(
            "  at {:5.1} s {what}: took {:.1} s",
            began.as_secs_f64(),
            took.as_secs_f64()
        );
        self.carry_on(Duration::from_secs(1)).await;
    }

    /// Ends the load; nothing acknowledged may be lost, nothing may be there twice. What the app refused because its
    /// database had failed may be there: it does not know either.
    pub(crate) async fn judged_without_a_database(self) -> (Installation, Report) {
        let report = self.load.stop().await;
        println!("{report}");
        let verdict = self.site.verdict(&self.installation).await;
        println!("ledger: {verdict}");
        let sound = verdict.lost.is_empty() && verdict.twice.is_empty();
        assert!(sound, "{verdict:?}\n{}", report.explain(20));
        (self.installation, report)
    }

    /// Ends the load; the ledger must be clean.
    pub(crate) async fn judged(self) -> (Installation, Report) {
        let report = self.load.stop().await;
        println!("{report}");
        let verdict = self.site.verdict(&self.installation).await;
        println!("ledger: {verdict}");
        assert!(
            verdict.is_clean(),
            "{verdict}\n{verdict:?}\n{}",
            report.explain(20)
        );
        (self.installation, report)
    }
}

/// One round of everything that a person does to a running system.
pub(crate) async fn changes(loaded: &mut Loaded, round: u32) {
    loaded
        .during("1 → 4 instances", async |it| {
            it.apply(|manifest| manifest.count = 4).await;
        })
        .await;
    loaded
        .during("4 → 2 instances", async |it| {
            it.apply(|manifest| manifest.count = 2).await;
        })
        .await;
    loaded
        .during("deploy: environment", async |it| {
            it.manifest = it.manifest.clone().env("ROUND", &format!("environment {round}"));
            it.write_manifest();
            it.verb(&["deploy"]).await;
        })
        .await;
    loaded
        .during("deploy: command", async |it| {
            it.manifest.command = if round.is_multiple_of(2) {
                "./photos"
            } else {
                "./photos serve"
            }
            .to_owned();
            it.write_manifest();
            it.verb(&["deploy"]).await;
        })
        .await;
    loaded
        .during("deploy: binary", async |it| {
            replace_binary(it, round);
            it.verb(&["deploy"]).await;
        })
        .await;
    loaded
        .during("rollback", async |it| {
            it.verb(&["rollback"]).await;
        })
        .await;
    loaded
        .during("edge settings", async |it| {
            it.manifest.edge = vec![format!("timeouts = {{ response = \"{}s\" }}", 30 + round % 2)];
            it.write_manifest();
            it.verb(&["apply"]).await;
        })
        .await;
    loaded
        .during(
            "every balance policy, sticky sessions, a limit with a queue",
            async |it| {
                for balance in POLICIES {
                    it.manifest.edge = vec![
                        format!("balance = \"{balance}\""),
                        "sticky = { cookie = \"photos_i\" }".to_owned(),
                        "queue = { max_connections = 50 }".to_owned(),
                    ];
                    it.write_manifest();
                    it.verb(&["apply"]).await;
                }
            },
        )
        .await;
    loaded
        .during("controller killed and started again", async |it| {
            it.kill_controller();
            it.start_controller();
            it.settled().await;
        })
        .await;
    loaded
        .during("2 → 1 instances", async |it| {
            it.apply(|manifest| manifest.count = 1).await;
        })
        .await;
}

/// A new version as a build leaves it: another file in the old one's place, other bytes.
fn replace_binary(installation: &Installation, round: u32) {
    let path = installation.app().join("photos");
    let new = installation.app().join("photos.new");
    let mut bytes = fs::read(&path).unwrap();
    // Bytes behind the end of an ELF program change its digest and nothing else.
    bytes.extend_from_slice(format!("round {round}").as_bytes());
    fs::write(&new, bytes).unwrap();
    fs::set_permissions(&new, fs::metadata(&path).unwrap().permissions()).unwrap();
    fs::rename(&new, &path).unwrap();
}

/// SIGKILL to one instance after another, at most one each second, and only while all others serve.
pub(crate) async fn kills(loaded: &mut Loaded, seconds: u32) {
    let all = loaded.installation.manifest.count as usize;
    for turn in 0..seconds as usize {
        let instances = all_serving(&loaded.installation, all).await;
        let (name, pid) = &instances[turn % all];
        // Before the signal: whatever breaks because of it ends after this moment.
        loaded.load.phase(format!("{KILLED}{name}"));
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
        println!("  killed {name} (pid {pid})");
        reaped(&loaded.installation, *pid).await;
        loaded.load.phase(format!("without {name}"));
        loaded.carry_on(Duration::from_secs(1)).await;
    }
}

/// What the phase begins with that lasts from a kill until the process is gone, which takes a while where cores are few.
pub(crate) const KILLED: &str = "killed ";

/// The supervisor knows that it has ended.
pub(crate) async fn reaped(installation: &Installation, pid: u32) {
    let limit = Duration::from_secs(60);
    wait::until("the killed instance to be gone", limit, async || {
        let instances = installation.instances().await;
        let there = instances.iter().any(|(_, other)| *other == pid);
        if there {
            Err(format!("{instances:?}"))
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
}

async fn all_serving(installation: &Installation, all: usize) -> Vec<(String, u32)> {
    let limit = Duration::from_secs(60);
    wait::until("every instance to serve again", limit, async || {
        let instances = installation.ready_instances().await;
        if instances.len() == all {
            Ok(instances)
        } else {
            Err(format!("{instances:?}"))
        }
    })
    .await
    .unwrap()
}
