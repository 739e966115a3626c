//! Which user a child runs as.
//!
//! Root never runs other people's code when there is a way around it. Where Banyan is not root there is no choice.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::account::{self, Account};
use crate::child::RunAs;

/// What the decision for an app depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppFacts {
    pub controller_is_root: bool,
    /// `[app] user`
    pub configured: Option<String>,
    /// Who owns the app's folder.
    pub owner: Option<String>,
    /// Whether user `nobody` can read the app's folder.
    pub nobody_reaches: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub run_as: RunAs,
    /// To be shown to people.
    pub warning: Option<String>,
}

/// The user of the app: the configured one, else the folder's owner, else nobody, else (with a warning) root.
pub fn of_app(facts: &AppFacts) -> Identity {
    let user = |name: &str| Identity {
        run_as: RunAs::User(name.to_owned()),
        warning: None,
    };
    match (&facts.configured, &facts.owner) {
        (Some(configured), _) if !facts.controller_is_root => Identity {
            run_as: RunAs::Same,
            warning: Some(format!(
                "the app runs as the user of this command, not as `{configured}`: only root can change the user; \
                 run `banyan up` as root or as {configured}, or remove `user` from [app]"
            )),
        },
        (None, _) if !facts.controller_is_root => Identity {
            run_as: RunAs::Same,
            warning: None,
        },
        (Some(configured), _) => user(configured),
        (None, Some(owner)) if owner != "root" => user(owner),
        _ if facts.nobody_reaches => user("nobody"),
        _ => Identity {
            run_as: RunAs::Same,
            warning: Some(
                "the app runs as root, because its folder belongs to root and no other user can enter it; set `user` \
                 in [app], or move the folder out of a closed home directory"
                    .to_owned(),
            ),
        },
    }
}

/// Looks at this machine.
pub fn app_facts(configured: Option<&str>, folder: &Path) -> io::Result<AppFacts> {
    let owner = fs::metadata(folder)?.uid();
    Ok(AppFacts {
        controller_is_root: controller_is_root(),
        configured: configured.map(str::to_owned),
        owner: account::find_by_uid(owner).map(|account| account.name),
        nobody_reaches: account::find("nobody").is_some_and(|nobody| reaches(folder, &nobody)),
    })
}

pub fn controller_is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a user can enter `path` and every folder above it, by the permission bits. Access lists are not looked at.
pub fn reaches(path: &Path, account: &Account) -> bool {
    let Ok(path) = fs::canonicalize(path) else {
        return false;
    };
    path.ancestors().all(|folder| {
        fs::metadata(folder)
            .is_ok_and(|metadata| may_enter(metadata.mode(), metadata.uid(), metadata.gid(), account))
    })
}

/// The kernel asks the first class that fits, and no other.
fn may_enter(mode: u32, uid: u32, gid: u32, account: &Account) -> bool {
    let shift = if account.uid == 0 {
        return true;
    } else if uid == account.uid {
        6
    } else if gid == account.gid {
        3
    } else {
        0
    };
    mode >> shift & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> AppFacts {
        AppFacts {
            controller_is_root: true,
            configured: None,
            owner: Some("root".to_owned()),
            nobody_reaches: true,
        }
    }

    #[test]
    fn root_gives_up_its_rights_where_it_can() {
        let as_user = |facts: &AppFacts| match of_app(facts) {
            Identity {
                run_as: RunAs::User(user),
                warning: None,
            } => user,
            other => panic!("{other:?}"),
        };
        assert_eq!(as_user(&root()), "nobody");
        let owned = AppFacts {
            owner: Some("ada".to_owned()),
            ..root()
        };
        assert_eq!(as_user(&owned), "ada");
        let configured = AppFacts {
            configured: Some("app".to_owned()),
            ..owned
        };
        assert_eq!(as_user(&configured), "app");
    }

    #[test]
    fn running_as_root_and_an_ignored_user_are_told() {
        let closed = AppFacts {
            nobody_reaches: false,
            ..root()
        };
        let identity = of_app(&closed);
        assert_eq!(identity.run_as, RunAs::Same);
        assert!(identity.warning.unwrap().contains("runs as root"));
        let ignored = AppFacts {
            controller_is_root: false,
            configured: Some("app".to_owned()),
            ..root()
        };
        assert!(of_app(&ignored).warning.unwrap().contains("not as `app`"));
    }

    #[test]
    fn the_class_that_fits_decides_alone() {
        let account = Account {
            name: "app".to_owned(),
            uid: 1000,
            gid: 1000,
            home: "/".into(),
        };
        assert!(may_enter(0o711, 0, 0, &account));
        assert!(!may_enter(0o700, 0, 0, &account));
        assert!(may_enter(0o700, 1000, 0, &account));
        assert!(may_enter(0o710, 0, 1000, &account));
        // Its group may not, though everybody may.
        assert!(!may_enter(0o701, 0, 1000, &account));
    }
}
