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
    pub const ALL: [Self; 27] = [
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

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
