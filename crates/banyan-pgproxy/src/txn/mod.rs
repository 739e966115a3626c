//! What became of a transaction whose server died before it answered.

pub mod outcome;
