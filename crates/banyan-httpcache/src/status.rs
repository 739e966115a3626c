//! `Cache-Status`: what this cache did with a request, for whoever debugs (RFC 9211).

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::why::Why;

pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why the request went to the origin (RFC 9211 §2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Miss,
    Request,
    Stale,
    Partial,
}

impl Forward {
    pub const fn of(why: Why) -> Self {
        match why {
            Why::Method => Self::Method,
            Why::Absent | Why::NoLifetime => Self::UriMiss,
            Why::Vary | Why::VaryAny => Self::VaryMiss,
            Why::RequestNoCache | Why::RequestMaxAge | Why::RequestMinFresh | Why::RequestNoStore => {
                Self::Request
            }
            Why::Expired | Why::NoCache | Why::Invalidated | Why::Purged => Self::Stale,
            Why::Gap | Why::BadPart | Why::Incomplete => Self::Partial,
            Why::Precondition | Why::Rule | Why::HitForMiss | Why::OnlyIfCached => Self::Bypass,
            Why::NoStore
            | Why::Private
            | Why::Authorization
            | Why::SetCookie
            | Why::Cookie
            | Why::Coding
            | Why::Status
            | Why::TooLarge
            | Why::NotUnderstood => Self::Miss,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// What became of the request. A hit is never forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Hit,
    Forwarded {
        why: Forward,
        /// What the origin answered, when that is not what the client gets.
        status: Option<StatusCode>,
        stored: bool,
        /// It shared another request's answer, or would not wait for it.
        collapsed: Option<bool>,
    },
}

/// One cache's member of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheStatus<'a> {
    /// Name of this cache.
    pub cache: &'a str,
    pub outcome: Outcome,
    /// Seconds of freshness left; negative when stale.
    pub ttl: Option<i64>,
    pub detail: Option<Why>,
    /// Not the first of several origins has answered.
    pub backup: bool,
}

impl CacheStatus<'_> {
    /// Adds itself behind what caches nearer to the origin said.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.to_string()) {
            headers.append(CACHE_STATUS, value);
        }
    }
}

impl std::fmt::Display for CacheStatus<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"")?;
        for character in self.cache.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                ' '..='~' => write!(f, "{character}")?,
                _ => {}
            }
        }
        write!(f, "\"")?;
        match self.outcome {
            Outcome::Hit => write!(f, "; hit")?,
            Outcome::Forwarded {
                why,
                status,
                stored,
                collapsed,
            } => {
                write!(f, "; fwd={}", why.name())?;
                if let Some(status) = status {
                    write!(f, "; fwd-status={}", status.as_u16())?;
                }
                if stored {
                    write!(f, "; stored")?;
                }
                match collapsed {
                    Some(true) => write!(f, "; collapsed")?,
                    Some(false) => write!(f, "; collapsed=?0")?,
                    None => {}
                }
            }
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={ttl}")?;
        }
        if let Some(why) = self.detail {
            write!(f, "; detail={why}")?;
            if self.backup {
                write!(f, "/backup")?;
            }
        }
        Ok(())
    }
}
