//! What the operator says about a route's responses, where the standards leave room.

use std::time::Duration;

/// How far storing goes. Storing less than allowed always conforms (RFC 9111 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// For apps that never thought of a shared cache: nothing with `Set-Cookie`, heuristics for assets only, a reload
    /// does not reach the origin.
    #[default]
    Safe,
    /// All that RFC 9111 allows, request directives honoured.
    Rfc,
}

/// What happens to a response that sets a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SetCookie {
    /// By the profile: `Safe` does not store it, `Rfc` does, cookie included.
    #[default]
    ByProfile,
    /// Stored without the cookie.
    Strip,
}

/// Whose lifetime counts when both the rule and the origin name one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precedence {
    #[default]
    Origin,
    /// The rule's. Never over `no-store`, `private` or `Set-Cookie`.
    Rule,
}

/// One route's caching, read from its rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    pub profile: Profile,
    /// Lifetime in this cache; `None`: what the response says.
    pub ttl: Option<Duration>,
    pub precedence: Precedence,
    /// `max-age` that browsers get; `None`: what the response says.
    pub browser_ttl: Option<Duration>,
    /// With `browser_ttl`: browsers do not even ask on a reload (RFC 8246).
    pub immutable: bool,
    pub stale_while_revalidate: Option<Duration>,
    /// How long past its lifetime a response may stand in for a failing origin that said nothing about it.
    pub stale_if_error: Duration,
    /// Lifetime of 404 and 410 that name none, under `Safe`.
    pub negative_ttl: Duration,
    pub set_cookie: SetCookie,
    /// No response is fresh for longer.
    pub ceiling: Duration,
    /// Content codings that this cache answers in; `Accept-Encoding` is compared by these alone.
    pub codings: Vec<String>,
    /// Purge tags beside those the response names.
    pub tags: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            profile: Profile::default(),
            ttl: None,
            precedence: Precedence::default(),
            browser_ttl: None,
            immutable: false,
            stale_while_revalidate: None,
            stale_if_error: HOUR,
            negative_ttl: Duration::from_secs(10),
            set_cookie: SetCookie::default(),
            ceiling: HOUR * 24 * 365,
            codings: ["br", "gzip", "zstd"].map(String::from).to_vec(),
            tags: Vec::new(),
        }
    }
}
