//! A small disk in place of a folder: a tmpfs, which needs root.

use std::fs;
use std::path::Path;
use std::time::Duration;

use banyan_testkit::process::Run;

const LIMIT: Duration = Duration::from_secs(120);

/// `options`: of tmpfs, for example `size=1M,mode=0755`. False, with the reason printed, where that cannot be done.
pub(crate) async fn mounted(folder: &Path, options: &str) -> bool {
    fs::create_dir_all(folder).unwrap();
    let mounted = ended(
        Run::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]),
        folder,
    )
    .await;
    if !mounted {
        println!("SKIPPED: mounting a small tmpfs needs root");
    }
    mounted
}

pub(crate) async fn grow(folder: &Path, size: &str) {
    let options = format!("remount,size={size}");
    assert!(ended(Run::new("mount").args(["-o", &options]), folder).await);
}

pub(crate) async fn unmount(folder: &Path) {
    assert!(ended(Run::new("umount").args(["--lazy"]), folder).await);
}

async fn ended(run: Run, folder: &Path) -> bool {
    let finished = run.args([folder]).finish(LIMIT).await;
    finished.is_ok_and(|finished| finished.code() == 0)
}
