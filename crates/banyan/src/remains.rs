//! What is left of an installation whose controller is gone: the children it recorded that still run.

use std::fs;

use banyan_reconcile::StateDir;
use banyan_supervisor::Adopted;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Remains {
    pub(crate) children: Vec<Adopted>,
}

impl Remains {
    /// A record that cannot be read counts as none: `up` says what is wrong with it.
    pub(crate) fn find(state: &StateDir) -> Self {
        let recorded: Vec<Adopted> = banyan_runtime::watched::read(&state.path().join("children.json"))
            .ok()
            .flatten()
            .unwrap_or_default();
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let children = recorded
            .into_iter()
            .filter(|child| runs(child, boot_id.trim()))
            .collect();
        Self { children }
    }
}

/// Pid, start time and boot agree, and it is not a zombie.
fn runs(child: &Adopted, boot_id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.pid)).unwrap_or_default();
    // The program's name may contain anything, so fields are counted from its closing parenthesis.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let started = fields.get(19).and_then(|ticks| ticks.parse().ok());
    child.boot_id == boot_id && started == Some(child.start_ticks) && fields.first() != Some(&"Z")
}

#[cfg(test)]
mod tests {
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
