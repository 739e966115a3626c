//! The reasons behind every verdict, in the words that `Cache-Status` and metrics use.

use std::fmt;

/// Why a request was not answered from the cache, or a response was not stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// Nothing is stored under this key.
    Absent,
    /// Something is stored, and `Vary` selects none of it.
    Vary,
    /// The method is not GET or HEAD.
    Method,
    /// The client asked for a validated response.
    RequestNoCache,
    RequestMaxAge,
    RequestMinFresh,
    RequestNoStore,
    OnlyIfCached,
    /// `If-Match` and `If-Unmodified-Since` are the origin's to judge.
    Precondition,
    NoStore,
    NoCache,
    Private,
    Authorization,
    VaryAny,
    SetCookie,
    /// The request has a cookie, and nobody says that others may have what it opened.
    Cookie,
    /// In a content coding that requests are not told apart by.
    Coding,
    /// The status says nothing about storing, and nothing else does.
    Status,
    /// `must-understand` with a status that is not understood.
    NotUnderstood,
    /// No lifetime, no validator, no window of staleness: it would never be of use.
    NoLifetime,
    Incomplete,
    /// Larger than what one response may take of the store.
    TooLarge,
    /// A 206 without a readable `Content-Range`.
    BadPart,
    Expired,
    Invalidated,
    Purged,
    /// Only a part is stored, and it is not the part that was asked for.
    Gap,
    /// The operator's rule, or the kind of request, keeps it out.
    Rule,
    /// Uncacheable a moment ago: requests for it do not wait for each other.
    HitForMiss,
}

impl Why {
    pub const ALL: [Self; 29] = [
        Self::Absent,
        Self::Vary,
        Self::Method,
        Self::RequestNoCache,
        Self::RequestMaxAge,
        Self::RequestMinFresh,
        Self::RequestNoStore,
        Self::OnlyIfCached,
        Self::Precondition,
        Self::NoStore,
        Self::NoCache,
        Self::Private,
        Self::Authorization,
        Self::VaryAny,
        Self::SetCookie,
        Self::Cookie,
        Self::Coding,
        Self::Status,
        Self::NotUnderstood,
        Self::NoLifetime,
        Self::Incomplete,
        Self::TooLarge,
        Self::BadPart,
        Self::Expired,
        Self::Invalidated,
        Self::Purged,
        Self::Gap,
        Self::Rule,
        Self::HitForMiss,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Vary => "vary",
            Self::Method => "method",
            Self::RequestNoCache => "request-no-cache",
            Self::RequestMaxAge => "request-max-age",
            Self::RequestMinFresh => "request-min-fresh",
            Self::RequestNoStore => "request-no-store",
            Self::OnlyIfCached => "only-if-cached",
            Self::Precondition => "precondition",
            Self::NoStore => "no-store",
            Self::NoCache => "no-cache",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::VaryAny => "vary-any",
            Self::SetCookie => "set-cookie",
            Self::Cookie => "cookie",
            Self::Coding => "coding",
            Self::Status => "status",
            Self::NotUnderstood => "not-understood",
            Self::NoLifetime => "no-lifetime",
            Self::Incomplete => "incomplete",
            Self::TooLarge => "too-large",
            Self::BadPart => "bad-part",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Purged => "purged",
            Self::Gap => "gap",
            Self::Rule => "rule",
            Self::HitForMiss => "hit-for-miss",
        }
    }
}

impl Why {
    /// It is about who asks, not about what is asked for: the next one may get something to share.
    pub const fn is_of_the_request(self) -> bool {
        matches!(self, Self::Cookie | Self::Authorization | Self::RequestNoStore)
    }

    /// What the app or a rule would have to say so that the next one is a hit; `None`: it is as it should be.
    pub const fn remedy(self) -> Option<&'static str> {
        Some(match self {
            Self::NoStore => {
                "the answer says no-store; if everybody gets the same: Cache-Control: max-age=60"
            }
            Self::NoCache => {
                "the answer says no-cache, so each use is validated; with Cache-Control: max-age=60 it is not"
            }
            Self::Private => {
                "the answer says private; if everybody gets the same: Cache-Control: public, max-age=60"
            }
            Self::Authorization => {
                "requests carry Authorization; if everybody gets the same: Cache-Control: public, or s-maxage=60"
            }
            Self::VaryAny => "the answer says Vary: *; name the headers that it depends on",
            Self::Vary => {
                "the answer varies by headers of many values; leave out of Vary what it does not depend on"
            }
            Self::SetCookie => {
                "the answer sets a cookie; leave it out there, or write a rule with strip_cookies = true"
            }
            Self::Cookie => {
                "requests carry cookies and nothing says how long it is good; if everybody gets the same: Cache-Control: max-age=60, public, or a rule with ttl"
            }
            Self::Coding => "the answer is in a coding other than br, gzip and zstd",
            Self::Status => "nothing says that this status may be kept: Cache-Control: max-age=60",
            Self::NotUnderstood => "must-understand forbids keeping this status",
            Self::NoLifetime => {
                "nothing says how long it is good: Cache-Control: max-age=60, an ETag, or a rule with ttl"
            }
            Self::Expired => {
                "its time is over when it is asked for again: a longer max-age, or stale-while-revalidate=30"
            }
            Self::TooLarge => "one answer takes an eighth of cache.memory at most: more memory",
            Self::BadPart => "the app's 206 has no Content-Range that can be read",
            Self::Incomplete => "the answer broke off; the app's log may say why",
            Self::Rule => "a rule says store = false, or the edge itself knows who asks (auth)",
            Self::Absent
            | Self::Method
            | Self::RequestNoCache
            | Self::RequestMaxAge
            | Self::RequestMinFresh
            | Self::RequestNoStore
            | Self::OnlyIfCached
            | Self::Precondition
            | Self::Invalidated
            | Self::Purged
            | Self::Gap
            | Self::HitForMiss => return None,
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
