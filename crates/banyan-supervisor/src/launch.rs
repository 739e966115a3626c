//! The launch shim, to be filled.
