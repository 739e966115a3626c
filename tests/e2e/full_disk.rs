//! A full disk is named, harms nothing that runs, and is survived once there is space again. Needs root, for a small tmpfs.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest, binaries};

use crate::small_disk;

const LIMIT: Duration = Duration::from_secs(120);
const MIB: u64 = 1 << 20;

/// Puts the state folder on a disk with room for `copies` of the app's program (each release keeps one) and `room` more.
/// False, with the reason printed, where that cannot be done.
async fn on_small_disk(installation: &Installation, copies: u64, room: u64) -> bool {
    let state = installation.state();
    let program = fs::metadata(installation.app().join("photos")).unwrap().len();
    let options = format!("size={},mode=0711", program * copies + room);
    small_disk::mounted(&state, &options).await
}

#[tokio::test]
async fn a_start_on_a_full_disk_is_refused_and_works_with_space() {
    let mut installation = Installation::new(Manifest::photos(1));
    if !on_small_disk(&installation, 1, 24 * MIB).await {
        return;
    }
    let finished = installation.command(&["up"]).finish(LIMIT).await.unwrap();
    println!("{}", finished.stderr);
    installation.assert_nothing_runs();
    small_disk::unmount(&installation.state()).await;
    assert_eq!(finished.code(), 1, "{}", finished.output());
    assert!(
        finished.stderr.contains("no space is left on the disk of"),
        "{}",
        finished.stderr
    );
    installation.up().await;
    installation.down().await;
}

#[tokio::test]
async fn a_deploy_on_a_full_disk_fails_alone() {
    let mut installation = Installation::new(Manifest::photos(1));
    // Beside releases and data lies the banyan program that the edge was started from.
    let banyan = fs::metadata(binaries::banyan()).unwrap().len();
    if !on_small_disk(&installation, 3, banyan + 120 * MIB).await {
        return;
    }
    installation.up().await;
    let before = installation.instances().await;
    let ballast = installation.state().join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    let chunk = vec![0; 1 << 16];
    while file.write_all(&chunk).is_ok() {}

    let finished = installation.try_verb(&["deploy"]).await;
    println!("{}", finished.stderr);
    assert_eq!(finished.code(), 1, "{}", finished.output());
    assert!(
        finished.stderr.to_lowercase().contains("no space"),
        "{}",
        finished.stderr
    );
    assert_eq!(
        installation.client().get("/api/tags").await.unwrap().status(),
        200,
        "what runs goes on"
    );
    assert_eq!(installation.instances().await, before);

    drop(file);
    fs::remove_file(ballast).unwrap();
    installation.verb(&["deploy"]).await;
    installation.down().await;
    small_disk::unmount(&installation.state()).await;
}
