//! Who a request comes from: tokens (JWT, HS256) and the key that signs them, sessions. Passwords are the SDK's.

pub(crate) mod secret;
mod token;
mod viewer;

pub(crate) use token::{Claims, Tokens};
pub(crate) use viewer::{Credential, MaybeViewer, Viewer};
