//! The PROXY protocol, versions 1 and 2: who the client is, said by a proxy in front of what the client sends, and by us to
//! instances that want it (haproxy.org, proxy-protocol.txt, 2020 edition).
//!
//! Pure: bytes in, a verdict out. Stricter than the text where it leaves a choice: one space between fields, no leading
//! zeros, addresses only in their usual notation, whole TLVs, and at most 2 KiB behind version 2's first 16 bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use banyan_config::ProxyProtocol;

/// Version 2 begins with it (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 1 does so.
const WORD: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included (§2.1).
const LINE: usize = 107;
/// Before addresses and TLVs of version 2.
const FIXED: usize = 16;
/// Addresses and TLVs: real ones have some hundred bytes.
const MOST: usize = 2048;

/// The longest header that is read.
pub const LONGEST: usize = FIXED + MOST;

/// The two ends of a client's connection to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// What bytes from the beginning of a connection mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// So far a header; more is needed.
    Partial,
    Whole {
        /// Bytes of the header; the client's own follow.
        used: usize,
        /// `None`: the proxy speaks for itself, or says nothing that is an address (UNKNOWN, LOCAL, unix sockets).
        ends: Option<Ends>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("it does not begin with a PROXY header")]
    Absent,
    #[error("the PROXY line is malformed")]
    Line,
    #[error("the PROXY header is longer than is read")]
    TooLong,
    #[error("the PROXY header has a version, command or protocol that is not served")]
    Unsupported,
    #[error("the PROXY header is shorter than its addresses, or its TLVs are cut off")]
    Short,
}

/// Never asks for more than [`LONGEST`] bytes.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    if begins(bytes, SIGNATURE) {
        version_2(bytes)
    } else if begins(bytes, WORD) {
        version_1(bytes)
    } else {
        Err(ProxyError::Absent)
    }
}

/// As far as there are bytes.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let common = bytes.len().min(with.len());
    bytes[..common] == with[..common]
}

fn version_1(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let within = &bytes[..bytes.len().min(LINE)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < LINE {
            Ok(Parsed::Partial)
        } else {
            Err(ProxyError::TooLong)
        };
    };
    let line = within[..end]
        .strip_suffix(b"\r")
        .and_then(|line| line.strip_prefix(WORD))
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(ProxyError::Line)?;
    Ok(Parsed::Whole {
        used: end + 1,
        ends: line_ends(line)?,
    })
}

fn line_ends(line: &str) -> Result<Option<Ends>, ProxyError> {
    // What follows UNKNOWN is to be passed over (§2.1).
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let fields: Vec<&str> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = fields[..] else {
        return Err(ProxyError::Line);
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
        "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
        _ => None,
    };
    let end = |text, number| Some(SocketAddr::new(address(text)?, port(number)?));
    let ends = end(source, source_port).zip(end(destination, destination_port));
    ends.map(|(source, destination)| Some(Ends { source, destination }))
        .ok_or(ProxyError::Line)
}

fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn version_2(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let Some(fixed) = bytes.get(..FIXED) else {
        return Ok(Parsed::Partial);
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > MOST {
        return Err(ProxyError::TooLong);
    }
    let speaks_for_itself = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyError::Unsupported),
    };
    let addresses = match fixed[13] {
        // UNSPEC.
        0x00 => 0,
        // TCP over IPv4 and IPv6, unix stream.
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        // With LOCAL the receiver must not care (§2.2).
        _ if speaks_for_itself => 0,
        _ => return Err(ProxyError::Unsupported),
    };
    let Some(rest) = bytes.get(FIXED..FIXED + length) else {
        return Ok(Parsed::Partial);
    };
    let used = FIXED + length;
    if speaks_for_itself {
        return Ok(Parsed::Whole { used, ends: None });
    }
    let (own, tlvs) = rest.split_at_checked(addresses).ok_or(ProxyError::Short)?;
    whole_tlvs(tlvs)?;
    Ok(Parsed::Whole {
        used,
        ends: binary_ends(own),
    })
}

/// Type, length in two bytes, value; nothing left over (§2.2). What they say is not read.
fn whole_tlvs(mut bytes: &[u8]) -> Result<(), ProxyError> {
    while !bytes.is_empty() {
        let head = bytes.get(..3).ok_or(ProxyError::Short)?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        bytes = bytes.get(3 + length..).ok_or(ProxyError::Short)?;
    }
    Ok(())
}

fn binary_ends(bytes: &[u8]) -> Option<Ends> {
    let port = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let (source, destination, ports) = match bytes.len() {
        12 => {
            let at = |at: usize| <[u8; 4]>::try_from(&bytes[at..at + 4]).ok().map(IpAddr::from);
            (at(0)?, at(4)?, 8)
        }
        36 => {
            let at = |at: usize| <[u8; 16]>::try_from(&bytes[at..at + 16]).ok().map(IpAddr::from);
            (at(0)?, at(16)?, 32)
        }
        _ => return None,
    };
    Some(Ends {
        source: SocketAddr::new(source, port(ports)?),
        destination: SocketAddr::new(destination, port(ports + 2)?),
    })
}

/// What an instance is told of a client before the client's first byte.
pub(crate) fn header(version: ProxyProtocol, ends: &Ends) -> Vec<u8> {
    let (source, destination) = same_family(ends);
    match version {
        ProxyProtocol::V1 => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            format!(
                "PROXY {family} {from} {to} {} {}\r\n",
                source.port(),
                destination.port()
            )
            .into_bytes()
        }
        ProxyProtocol::V2 => {
            let mut header = SIGNATURE.to_vec();
            let (family, length) = if source.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
            header.extend([0x21, family, 0, length]);
            for address in [source.ip(), destination.ip()] {
                match address {
                    IpAddr::V4(address) => header.extend(address.octets()),
                    IpAddr::V6(address) => header.extend(address.octets()),
                }
            }
            for port in [source.port(), destination.port()] {
                header.extend(port.to_be_bytes());
            }
            header
        }
    }
}

/// One header names one family: two different ones are both written as IPv6.
fn same_family(ends: &Ends) -> (SocketAddr, SocketAddr) {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (source, destination) = (canonical(ends.source), canonical(ends.destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let wide = |end: SocketAddr| match end.ip() {
        IpAddr::V4(address) => SocketAddr::new(address.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    (wide(source), wide(destination))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(source: &str, destination: &str) -> Ends {
        Ends {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn lines_of_version_1() {
        let whole = |text: &str, ends| {
            let used = text.find('\n').unwrap() + 1;
            assert_eq!(parse(text.as_bytes()), Ok(Parsed::Whole { used, ends }), "{text}");
        };
        whole(
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET /",
            Some(ends("192.0.2.1:56324", "198.51.100.2:443")),
        );
        whole(
            "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
            Some(ends("[2001:db8::1]:1", "[2001:db8::2]:65535")),
        );
        whole("PROXY UNKNOWN\r\n", None);
        whole("PROXY UNKNOWN ffff::1 whatever\r\nrest", None);
    }

    #[test]
    fn lines_that_are_not_quite_right_are_refused() {
        for text in [
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 056324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +5 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.2 1 443\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.2 1 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 1 443 \r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(ProxyError::Line), "{text}");
        }
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(ProxyError::Absent));
        assert_eq!(parse(b"proxy TCP4"), Err(ProxyError::Absent));
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(100));
        assert_eq!(parse(endless.as_bytes()), Err(ProxyError::TooLong));
    }

    #[test]
    fn headers_of_version_2() {
        let four = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 4, 1, 0xbb];
        let said = Some(ends("192.0.2.1:56324", "198.51.100.2:443"));
        let whole = |used, ends| Ok(Parsed::Whole { used, ends });
        assert_eq!(parse(&v2(0x21, 0x11, &four)), whole(28, said));
        let with_tlv = [&four[..], &[4, 0, 2, 9, 9]].concat();
        assert_eq!(parse(&v2(0x21, 0x11, &with_tlv)), whole(33, said));
        assert_eq!(parse(&v2(0x20, 0x00, &[])), whole(16, None));
        assert_eq!(parse(&v2(0x20, 0xff, &[1, 2])), whole(18, None));
        assert_eq!(parse(&v2(0x21, 0x31, &[0; 216])), whole(232, None));
        for (bytes, error) in [
            (v2(0x21, 0x11, &four[..11]), ProxyError::Short),
            (
                v2(0x21, 0x11, &[&four[..], &[4, 0, 3, 9]].concat()),
                ProxyError::Short,
            ),
            (v2(0x21, 0x12, &four), ProxyError::Unsupported),
            (v2(0x11, 0x11, &four), ProxyError::Unsupported),
            (v2(0x22, 0x11, &four), ProxyError::Unsupported),
            (v2(0x21, 0x00, &vec![0; MOST + 1]), ProxyError::TooLong),
        ] {
            assert_eq!(parse(&bytes), Err(error));
        }
    }

    #[test]
    fn our_own_connections_say_that_they_are() {
        for version in ProxyProtocol::ALL {
            let own = version.own();
            let used = own.len();
            assert_eq!(parse(own), Ok(Parsed::Whole { used, ends: None }));
        }
    }

    fn end() -> impl Strategy<Value = SocketAddr> {
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from)
        ];
        (address, any::<u16>()).prop_map(|(address, port)| SocketAddr::new(address.to_canonical(), port))
    }

    proptest! {
        /// Whatever comes: no panic, no more than is there, and a longer reading never changes a verdict.
        #[test]
        fn a_verdict_stands(bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            ("PROXY (TCP4|TCP6|UNKNOWN)[ 0-9a-f.:]{0,120}(\r\n)?").prop_map(String::into_bytes),
            (any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..250)).prop_map(|(c, f, rest)| v2(c, f, &rest)),
            (prop::sample::select(vec![0x11, 0x21, 0x31, 0]), prop::collection::vec(any::<u8>(), 0..250))
                .prop_map(|(f, rest)| v2(0x21, f, &rest)),
        ]) {
            let mut before = Ok(Parsed::Partial);
            for length in 0..=bytes.len() {
                let now = parse(&bytes[..length]);
                if before != Ok(Parsed::Partial) {
                    prop_assert_eq!(now, before);
                }
                if let Ok(Parsed::Whole { used, .. }) = now {
                    prop_assert!(used <= length && used <= LONGEST);
                }
                before = now;
            }
            prop_assert!(bytes.len() < LONGEST || before != Ok(Parsed::Partial));
        }

        #[test]
        fn what_we_say_is_what_is_understood(source in end(), destination in end(), version in prop::sample::select(ProxyProtocol::ALL.to_vec())) {
            let said = Ends { source, destination };
            let bytes = header(version, &said);
            let understood = parse(&bytes);
            let (source, destination) = same_family(&said);
            prop_assert_eq!(understood, Ok(Parsed::Whole { used: bytes.len(), ends: Some(Ends { source, destination }) }));
            prop_assert_eq!(source.ip().to_canonical(), said.source.ip());
            prop_assert_eq!(parse(&bytes[..bytes.len() - 1]), Ok(Parsed::Partial));
        }
    }
}
