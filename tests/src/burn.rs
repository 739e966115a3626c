//! Work that takes CPU time: the same amount on an idle machine and on a busy one, unlike a wait.

use std::hint::black_box;
use std::time::Duration;

use banyan_runtime::Clock;

/// Of which the fastest counts: the others were interrupted.
const TRIES: usize = 20;
const SAMPLE: u64 = 100_000;

pub fn rounds(count: u64) {
    let mut value = 88_172_645_463_325_252_u64;
    for _ in 0..count {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        value = black_box(value);
    }
}

/// Thousands of rounds that take so much CPU time here.
pub fn thousands(time: Duration) -> u64 {
    let tries = (0..TRIES).map(|_| {
        let began = Clock.now();
        rounds(SAMPLE);
        Clock.now() - began
    });
    let fastest = tries.min().unwrap_or_default().max(Duration::from_nanos(1));
    let each = fastest.as_nanos() / u128::from(SAMPLE / 1000);
    u64::try_from(time.as_nanos() / each.max(1)).unwrap_or(u64::MAX)
}
