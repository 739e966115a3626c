//! The site under soak: what its banyan.toml says right now, and where its visitors find it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use banyan_e2e::visitors::Doors;
use banyan_e2e::{Installation, Manifest};
use banyan_runtime::Clock;
use banyan_testkit::Port;
use banyan_tls::local::Local;
use serde_json::Value;
use tokio::sync::watch;

pub(super) const NAME: &str = "soak.example";

/// What changes; everything else stays as it is.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) count: u32,
    pub(super) version: u32,
    pub(super) own_certificates: bool,
    /// Instances of a process of its own behind `/visit`; 0: no such process, no such route.
    pub(super) route: u32,
    pub(super) balance: &'static str,
    pub(super) workers: u32,
    pub(super) https: Port,
    pub(super) listener: Option<Port>,
}

pub(super) struct Site {
    pub(super) installation: Installation,
    pub(super) wishes: Wishes,
    doors: watch::Sender<Doors>,
    metrics: Port,
    builds: u32,
}

impl Site {
    /// A site with two instances, https by its own CA, and another CA's certificate in a file.
    pub(super) async fn up() -> Self {
        let mut manifest = Manifest::misfit("");
        manifest.command = "./chatter".to_owned();
        let installation = Installation::new(manifest);
        let wishes = Wishes {
            count: 2,
            version: 1,
            own_certificates: true,
            route: 0,
            balance: "p2c_ewma",
            workers: 2,
            https: Port::free(),
            listener: None,
        };
        let mut site = Self {
            installation,
            wishes,
            doors: watch::Sender::new(Doors::default()),
            metrics: Port::free(),
            builds: 0,
        };
        site.make_certificate();
        site.rebuild();
        site.write();
        site.installation.up().await;
        site.arrived();
        let trusted = site.trusted_by_people().await;
        let other = Local::new(site.authority()).authority();
        let bundle = [trusted, other]
            .map(|path| fs::read_to_string(path).unwrap())
            .concat();
        fs::write(site.trust(), bundle).unwrap();
        site
    }

    /// The CA that `banyan trust` tells people to trust; the one in the file takes its place afterwards.
    async fn trusted_by_people(&self) -> PathBuf {
        let shown = self.installation.verb(&["trust", "--json"]).await;
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        PathBuf::from(shown["authority"].as_str().unwrap())
    }

    pub(super) fn doors(&self) -> watch::Receiver<Doors> {
        self.doors.subscribe()
    }

    /// Both CAs.
    pub(super) fn trust(&self) -> PathBuf {
        self.installation.dir().join("trusted.pem")
    }

    fn authority(&self) -> PathBuf {
        self.installation.dir().join("authority")
    }

    fn certificate(&self) -> PathBuf {
        self.installation.dir().join("site.pem")
    }

    /// Another certificate of the test's own CA in the place of the former one.
    pub(super) fn make_certificate(&self) {
        let dir = self.authority();
        fs::create_dir_all(&dir).unwrap();
        let local = Local::new(&dir);
        // What it made before would do; it is to make a new one.
        let _absent = fs::remove_file(local.leaf());
        let names = BTreeSet::from([NAME.to_owned()]);
        let now = i64::try_from(Clock.unix_ms() / 1000).unwrap();
        local.ensure("soak", &names, now).unwrap();
        let new = self.installation.dir().join("site.pem.new");
        fs::copy(local.leaf(), &new).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, self.certificate()).unwrap();
    }

    /// Another banyan program, as a build leaves it.
    pub(super) fn rebuild(&mut self) {
        self.builds += 1;
        self.installation
            .rebuild_banyan(&format!("build {}", self.builds));
    }

    /// Writes banyan.toml as wished, applies it, and sends visitors to new addresses beside the old ones before, and to no
    /// old one after it.
    pub(super) async fn apply(&mut self) {
        self.change_by("apply").await;
    }

    /// A release that was rolled back to has no process that came later: with a deploy it comes.
    pub(super) async fn deploy(&mut self) {
        self.change_by("deploy").await;
    }

    async fn change_by(&mut self, verb: &str) {
        self.write();
        self.moving();
        self.installation.verb(&[verb]).await;
        self.arrived();
    }

    pub(super) fn write(&mut self) {
        let wishes = &self.wishes;
        let manifest = &mut self.installation.manifest;
        manifest.count = wishes.count;
        manifest.env = vec![("VERSION".to_owned(), wishes.version.to_string())];
        let tls = if wishes.own_certificates {
            "tls = \"self-signed\"".to_owned()
        } else {
            "tls = { cert = \"site.pem\", key = \"site.pem\" }".to_owned()
        };
        manifest.edge = vec![
            tls,
            format!("https_port = {}", wishes.https.number()),
            format!("domains = [\"{NAME}\"]"),
            "redirect = false".to_owned(),
            "access_log = false".to_owned(),
            format!("balance = \"{}\"", wishes.balance),
            format!("workers = {}", wishes.workers),
        ];
        manifest.more = vec![
            "[metrics]".to_owned(),
            format!("listen = \"127.0.0.1:{}\"", self.metrics.number()),
        ];
        if wishes.route > 0 {
            manifest.more.extend(route(wishes.route));
        }
        if let Some(port) = &wishes.listener {
            let port = port.number();
            manifest.more.extend([
                "[[listener]]".to_owned(),
                format!("port = {port}"),
                "process = \"web\"".to_owned(),
            ]);
        }
        self.installation.write_manifest();
    }

    fn wished(&self) -> Doors {
        Doors {
            http: vec![self.installation.edge_address()],
            https: vec![self.wishes.https.address()],
            listener: self.wishes.listener.iter().map(Port::address).collect(),
        }
    }

    /// A new address is preferred as soon as it answers, the old one is tried where it does not; a listener that goes is
    /// left before.
    fn moving(&self) {
        let wished = self.wished();
        self.doors.send_modify(|doors| {
            let both = |new: &[_], old: &[_]| [new, old].concat();
            let listener = if wished.listener.is_empty() || doors.listener.is_empty() {
                Vec::new()
            } else {
                both(&wished.listener, &doors.listener)
            };
            *doors = Doors {
                http: both(&wished.http, &doors.http),
                https: both(&wished.https, &doors.https),
                listener,
            };
        });
    }

    pub(super) fn arrived(&self) {
        self.doors.send_replace(self.wished());
    }

    /// The page of metrics, as text.
    pub(super) async fn metrics(&self) -> String {
        let client = banyan_testkit::http::Client::fresh_connections(self.metrics.address());
        let answer = client.get("/metrics").await.unwrap();
        assert_eq!(answer.status(), 200);
        String::from_utf8(answer.body().to_vec()).unwrap()
    }

    pub(super) fn logs(&self) -> String {
        format!(
            "{}\n{}",
            self.installation.controller_output(),
            self.installation.logs()
        )
    }

    pub(super) async fn down(mut self) {
        self.installation.down().await;
    }
}

fn route(count: u32) -> Vec<String> {
    let lines = [
        "[process.visits]",
        "command = \"./chatter\"",
        "[[route]]",
        "prefix = \"/visit\"",
        "process = \"visits\"",
    ];
    let mut lines: Vec<String> = lines.map(str::to_owned).to_vec();
    lines.insert(2, format!("count = {count}"));
    lines
}
