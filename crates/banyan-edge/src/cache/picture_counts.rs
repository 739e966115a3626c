//! What is counted of pictures that are made: for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use banyan_pictures::Format;
use banyan_topology::sight::PictureStats;

/// Over all cores: a picture takes milliseconds, a counter that cores share nothing of that.
#[derive(Default)]
pub(crate) struct Counts {
    made: [AtomicU64; FORMATS.len()],
    /// They stay as they are: it cannot be made, or would not become smaller.
    unmade: AtomicU64,
    /// Too many wait already; the original answers.
    busy: AtomicU64,
    micros: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

const FORMATS: [Format; 3] = [Format::Avif, Format::Webp, Format::Jpeg];

/// As it stands.
pub(crate) struct Counted {
    pub made: [(&'static str, u64); FORMATS.len()],
    pub unmade: u64,
    pub busy: u64,
    pub took: Duration,
    /// Of originals that something was made of, and of what was made.
    pub bytes_in: u64,
    pub bytes_out: u64,
}

impl Counts {
    /// `bytes`: of the original and of what was made; `None`: it could not be.
    pub(super) fn made(&self, format: Format, took: Duration, bytes: Option<(u64, u64)>) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.micros, micros);
        let Some((before, after)) = bytes else {
            return add(&self.unmade, 1);
        };
        let place = FORMATS.iter().position(|known| *known == format);
        if let Some(made) = place.and_then(|place| self.made.get(place)) {
            add(made, 1);
        }
        add(&self.bytes_in, before);
        add(&self.bytes_out, after);
    }

    pub(super) fn busy(&self) {
        add(&self.busy, 1);
    }

    pub(crate) fn now(&self) -> Counted {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counted {
            made: std::array::from_fn(|n| (FORMATS[n].name(), read(&self.made[n]))),
            unmade: read(&self.unmade),
            busy: read(&self.busy),
            took: Duration::from_micros(read(&self.micros)),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
        }
    }
}

impl Counted {
    /// For people.
    pub(crate) fn told(&self) -> PictureStats {
        let made = self
            .made
            .iter()
            .map(|(format, count)| ((*format).to_owned(), *count));
        PictureStats {
            made: made.collect(),
            unmade: self.unmade,
            busy: self.busy,
            took_ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            original_bytes: self.bytes_in,
            made_bytes: self.bytes_out,
        }
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}
