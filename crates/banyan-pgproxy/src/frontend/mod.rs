//! The clients' side: listener, startup and authentication, the client task, cancel, the admin console.
