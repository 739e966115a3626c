//! What a client's session is made of, so that any backend can continue it: settings, prepared statements, pins.
