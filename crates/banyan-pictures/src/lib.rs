//! Pictures in the size and format that a client wants.
//!
//! `recipe` decides from the address and the head of a request what is wanted; [`make`] does the work: reads the header, decodes,
//! makes smaller, turns upright, encodes. What is not pixels (EXIF with its places, comments) is left behind. No tasks, no files,
//! no clock: whoever calls [`make`] gives it a thread, and a bound in time by not waiting longer.
//!
//! Bounds, all judged before a pixel is decoded: [`MOST_BYTES`] of the file, [`MOST_PIXELS`] by its header, 100 scans of a JPEG;
//! decoders may allocate 200 MiB. Never larger than the source. Animations, CMYK and what cannot be read are errors: the
//! caller has the original.

mod make;
mod recipe;
mod source;

pub use make::{Failure, Picture, make};
pub use recipe::{Format, Recipe, Settings};
pub use source::is_picture;

/// A file that is longer stays as it is.
pub const MOST_BYTES: u64 = 32 << 20;
/// By its header: 40 million.
pub const MOST_PIXELS: u64 = 40_000_000;
