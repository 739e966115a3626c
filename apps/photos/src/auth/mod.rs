//! Who a request comes from: passwords (Argon2id), tokens (JWT, HS256) and the key that signs them.

mod password;
pub(crate) mod secret;
mod token;
mod viewer;

pub(crate) use password::{Passwords, hash_with_salt};
pub(crate) use token::{Claims, Tokens};
pub(crate) use viewer::{Credential, MaybeViewer, Viewer};
