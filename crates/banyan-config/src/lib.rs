//! banyan.toml (with Procfile and secrets file) to one typed [`Config`], or every error at once.
//!
//! Only this crate gives text a meaning. Pure: the binary hands in [`Sources`], reading files through a closure.

mod alerts;
mod app;
mod auth;
mod backup;
mod cache;
mod check;
mod command;
mod database;
mod database_url;
pub mod detect;
mod edge;
mod error;
pub mod expand;
mod files;
mod filter;
mod fraction;
mod keys;
mod listener;
mod load;
mod logs;
mod metrics;
mod model;
mod name;
mod nearest;
mod observe;
mod origin;
mod picture;
mod place;
mod pooling;
mod process;
mod procfile;
mod proxy_protocol;
mod read;
mod redis;
mod redis_url;
mod report;
mod resolved;
mod route;
mod scale;
mod schema;
mod scope;
mod secrets;
mod source;
mod sslmode;
pub mod template;
mod tls;
mod tree;
pub mod units;
mod zone;

pub use alerts::{
    AlertReceiver, AlertRule, Alerts, Limit, LimitUnit, Mail, MailServer, NoSuchRule, RuleChange, TellBy,
};
pub use auth::{Auth, AuthBy, Jwt, JwtKeys};
pub use backup::{BackupSettings, NotATime, TimeOfDay};
pub use cache::{Cache, CacheClass, CachePolicy, CacheProfile, CacheRule, PurgeEndpoint, Warm};
pub use database::{BESIDE_THE_POOL, ExternalDatabaseError};
pub use database_url::{DatabaseAddress, DatabaseUrlError};
pub use error::{At, Errors, Problem};
pub use filter::{Coding, Compress, Cors, CountLimits, Filters, RateBy, RateLimit, WAF_RULES, Waf, WafMode};
pub use fraction::Fraction;
pub use listener::{StreamListener, StreamTo};
pub use load::{Loaded, load};
pub use logs::LogSettings;
pub use model::{
    Acme, App, Balance, CertificateFiles, Certificates, Config, Database, EdgeHealth, EdgeLimits, EdgeLog,
    EdgeQueue, EdgeSettings, EdgeTable, EdgeTimeouts, ExternalDatabase, FileTemplate, GRPC_HEALTH, HashBy,
    Host, HostKind, LiveProbe, ManagedDatabase, Metrics, PgproxyTable, ProcessSettings, ProcessTable,
    Protocol, ReadyProbe, Sticky, Tls, Trace,
};
pub use name::{AppName, HostName, NameError, PlaceName, ProcessName, ZoneName};
pub use observe::{ObserveSettings, ObserveTable, Otlp};
pub use origin::{Origin, OriginUrl};
pub use picture::{PictureFormat, Pictures};
pub use place::{EdgePlace, FIRST_PLACE};
pub use pooling::{Durability, HoldSettings, MeasureSettings, NotReads, PoolMode, PoolSettings, Reads};
pub use proxy_protocol::ProxyProtocol;
pub use redis::{Eviction, ExternalRedis, ExternalRedisError, ManagedRedis, Purpose, Redis, RedisSetting};
pub use redis_url::{RedisAddress, RedisKind, RedisUrlError};
pub use resolved::{render_resolved, resolved_json};
pub use route::{
    Aggregate, Descriptors, Forward, HeaderEdit, Mirror, Network, NetworkError, OnFailure, Part, PathMatch,
    REGEX_SIZE, Route, RouteAction, RouteBounds, RouteMatch, Share, SplitBy, StaticFiles, ToOrigin,
    Transcode,
};
pub use scale::{Floor, Scale, ScalePolicy, SpecRules, TargetRule};
pub use schema::schema;
pub use secrets::{Secret, Secrets};
pub use source::{FileError, FileText, JudgeCertificate, Source, Sources};
pub use sslmode::{ServerTrust, SslMode, TrustError};
pub use template::{Placeholder, RedisPart, RenderError, Template, TemplateError, TemplateErrorKind};

/// The commented banyan.toml that shows every key with its default: the manual.
pub const MANUAL: &str = include_str!("default.toml");

#[cfg(test)]
mod tests;
