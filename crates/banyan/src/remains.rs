//! What is left of an installation whose controller is gone: its children that still run.

use banyan_reconcile::StateDir;
use banyan_supervisor::Adopted;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Remains {
    pub(crate) children: Vec<Adopted>,
}

impl Remains {
    /// Recorded ones, and those that a controller had started but not recorded when it was killed. A record that cannot be
    /// read counts as none: `up` says what is wrong with it.
    pub(crate) fn find(state: &StateDir) -> Self {
        Self {
            children: banyan_supervisor::survivors(state.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use banyan_supervisor::ChildId;

    use super::*;

    #[test]
    fn only_processes_whose_start_time_agrees_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path());
        assert!(Remains::find(&state).children.is_empty());
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let ticks: u64 = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .nth(19)
            .unwrap()
            .parse()
            .unwrap();
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap()
            .trim()
            .to_owned();
        let child = |name: &str, start_ticks| Adopted {
            id: ChildId(name.to_owned()),
            pid: std::process::id(),
            start_ticks,
            boot_id: boot_id.clone(),
        };
        let recorded = vec![child("this", ticks), child("another", ticks + 1)];
        banyan_runtime::watched::publish(&folder.path().join("children.json"), &recorded).unwrap();
        let found: Vec<String> = Remains::find(&state)
            .children
            .into_iter()
            .map(|c| c.id.0)
            .collect();
        assert_eq!(found, ["this"]);
    }
}
