//! The database in another place while people use the site: another folder, and back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use banyan_e2e::Installation;

use crate::scenario::Loaded;
use crate::servers::{RATE, proxied, row, set};

/// Another disk: PostgreSQL's user can enter it, whoever runs this.
pub(crate) fn disk(installation: &Installation, name: &str) -> PathBuf {
    let disk = installation.dir().join(name);
    fs::create_dir_all(&disk).unwrap();
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o755)).unwrap();
    disk
}

/// Where the primary's files are.
pub(crate) async fn data(installation: &Installation) -> PathBuf {
    let primary = row(installation, "postgres").await.unwrap();
    let name = primary["id"].as_str().unwrap().to_owned();
    fs::canonicalize(installation.state().join("data").join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_moves_to_another_disk_and_back_under_load() {
    let mut loaded = Loaded::of(proxied(&[]), RATE).await;
    let old_file = fs::read_to_string(loaded.installation.manifest_path()).unwrap();
    let old_place = data(&loaded.installation).await;

    let it = &mut loaded.installation;
    set(&mut it.manifest, &["dir = \"disk\""]);
    it.write_manifest();
    let refused = it.try_verb(&["plan"]).await;
    assert!(
        refused.stderr.contains("disk is no folder"),
        "{}",
        refused.output()
    );
    let disk = disk(it, "disk");
    let refused = it.try_verb(&["plan"]).await;
    let told = "write another database.port, or leave it out";
    assert!(refused.stderr.contains(told), "{}", refused.output());

    loaded
        .during("to another disk", async |it| {
            it.move_database();
            it.write_manifest();
            it.verb(&["apply"]).await;
        })
        .await;
    let new_place = data(&loaded.installation).await;
    assert!(
        new_place.starts_with(fs::canonicalize(&disk).unwrap()),
        "{new_place:?}"
    );
    loaded
        .during("back by the old file", async |it| {
            fs::write(it.manifest_path(), &old_file).unwrap();
            it.verb(&["apply"]).await;
        })
        .await;
    assert_eq!(data(&loaded.installation).await, old_place);
    loaded
        .during("there again by revert", async |it| {
            let undone = it.try_verb(&["apply", "--revert"]).await;
            assert_eq!(undone.code(), 0, "{}", undone.output());
        })
        .await;
    assert_eq!(data(&loaded.installation).await, new_place);

    let (mut installation, report) = loaded.judged().await;
    let failures = report.failures();
    assert!(
        failures.is_empty(),
        "{report}\n{}\n{}",
        report.explain(20),
        installation.logs()
    );
    // After a stop it is where it was, or it is missed: never an empty one in its place.
    installation.down().await;
    let away = installation.dir().join("unmounted");
    fs::rename(&disk, &away).unwrap();
    let started = installation.try_verb(&["up"]).await;
    assert!(
        started.output().contains("and there is none"),
        "{}",
        started.output()
    );
    fs::rename(&away, &disk).unwrap();
    installation.write_manifest();
    installation.up().await;
    assert_eq!(data(&installation).await, new_place);
    installation.down().await;
}
