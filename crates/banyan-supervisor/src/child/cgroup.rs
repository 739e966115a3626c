//! A cgroup (version 2) per child, where this process may make one: it is the only fence no process leaves.
//!
//! No controller is enabled, so it limits nothing; it counts members and kills them together. Without permission, or
//! on a machine with version 1 only, everything works by process group, ancestry and marker instead.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::spec::ChildId;

/// Whether children of this process can be fenced by a cgroup each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupUse {
    Usable,
    /// There is cgroup v2, but this user may not make groups in its own.
    NotPermitted,
    /// No cgroup v2 is mounted.
    Absent,
}

/// What a child started by this process would get. Leaves no trace.
pub fn cgroup_use() -> CgroupUse {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let mounted = base(&read("/proc/mounts"), &read("/proc/self/cgroup")).is_some();
    match (
        mounted,
        Cgroups::detect(&format!("doctor-{}", std::process::id())),
    ) {
        (_, Some(_)) => CgroupUse::Usable,
        (true, None) => CgroupUse::NotPermitted,
        (false, None) => CgroupUse::Absent,
    }
}

/// Where the cgroups of one installation are made.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    folder: PathBuf,
}

impl Cgroups {
    /// `None`: not permitted here.
    pub(crate) fn detect(installation: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let folder = base(&mounts, &own)?.join(format!("banyan-{installation}"));
        let cgroups = Self { folder };
        // The only honest test of permission, and of a cgroup file system behind the path, is to try.
        let trial = cgroups.folder.join("trial");
        let permitted = fs::create_dir_all(&trial).is_ok() && trial.join("cgroup.procs").exists();
        cgroups.remove_empty(|_id| false);
        permitted.then_some(cgroups)
    }

    pub(crate) fn create(&self, id: &ChildId) -> io::Result<PathBuf> {
        let path = self.folder.join(format!("child-{id}"));
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Removes every cgroup without a process, but those of `keep` (one may be about to be joined). True: none is left.
    pub(crate) fn remove_empty(&self, keep: impl Fn(&ChildId) -> bool) -> bool {
        for item in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = item.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix("child-"));
            if !id.is_some_and(|id| keep(&ChildId(id.to_owned()))) {
                // One with processes in it stays: the kernel refuses. It does so for a moment after the last has ended.
                fs::remove_dir(item.path()).ok();
            }
        }
        fs::remove_dir(&self.folder).is_ok() || !self.folder.exists()
    }

    /// Children that have a cgroup, with their processes.
    pub(crate) fn children(&self) -> Vec<(ChildId, Vec<u32>)> {
        let Ok(directory) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        directory
            .flatten()
            .filter_map(|item| {
                let name = item.file_name();
                let id = name.to_str()?.strip_prefix("child-")?;
                let pids = super::procfs::cgroup_pids(&item.path());
                Some((ChildId(id.to_owned()), pids.into_iter().collect()))
            })
            .collect()
    }
}

/// The cgroup of a running process, if it is one that a controller of this installation made (perhaps under another
/// parent than ours: the earlier controller may have run in another log-in session).
pub(crate) fn of_process(pid: u32, installation: &str, id: &ChildId) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = base(&mounts, &own)?;
    path.ends_with(format!("banyan-{installation}/child-{id}"))
        .then_some(path)
}

/// The directory of the cgroup that `own` (a /proc/PID/cgroup) names.
fn base(mounts: &str, own: &str) -> Option<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(point))
    })?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(mount.join(path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_found_on_pure_and_on_mixed_machines() {
        let mixed = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = base(mixed, "3:cpu:/x\n0::/\n");
        assert_eq!(found, Some(PathBuf::from("/sys/fs/cgroup/unified")));

        let pure = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        let found = base(pure, "0::/user.slice/user-1000.slice\n");
        assert_eq!(
            found,
            Some(PathBuf::from("/sys/fs/cgroup/user.slice/user-1000.slice"))
        );

        assert_eq!(
            base("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n", "1:cpu:/\n"),
            None
        );
    }
}
