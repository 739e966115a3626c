//! A route as the edge and `banyan route explain` read it: conditions, what is done, which headers change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::aggregate::Aggregate;
use super::grpc::Transcode;
use super::network::Network;
use crate::filter::Filters;
use crate::name::ProcessName;

/// One `[[route]]`. The order in the file matters only between equally specific ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub name: String,
    pub when: RouteMatch,
    #[serde(default)]
    pub bounds: RouteBounds,
    pub action: RouteAction,
    pub request_headers: HeaderEdit,
    pub response_headers: HeaderEdit,
}

/// All that is written must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteMatch {
    /// Lower case, without port; `*.example.org` is every name below it. Empty: any.
    pub domains: Vec<String>,
    pub path: PathMatch,
    /// Also ambiguous paths match (encoded slashes, dot segments, empty segments), compared as received.
    pub as_received: bool,
    /// Empty: any.
    pub methods: Vec<String>,
    /// By name in lower case; the value `*` is any.
    pub headers: BTreeMap<String, String>,
    pub cookies: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
}

/// Who may use a route, and how much may be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteBounds {
    /// Empty: everybody who is not denied.
    pub allow: Vec<Network>,
    pub deny: Vec<Network>,
    /// In place of `edge.limits.body`.
    pub body: Option<u64>,
    /// In place of `edge.timeouts.response`.
    #[serde(default, with = "crate::units::duration_if_any")]
    pub timeout: Option<Duration>,
    /// In place of `edge.limits.response_header`.
    #[serde(default)]
    pub response_header: Option<u32>,
    /// In place of `edge.limits.response_body`.
    #[serde(default)]
    pub response_body: Option<u64>,
    #[serde(default)]
    pub filters: Filters,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    #[default]
    Any,
    Exact(String),
    /// Whole segments: `/api` is `/api` and `/api/x`, not `/apix`.
    Prefix(String),
    Regex(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteAction {
    Process(Forward),
    /// To servers elsewhere.
    Origin(ToOrigin),
    Aggregate(Aggregate),
    Grpc(Transcode),
    Static(StaticFiles),
    Redirect {
        to: String,
        status: u16,
    },
    Respond {
        status: u16,
        body: String,
        content_type: String,
    },
    /// 503 with these words.
    Maintenance {
        message: String,
    },
}

/// The files of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticFiles {
    /// As written, relative to banyan.toml; absolute once it is in a topology.
    pub dir: PathBuf,
    /// `Cache-Control`. Default `no-cache`: kept, and asked for whether it is still the same.
    pub cache_control: String,
    /// The page for addresses that are no file, for apps that route in the browser.
    pub fallback: Option<String>,
    /// The page of a 404.
    pub not_found: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// At least one, at least one with a weight.
    pub shares: Vec<Share>,
    pub sticky: SplitBy,
    /// In place of the matched path or prefix.
    pub rewrite: Option<String>,
    /// Who gets copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Of `[origin.NAME]`: who answers when the process cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
}

/// Copies of requests for another process, whose answers nobody sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    pub process: ProcessName,
    /// Of the requests. Default 100.
    pub percent: u32,
    /// Also those that change something. Default false: GET, HEAD and OPTIONS only.
    pub unsafe_methods: bool,
    /// The largest body, in bytes, that is copied. Default 64 KiB.
    pub body: u64,
    /// Copies under way at once, per worker; more are left out. Default 100.
    pub at_once: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToOrigin {
    /// Of `[origin.NAME]`.
    pub origin: String,
    /// In place of the matched path or prefix.
    pub rewrite: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub process: ProcessName,
    pub weight: u32,
}

/// What keeps a user with the same process of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    Cookie,
    Address,
    None,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderEdit {
    /// First.
    pub remove: Vec<String>,
    /// By name in lower case; replaces.
    pub set: BTreeMap<String, String>,
}

impl Route {
    /// The processes that it may send requests to, those of weight 0 included: their instances stay warm.
    pub fn processes(&self) -> impl Iterator<Item = &ProcessName> {
        let processes: Vec<&ProcessName> = match &self.action {
            RouteAction::Process(forward) => {
                let mirror = forward.mirror.as_ref().map(|mirror| &mirror.process);
                let shares = forward.shares.iter().map(|share| &share.process);
                shares.chain(mirror).collect()
            }
            RouteAction::Aggregate(aggregate) => aggregate.parts.iter().map(|part| &part.process).collect(),
            RouteAction::Grpc(transcode) => vec![&transcode.process],
            RouteAction::Origin(_)
            | RouteAction::Static(_)
            | RouteAction::Redirect { .. }
            | RouteAction::Respond { .. }
            | RouteAction::Maintenance { .. } => Vec::new(),
        };
        processes.into_iter()
    }
}

impl RouteBounds {
    pub fn admits(&self, client: IpAddr) -> bool {
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(client));
        !within(&self.deny) && (self.allow.is_empty() || within(&self.allow))
    }
}

impl HeaderEdit {
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty()
    }
}
