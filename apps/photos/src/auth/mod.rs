//! Who a request comes from: tokens and sessions, both the SDK's, as passwords are.

mod viewer;

pub(crate) use viewer::{Credential, MaybeViewer, Token, Viewer};
