//! `tls = "acme"` against a CA of the tests' own: the first certificate, its renewal, what is kept over restarts.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::acme::Acme;
use banyan_testkit::{Port, wait};
use banyan_tls::client::{self, Trust};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(90);

fn with_acme(installation: &mut Installation, acme: &Acme, https: u16) {
    let root = acme.root().display().to_string();
    installation.manifest.edge = vec![
        "tls = \"acme\"".to_owned(),
        format!("https_port = {https}"),
        "domains = [\"shop.example\", \"www.shop.example\"]".to_owned(),
        format!("acme.directory = \"{}\"", acme.directory),
        "acme.contact = \"ops@shop.example\"".to_owned(),
        format!("acme.root = \"{root}\""),
    ];
    installation.write_manifest();
}

async fn believed(https: SocketAddr, name: &str, authority: &Path) -> bool {
    let Ok(stream) = TcpStream::connect(https).await else {
        return false;
    };
    client::connect(stream, name, Trust::Authority(authority), &["http/1.1"])
        .await
        .is_ok()
}

async fn until(what: &str, installation: &Installation, holds: impl AsyncFn() -> bool) {
    let asked = wait::until(what, PATIENCE, async || {
        if holds().await {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    });
    if let Err(error) = asked.await {
        let status = installation.try_verb(&["status"]).await;
        panic!("{error}\n{}\n{}", status.output(), installation.logs());
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_makes_the_certificate_that_the_edge_serves_and_restarts_keep_it() {
    let mut installation = Installation::new(Manifest::misfit(""));
    let https = Port::free();
    let acme = Acme::start(installation.edge_address(), 90 * 24 * 3600).await;
    with_acme(&mut installation, &acme, https.number());
    installation.start_controller();
    until("a certificate of the CA", &installation, async || {
        believed(https.address(), "www.shop.example", &acme.root()).await
    })
    .await;
    assert!(believed(https.address(), "shop.example", &acme.root()).await);
    let asked: Vec<String> = acme.fetched().into_iter().map(|(name, _)| name).collect();
    assert_eq!(asked, ["shop.example", "www.shop.example"]);
    let tls = installation.state().join("tls");
    assert_eq!(mode(&tls.join("acme-account.json")), 0o600);
    assert_eq!(mode(&tls.join("acme.pem")), 0o600);
    // Answers are gone once the CA has had them; plain requests go to https again.
    until("no answers in the snapshot", &installation, async || {
        let snapshot = installation.state().join("snapshots").join("edge.json");
        !std::fs::read_to_string(snapshot).unwrap().contains("challenges")
    })
    .await;
    until("names and end in status", &installation, async || {
        let shown = installation.verb(&["status"]).await;
        shown
            .stdout
            .contains("certificate for shop.example, www.shop.example until ")
    })
    .await;
    installation.down().await;
    installation.start_controller();
    until("the same certificate", &installation, async || {
        believed(https.address(), "shop.example", &acme.root()).await
    })
    .await;
    assert_eq!((acme.issued(), acme.accounts()), (1, 1));
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_renewed_before_it_ends_and_what_a_ca_refuses_is_told() {
    let mut installation = Installation::new(Manifest::misfit(""));
    let https = Port::free();
    // A third of nine seconds.
    let acme = Acme::start(installation.edge_address(), 9).await;
    with_acme(&mut installation, &acme, https.number());
    installation.start_controller();
    let kept = installation.state().join("tls").join("acme.pem");
    until("the first certificate", &installation, async || kept.exists()).await;
    let first = std::fs::read(&kept).unwrap();
    until("the second certificate", &installation, async || {
        std::fs::read(&kept).is_ok_and(|now| now != first)
            && believed(https.address(), "shop.example", &acme.root()).await
    })
    .await;
    assert_eq!(acme.accounts(), 1);
    // A CA that looks elsewhere finds nothing: our own CA's certificate or the former one is served, and people are told.
    let elsewhere = banyan_testkit::upstream::Upstream::answering(|_| "nothing".to_owned()).await;
    let other = Acme::start(elsewhere.address, 9).await;
    with_acme(&mut installation, &other, https.number());
    installation.verb(&["apply"]).await;
    std::fs::remove_file(&kept).unwrap();
    installation
        .apply(|manifest| {
            manifest.edge.retain(|line| !line.starts_with("domains"));
            manifest.edge.push("domains = [\"new.example\"]".to_owned());
        })
        .await;
    until("what the CA says", &installation, async || {
        let shown = installation.verb(&["status"]).await.stdout;
        shown.contains("the CA refuses new.example") && shown.contains("is not that of the account")
    })
    .await;
    let own = installation.state().join("tls").join("ca.pem");
    until("our own certificate meanwhile", &installation, async || {
        believed(https.address(), "new.example", &own).await
    })
    .await;
    installation.down().await;
}
