//! Facts about this machine, read from /proc, /sys and the file system. Judging them is `cmd::doctor`'s work.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::process::{Resource, geteuid, getrlimit};

#[derive(Clone, Debug)]
pub(crate) struct System {
    /// `Debian GNU/Linux 12 (bookworm)`
    pub(crate) name: String,
    /// `apt-get` installs packages here.
    pub(crate) apt: bool,
    /// Major version of PostgreSQL in the distribution itself, where known.
    pub(crate) distribution_postgres: Option<u32>,
    pub(crate) root: bool,
}

pub(crate) fn system() -> System {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    let distribution_postgres = match (field("ID").as_deref(), field("VERSION_ID").as_deref()) {
        (Some("debian"), Some("11")) => Some(13),
        (Some("debian"), Some("12")) => Some(15),
        (Some("debian"), Some("13")) => Some(17),
        (Some("ubuntu"), Some("22.04")) => Some(14),
        (Some("ubuntu"), Some("24.04")) => Some(16),
        _ => None,
    };
    System {
        name: field("PRETTY_NAME").unwrap_or_else(|| "unknown system".to_owned()),
        apt: Path::new("/usr/bin/apt-get").exists(),
        distribution_postgres,
        root: geteuid().is_root(),
    }
}

/// Soft and hard limit of open files; `None`: unlimited.
pub(crate) fn open_files() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// `None`: a process of another user, which cannot be seen.
    pub(crate) pid: Option<u32>,
    pub(crate) program: Option<String>,
    pub(crate) argv: Vec<String>,
}

/// Who listens on this TCP port.
pub(crate) fn port_holder(port: u16) -> Option<Holder> {
    let inodes: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| listeners(&fs::read_to_string(table).unwrap_or_default(), port))
        .collect();
    let first = *inodes.first()?;
    let owner = processes().find(|pid| inodes.iter().any(|inode| holds(*pid, *inode)) && first > 0);
    Some(Holder {
        pid: owner,
        program: owner.and_then(|pid| {
            Some(
                fs::read_to_string(format!("/proc/{pid}/comm"))
                    .ok()?
                    .trim()
                    .to_owned(),
            )
        }),
        argv: owner.map(argv).unwrap_or_default(),
    })
}

/// The socket inodes that listen on `port` in a table of /proc/net/tcp's form.
fn listeners(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
        listens.then(|| fields.get(9)?.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(row).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str()))
}

/// The arguments of a process, program first; empty when it cannot be seen.
pub(crate) fn argv(pid: u32) -> Vec<String> {
    fs::read(format!("/proc/{pid}/cmdline"))
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect()
}

/// Asks the kernel for a free port; nothing is served on it.
pub(crate) fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Free bytes for this user where `path` is, or will be.
pub(crate) fn free_disk(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|path| path.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes of memory in this machine.
pub(crate) fn memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    kib.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// When the file was last changed, Unix time in ms.
pub(crate) fn modified_ms(path: &Path) -> Option<u64> {
    let since = fs::metadata(path)
        .ok()?
        .modified()
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Where `program` would be started from: as a path relative to `folder`, or through `path` (the PATH of the app).
pub(crate) fn find_program(program: &str, folder: &Path, path: &str) -> Option<PathBuf> {
    let executable = |file: &Path| {
        fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        // Through components: `./././app` would be shown otherwise.
        let file: PathBuf = folder.join(program).components().collect();
        return executable(&file).then_some(file);
    }
    path.split(':')
        .map(|dir| Path::new(dir).join(program))
        .find(|file| executable(file))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listening_port_is_traced_to_its_process_and_a_free_one_to_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(
            port_holder(port).and_then(|holder| holder.pid),
            Some(std::process::id())
        );
        drop(listener);
        assert_eq!(listeners("header\n", port), Vec::<u64>::new());
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
            1: 0100007F:1F90 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n\
            2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1\n";
        assert_eq!(listeners(table, 8080), vec![4711]);
    }

    #[test]
    fn programs_are_found_like_the_launch_does() {
        assert!(find_program("sh", Path::new("/"), "/nowhere:/bin").is_some());
        assert!(find_program("sh", Path::new("/bin"), "/nowhere").is_none());
        assert!(find_program("./sh", Path::new("/bin"), "").is_some());
    }
}
