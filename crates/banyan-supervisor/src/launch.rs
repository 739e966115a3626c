//! The launch shim: what a new process does to itself before it becomes the child's program.
//!
//! `banyan launch [--user U] [--cgroup PATH] [--nofile N] -- argv…`: same pid, so nothing has to be handed over, and no
//! unsafe code between fork and exec. It joins the cgroup, raises the limit of open files, gives up its rights for good
//! (supplementary groups, gid, uid, no_new_privs) and execs. Its environment is the program's.
//!
//! Must run before any thread is started: the kernel changes the ids of the calling thread only.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use rustix::process::{Gid, Resource, Rlimit, Uid, getrlimit, setrlimit};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::account;

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("usage: banyan launch [--user USER] [--cgroup PATH] [--nofile N] -- PROGRAM [ARGUMENT…]")]
    Usage,
    #[error("there is no user `{0}` in /etc/passwd")]
    NoUser(String),
    #[error("launch must run before any thread is started")]
    Threads,
    #[error("failed to {operation}")]
    Prepare {
        operation: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("failed to execute {program}")]
    Exec {
        program: String,
        #[source]
        source: io::Error,
    },
}

impl LaunchError {
    /// As a shell would exit: 127 not found, 126 found but not executable; 64 usage.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::Exec { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            _ => 126,
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    user: Option<String>,
    cgroup: Option<PathBuf>,
    nofile: Option<u64>,
    argv: Vec<OsString>,
}

/// Becomes the program. Returns only when that failed. `arguments`: those after `launch`.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> LaunchError {
    match parse(arguments).and_then(prepare) {
        Ok(argv) => exec(argv),
        Err(error) => error,
    }
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, LaunchError> {
    let mut arguments = arguments.into_iter();
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            options.argv = arguments.collect();
            break;
        }
        let value = arguments.next().ok_or(LaunchError::Usage)?;
        match argument.to_str() {
            Some("--user") => options.user = Some(value.into_string().map_err(|_| LaunchError::Usage)?),
            Some("--cgroup") => options.cgroup = Some(PathBuf::from(value)),
            Some("--nofile") => {
                let number = value.to_str().and_then(|text| text.parse().ok());
                options.nofile = Some(number.ok_or(LaunchError::Usage)?);
            }
            _ => return Err(LaunchError::Usage),
        }
    }
    if options.argv.is_empty() {
        Err(LaunchError::Usage)
    } else {
        Ok(options)
    }
}

fn prepare(options: Options) -> Result<Vec<OsString>, LaunchError> {
    let fail = |operation| move |source: io::Error| LaunchError::Prepare { operation, source };
    if let Some(cgroup) = &options.cgroup {
        // `0` is the writer itself. Joining is a help, not a need: the child is found by its group and marker as well.
        fs::write(cgroup.join("cgroup.procs"), "0").ok();
    }
    if let Some(wanted) = options.nofile {
        raise_open_files(wanted).map_err(fail("raise the limit of open files"))?;
    }
    if let Some(user) = &options.user {
        become_user(user)?;
    }
    set_no_new_privs(true).map_err(|error| fail("set no_new_privs")(error.into()))?;
    Ok(options.argv)
}

/// Never lowers, never beyond the hard limit.
fn raise_open_files(wanted: u64) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current else {
        return Ok(());
    };
    let new = wanted.min(limit.maximum.unwrap_or(u64::MAX)).max(current);
    Ok(setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(new),
            maximum: limit.maximum,
        },
    )?)
}

fn become_user(user: &str) -> Result<(), LaunchError> {
    let fail = |operation| move |source: io::Error| LaunchError::Prepare { operation, source };
    let threads = fs::read_dir("/proc/self/task")
        .map_err(fail("count threads"))?
        .count();
    if threads != 1 {
        return Err(LaunchError::Threads);
    }
    let account = account::find(user).ok_or_else(|| LaunchError::NoUser(user.to_owned()))?;
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    set_thread_groups(&[]).map_err(|error| fail("clear the supplementary groups")(error.into()))?;
    set_thread_res_gid(gid, gid, gid).map_err(|error| fail("change the group")(error.into()))?;
    set_thread_res_uid(uid, uid, uid).map_err(|error| fail("change the user")(error.into()))
}

fn exec(argv: Vec<OsString>) -> LaunchError {
    let mut argv = argv.into_iter();
    let Some(program) = argv.next() else {
        return LaunchError::Usage;
    };
    #[expect(clippy::disallowed_methods, reason = "replaces this process; starts none")]
    let source = std::process::Command::new(&program).args(argv).exec();
    LaunchError::Exec {
        program: program.to_string_lossy().into_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Options, LaunchError> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn arguments_after_the_dashes_belong_to_the_program() {
        let options = parsed(&["--user", "app", "--nofile", "1024", "--", "serve", "--user", "x"]).unwrap();
        let expected = Options {
            user: Some("app".to_owned()),
            cgroup: None,
            nofile: Some(1024),
            argv: ["serve", "--user", "x"].map(OsString::from).to_vec(),
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn unknown_options_and_a_missing_program_are_usage_errors() {
        for arguments in [
            &["--what", "x", "--", "p"][..],
            &["--"],
            &[],
            &["--nofile", "many", "--", "p"],
        ] {
            assert!(
                matches!(parsed(arguments), Err(LaunchError::Usage)),
                "{arguments:?}"
            );
        }
    }
}
