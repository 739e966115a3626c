//! The rules of HTTP caching, sentence by sentence: each test names the section it comes from.

mod fill;
mod freshness;
mod invalidation;
mod properties;
mod purge;
mod ranges;
mod reuse;
mod status;
mod storing;
mod targeted;
mod validation;
mod vary;
mod world;
