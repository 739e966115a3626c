//! `redis://user:password@host:port/database` and its kin, built and taken apart, the parts URL-encoded.
//!
//! | scheme | what |
//! |---|---|
//! | `redis://`, `rediss://` | one server; the second one by TLS |
//! | `redis+sentinel://`, `rediss+sentinel://` | Sentinels, separated by commas; the path names the service |
//! | `redis+cluster://`, `rediss+cluster://` | nodes of a Cluster, separated by commas |

use std::fmt;

use crate::database_url::{decode, encode, split_port};
use crate::template::RedisPart;

/// Where a Redis is and how to log in. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    pub kind: RedisKind,
    pub tls: bool,
    /// One, or more for Sentinel and Cluster.
    pub hosts: Vec<(String, u16)>,
    /// Empty: `default`.
    pub user: String,
    /// Empty: there is none.
    pub password: String,
    pub database: u32,
    /// What follows `?`.
    pub options: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisKind {
    Single,
    /// They tell where the server of this name is.
    Sentinel {
        service: String,
    },
    Cluster,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    #[error("it does not begin with redis://, rediss://, redis+sentinel:// or redis+cluster://")]
    Scheme,
    #[error("it names no host")]
    Host,
    #[error("it names several hosts, which only redis+sentinel:// and redis+cluster:// do")]
    Hosts,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("what follows the host is not the number of a database")]
    Database,
    #[error("a Cluster has no databases but 0")]
    ClusterDatabase,
    #[error("it does not name the service that the Sentinels watch: redis+sentinel://host/mymaster")]
    Service,
    #[error("`%` is not followed by two hexadecimal digits of UTF-8 text")]
    Encoding,
}

impl RedisAddress {
    /// A missing port is 6379, of a Sentinel 26379; a missing database is 0.
    pub fn parse(url: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(RedisUrlError::Scheme)?;
        let (scheme, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(RedisUrlError::Scheme),
        };
        let (rest, options) = match rest.split_once('?') {
            Some((rest, options)) => (rest, Some(options.to_owned())),
            None => (rest, None),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, places) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (kind, database) = match kind {
            "" => (RedisKind::Single, path),
            "cluster" => (RedisKind::Cluster, path),
            "sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                let service = decode(service).ok_or(RedisUrlError::Encoding)?;
                if service.is_empty() {
                    return Err(RedisUrlError::Service);
                }
                (RedisKind::Sentinel { service }, database)
            }
            _ => return Err(RedisUrlError::Scheme),
        };
        let usual = if matches!(kind, RedisKind::Sentinel { .. }) {
            26379
        } else {
            6379
        };
        let hosts = places.split(',').map(|place| host(place, usual));
        let hosts = hosts.collect::<Result<Vec<_>, _>>()?;
        if hosts.len() > 1 && kind == RedisKind::Single {
            return Err(RedisUrlError::Hosts);
        }
        let database: u32 = match database.trim_end_matches('/') {
            "" => 0,
            number => number.parse().map_err(|_| RedisUrlError::Database)?,
        };
        if database > 0 && kind == RedisKind::Cluster {
            return Err(RedisUrlError::ClusterDatabase);
        }
        let part = |text| decode(text).ok_or(RedisUrlError::Encoding);
        Ok(Self {
            kind,
            tls,
            hosts,
            user: part(user)?,
            password: part(password)?,
            database,
            options,
        })
    }

    pub fn url(&self) -> String {
        let tls = if self.tls { "s" } else { "" };
        let (kind, service) = match &self.kind {
            RedisKind::Single => ("", String::new()),
            RedisKind::Sentinel { service } => ("+sentinel", format!("/{}", encode(service))),
            RedisKind::Cluster => ("+cluster", String::new()),
        };
        let login = match (self.user.is_empty(), self.password.is_empty()) {
            (true, true) => String::new(),
            (false, true) => format!("{}@", encode(&self.user)),
            _ => format!("{}:{}@", encode(&self.user), encode(&self.password)),
        };
        let hosts: Vec<String> = self.hosts.iter().map(place).collect();
        let hosts = hosts.join(",");
        let database = match &self.kind {
            RedisKind::Cluster => String::new(),
            _ => format!("/{}", self.database),
        };
        let options = self.options.as_ref().map(|options| format!("?{options}"));
        let options = options.unwrap_or_default();
        format!("redis{tls}{kind}://{login}{hosts}{service}{database}{options}")
    }

    /// A part of it; `None`: there is no one host that it could be of.
    pub fn part(&self, part: RedisPart) -> Option<String> {
        let single = || match (&self.kind, self.hosts.as_slice()) {
            (RedisKind::Single, [one]) => Some(one),
            _ => None,
        };
        Some(match part {
            RedisPart::Url => self.url(),
            RedisPart::Host => single()?.0.clone(),
            RedisPart::Port => single()?.1.to_string(),
            RedisPart::User if self.user.is_empty() => "default".to_owned(),
            RedisPart::User => self.user.clone(),
            RedisPart::Password => self.password.clone(),
        })
    }
}

fn host(place: &str, usual: u16) -> Result<(String, u16), RedisUrlError> {
    let (host, port) = split_port(place).ok_or(RedisUrlError::Port)?;
    if host.is_empty() {
        return Err(RedisUrlError::Host);
    }
    let host = decode(host).ok_or(RedisUrlError::Encoding)?;
    Ok((host, port.unwrap_or(usual)))
}

fn place((host, port): &(String, u16)) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{}:{port}", encode(host))
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = Self {
            password: if self.password.is_empty() {
                String::new()
            } else {
                "***".to_owned()
            },
            options: None,
            ..self.clone()
        };
        f.write_str(&shown.url().replace("%2A", "*"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_rebuilt_from_their_parts() {
        for (url, same) in [
            ("redis://cache.local", "redis://cache.local:6379/0"),
            (
                "rediss://:p%40ss@cache.local:7000/3?timeout=1",
                "rediss://:p%40ss@cache.local:7000/3?timeout=1",
            ),
            (
                "redis+sentinel://u:p@a,b:26400/mymaster/2",
                "redis+sentinel://u:p@a:26379,b:26400/mymaster/2",
            ),
            ("redis+cluster://a:1,[::1]:2", "redis+cluster://a:1,[::1]:2"),
        ] {
            let address = RedisAddress::parse(url).unwrap();
            assert_eq!(address.url(), same);
            assert_eq!(RedisAddress::parse(same).unwrap(), address);
        }
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for (url, why) in [
            ("http://a", RedisUrlError::Scheme),
            ("redis+unix://a", RedisUrlError::Scheme),
            ("redis://", RedisUrlError::Host),
            ("redis://a,b", RedisUrlError::Hosts),
            ("redis://a:0", RedisUrlError::Port),
            ("redis://a/x", RedisUrlError::Database),
            ("redis+cluster://a/1", RedisUrlError::ClusterDatabase),
            ("redis+sentinel://a", RedisUrlError::Service),
            ("redis://u:%zz@a", RedisUrlError::Encoding),
        ] {
            assert_eq!(RedisAddress::parse(url), Err(why), "{url}");
        }
    }

    #[test]
    fn only_one_server_has_a_host_and_nobody_shows_the_password() {
        let one = RedisAddress::parse("redis://u:geheim@a:1").unwrap();
        assert_eq!(one.part(RedisPart::Port).as_deref(), Some("1"));
        assert!(!format!("{one:?}").contains("geheim"));
        let many = RedisAddress::parse("redis+cluster://a,b").unwrap();
        assert_eq!(many.part(RedisPart::Host), None);
        assert_eq!(many.part(RedisPart::User).as_deref(), Some("default"));
    }
}
