//! Engines, to be filled.
