//! Mutated input for everything that reads what strangers send, and for the rules that people write.
//!
//! A [`Target`] takes any bytes and panics when something is wrong: a crash, or two readings of the same bytes that differ.
//! [`run`] mutates the inputs of a corpus by a seed, so that a failure can be repeated by its seed or its saved input. No
//! coverage feedback: it runs on stable Rust without any tool; the corpus has to hold what is interesting.

mod mutate;
mod sql;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_runtime::Clock;

pub use targets::TARGETS;

pub struct Target {
    /// Also the name of its folder in the corpus.
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Pieces of input that mean something.
    pub words: &'static [&'static str],
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Time(Duration),
    Inputs(u64),
}

/// What went wrong.
#[derive(Debug)]
pub struct Found {
    pub input: Vec<u8>,
    /// Of the input, which is made from it and the corpus.
    pub seed: u64,
}

/// The inputs of a target, in the order of their names.
pub fn corpus(target: &Target) -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    files
        .into_iter()
        .map(|path| std::fs::read(&path).map(|bytes| (path, bytes)))
        .collect()
}

/// Whether the target takes it.
pub fn passes(target: &Target, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_ok()
}

/// Runs inputs of the seeds from `seed` on; returns how many were taken.
pub fn run(target: &Target, corpus: &[Vec<u8>], seed: u64, until: Until) -> Result<u64, Found> {
    let begun = Clock.now();
    let mut taken = 0;
    loop {
        let ended = match until {
            Until::Inputs(most) => taken >= most,
            // The clock is asked now and then.
            Until::Time(limit) => taken % 64 == 0 && Clock.now().saturating_duration_since(begun) >= limit,
        };
        if ended {
            return Ok(taken);
        }
        let seed = seed.wrapping_add(taken);
        let input = mutate::input(corpus, target.words, seed);
        if !passes(target, &input) {
            return Err(Found { input, seed });
        }
        taken += 1;
    }
}
