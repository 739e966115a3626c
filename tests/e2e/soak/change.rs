//! What a person does to a running site, drawn at random: each kind once before any comes again.

use std::time::Duration;

use banyan_testkit::load::Load;
use banyan_testkit::{Port, wait};
use banyan_tls::client::{self, Trust};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::net::TcpStream;

use super::site::{NAME, Site};
use super::{LIMIT, carry_on};
use crate::scenario::POLICIES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Scale,
    Deploy,
    Rollback,
    OtherCertificates,
    CertificateFile,
    Route,
    Listener,
    Move,
    Replace,
    ControllerKilled,
    ControllerKilledInApply,
    Balance,
}

const ALL: [Change; 12] = [
    Change::Scale,
    Change::Deploy,
    Change::Rollback,
    Change::OtherCertificates,
    Change::CertificateFile,
    Change::Route,
    Change::Listener,
    Change::Move,
    Change::Replace,
    Change::ControllerKilled,
    Change::ControllerKilledInApply,
    Change::Balance,
];

pub(super) struct Deck {
    random: SmallRng,
    cards: Vec<Change>,
    drawn: u32,
    of: u32,
}

impl Deck {
    pub(super) fn new(seed: u64, of: u32) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            cards: Vec::new(),
            drawn: 0,
            of,
        }
    }

    /// Makes the next change; says what it was.
    pub(super) async fn next(&mut self, site: &mut Site, load: &Load) -> String {
        let change = self.draw();
        self.make(change, site, load).await
    }

    /// The edge process of the second half lives to its end: what it loses adds up and is seen.
    fn draw(&mut self) -> Change {
        self.drawn += 1;
        loop {
            if self.cards.is_empty() {
                self.cards = ALL.to_vec();
                self.cards.shuffle(&mut self.random);
            }
            match self.cards.pop() {
                Some(Change::Replace) if self.drawn * 2 > self.of && self.of > 12 => {}
                Some(change) => return change,
                None => {}
            }
        }
    }

    async fn make(&mut self, change: Change, site: &mut Site, load: &Load) -> String {
        match change {
            Change::Scale => {
                let count = self.other(site.wishes.count, 1..=4);
                let what = format!("{} → {count} instances", site.wishes.count);
                site.wishes.count = count;
                site.apply().await;
                what
            }
            Change::Deploy => deploy(site).await,
            Change::Rollback => {
                deploy(site).await;
                site.installation.verb(&["rollback"]).await;
                site.wishes.version -= 1;
                site.write();
                "deploy and rollback".to_owned()
            }
            Change::OtherCertificates => {
                site.wishes.own_certificates ^= true;
                site.apply().await;
                let own = site.wishes.own_certificates;
                format!("certificates of {}", if own { "the own CA" } else { "a file" })
            }
            Change::CertificateFile => certificate_file(site).await,
            Change::Route => {
                let count = self.other(site.wishes.route, 0..=2);
                let what = format!("route to {} → {count} instances", site.wishes.route);
                let comes = site.wishes.route == 0;
                site.wishes.route = count;
                if comes {
                    site.deploy().await;
                } else {
                    site.apply().await;
                }
                what
            }
            Change::Listener => self.listener(site).await,
            Change::Move => self.addresses(site).await,
            Change::Replace => {
                let what = if self.random.random_bool(0.5) {
                    site.rebuild();
                    "another banyan's edge".to_owned()
                } else {
                    site.wishes.workers = self.other(site.wishes.workers, 1..=3);
                    format!("an edge with {} workers", site.wishes.workers)
                };
                site.apply().await;
                what
            }
            Change::ControllerKilled => {
                site.installation.kill_controller();
                site.installation.start_controller();
                site.installation.settled().await;
                "controller killed".to_owned()
            }
            Change::ControllerKilledInApply => self.killed_in_apply(site, load).await,
            Change::Balance => {
                site.wishes.balance = POLICIES[self.random.random_range(0..POLICIES.len())];
                site.apply().await;
                format!("balance {}", site.wishes.balance)
            }
        }
    }

    fn other(&mut self, now: u32, range: std::ops::RangeInclusive<u32>) -> u32 {
        loop {
            let drawn = self.random.random_range(range.clone());
            if drawn != now {
                return drawn;
            }
        }
    }

    /// It comes, moves, or goes.
    async fn listener(&mut self, site: &mut Site) -> String {
        let (what, port) = match &site.wishes.listener {
            None => ("a listener", Some(Port::free())),
            Some(_) if self.random.random_bool(0.5) => ("a listener at another port", Some(Port::free())),
            Some(_) => ("no listener", None),
        };
        let old = std::mem::replace(&mut site.wishes.listener, port);
        site.apply().await;
        drop(old);
        what.to_owned()
    }

    /// Another port for http, for https, or for both.
    async fn addresses(&mut self, site: &mut Site) -> String {
        let (http, https) = [(true, false), (false, true), (true, true)][self.random.random_range(0..3)];
        if http {
            site.installation.move_edge();
        }
        let old = https.then(|| std::mem::replace(&mut site.wishes.https, Port::free()));
        site.apply().await;
        drop(old);
        format!("another address: http {http}, https {https}")
    }

    /// At some moment of a change; its successor brings it to its end.
    async fn killed_in_apply(&mut self, site: &mut Site, load: &Load) -> String {
        site.wishes.count = self.other(site.wishes.count, 1..=4);
        site.write();
        let apply = site.installation.command(&["apply"]).start().unwrap();
        let moment = Duration::from_millis(self.random.random_range(20..1500));
        carry_on(load, moment).await;
        site.installation.kill_controller();
        drop(apply);
        site.installation.start_controller();
        site.installation.settled().await;
        site.apply().await;
        format!(
            "controller killed {moment:?} into a change to {} instances",
            site.wishes.count
        )
    }
}

async fn deploy(site: &mut Site) -> String {
    site.wishes.version += 1;
    site.deploy().await;
    format!("deploy of version {}", site.wishes.version)
}

/// The file is replaced; handshakes see it without an apply.
async fn certificate_file(site: &mut Site) -> String {
    if site.wishes.own_certificates {
        site.wishes.own_certificates = false;
        site.apply().await;
    }
    site.make_certificate();
    let file = site.installation.dir().join("site.pem");
    let https = site.wishes.https.address();
    let served = async || {
        let stream = TcpStream::connect(https)
            .await
            .map_err(|error| error.to_string())?;
        let handshake = client::connect(stream, NAME, Trust::Exactly(&file), &["http/1.1"]).await;
        handshake.map(drop).map_err(|error| error.to_string())
    };
    wait::until("the new certificate", LIMIT, served).await.unwrap();
    "another certificate in the file".to_owned()
}
