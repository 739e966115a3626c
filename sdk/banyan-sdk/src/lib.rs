//! For apps behind Banyan. The crate imports nothing of the platform: an app needs it for nothing but comfort.
//!
//! So far it holds the cache protocol as a checked model (`tests/cache_model`).
