//! Why a child does not become ready, from what it really listens on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A sentence, when there is something to say. `pids`: the processes of the child. Blocking.
pub(crate) fn listening(pids: &[u32], port: Option<u16>) -> Option<String> {
    let port = port?;
    let found = listeners(pids);
    explain(&found, port)
}

/// The same of one that is still starting: that it listens nowhere yet says nothing.
pub(crate) fn elsewhere(pids: &[u32], port: Option<u16>) -> Option<String> {
    let port = port?;
    let found = listeners(pids);
    (!found.is_empty()).then(|| explain(&found, port))?
}

fn explain(found: &BTreeSet<SocketAddr>, port: u16) -> Option<String> {
    let list = |addresses: &mut dyn Iterator<Item = String>| {
        let unique: BTreeSet<String> = addresses.collect();
        unique.into_iter().collect::<Vec<_>>().join(", ")
    };
    if found.is_empty() {
        return Some(format!(
            "it listens on no TCP port; it must listen on the one in its environment variable PORT, {port}"
        ));
    }
    let on_port: Vec<&SocketAddr> = found.iter().filter(|address| address.port() == port).collect();
    if on_port.is_empty() {
        let ports = list(&mut found.iter().map(|address| address.port().to_string()));
        return Some(format!(
            "it listens on {ports}, but PORT is {port}; make it listen on the port in its environment variable PORT"
        ));
    }
    let reachable = on_port
        .iter()
        .any(|address| address.ip().is_unspecified() || address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST));
    if reachable {
        return None;
    }
    let addresses = list(&mut on_port.iter().map(|address| address.to_string()));
    Some(format!(
        "it listens on {addresses} only; make it listen on 127.0.0.1 (environment variable HOST)"
    ))
}

/// TCP addresses that these processes listen on.
fn listeners(pids: &[u32]) -> BTreeSet<SocketAddr> {
    let Some(first) = pids.first() else {
        return BTreeSet::new();
    };
    let mut by_inode = BTreeMap::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{first}/net/{table}")).unwrap_or_default();
        by_inode.extend(text.lines().skip(1).filter_map(parse_listener));
    }
    pids.iter()
        .flat_map(|pid| socket_inodes(*pid))
        .filter_map(|inode| by_inode.get(&inode).copied())
        .collect()
}

/// Name and pid of the process that listens on this port of this machine, as far as we may see.
pub(crate) fn owner_of(port: u16) -> Option<String> {
    super::procfs::table().into_iter().find_map(|entry| {
        let on_port = listeners(&[entry.pid])
            .iter()
            .any(|address| address.port() == port);
        let name = || fs::read_to_string(format!("/proc/{}/comm", entry.pid)).unwrap_or_default();
        on_port.then(|| format!("{} (pid {})", name().trim(), entry.pid))
    })
}

fn socket_inodes(pid: u32) -> Vec<u64> {
    let Ok(directory) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    directory
        .flatten()
        .filter_map(|item| {
            let target = fs::read_link(item.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            inode.parse().ok()
        })
        .collect()
}

/// A line of /proc/net/tcp{,6}: inode and address of a listening socket.
fn parse_listener(line: &str) -> Option<(u64, SocketAddr)> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((
        fields.get(9)?.parse().ok()?,
        SocketAddr::new(parse_ip(address)?, port),
    ))
}

/// The kernel prints each 32 bit word in the machine's byte order.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    if hex.len() == 8 {
        return Some(IpAddr::from(word(0)?));
    }
    let mut bytes = [0; 16];
    for (index, chunk) in bytes.chunks_mut(4).enumerate() {
        chunk.copy_from_slice(&word(index * 8)?);
    }
    let ip = Ipv6Addr::from(bytes);
    Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> BTreeSet<SocketAddr> {
        BTreeSet::from([address.parse().unwrap()])
    }

    #[test]
    fn each_mistake_has_its_sentence() {
        let wrong = explain(&at("127.0.0.1:3000"), 20001).unwrap();
        assert!(
            wrong.starts_with("it listens on 3000, but PORT is 20001"),
            "{wrong}"
        );
        let none = explain(&BTreeSet::new(), 20001).unwrap();
        assert!(none.contains("no TCP port"), "{none}");
        let address = explain(&at("[::1]:20001"), 20001).unwrap();
        assert!(address.contains("[::1]:20001 only"), "{address}");
        assert_eq!(explain(&at("0.0.0.0:20001"), 20001), None);
        assert_eq!(explain(&at("[::]:20001"), 20001), None);
        assert_eq!(explain(&at("127.0.0.1:20001"), 20001), None);
    }

    #[test]
    fn an_own_listener_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert!(listeners(&[std::process::id()]).contains(&address));
    }

    #[test]
    fn addresses_of_the_kernel_are_read() {
        let line = "   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        assert_eq!(
            parse_listener(line),
            Some((4711, "127.0.0.1:3000".parse().unwrap()))
        );
        let six = "00000000000000000000000001000000";
        assert_eq!(parse_ip(six), Some("::1".parse().unwrap()));
    }
}
