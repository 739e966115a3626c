//! The stream of a connection to an instance, or to an origin.

use std::io;

use banyan_tls::client;

use crate::core::stream::Stream;

/// Within TLS only to origins.
pub(crate) type Wire = Stream<client::Stream>;

impl Wire {
    /// Whether nothing happened to it while it was idle. No call to the kernel unless something did.
    pub(super) fn is_quiet(&self) -> bool {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let read = stream.try_read(&mut [0]);
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}
