//! A block: some moments of many series, as bytes. Pure.
//!
//! It is complete but for the names of its series, which the first block of a segment that has them brings. A value is a
//! whole number of units, thousandths or millionths if that is exactly what it is, else its eight bytes; numbers after
//! the first are differences (zigzag varints, as in protobuf). Moments in which a series was not measured are marked.

use std::collections::BTreeMap;

/// Decimal places that a number may have.
const SCALES: [f64; 3] = [1.0, 1e3, 1e6];
const RAW: u8 = 3;
/// All present values are the same.
const CONSTANT: u8 = 0x80;
/// Beyond it a double is no longer every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Of one series, by its number within the segment: a value per moment, NaN where there is none.
pub(super) type Rows = BTreeMap<u32, Vec<f64>>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Block {
    /// Unix ms, growing; at most 64.
    pub(super) times: Vec<u64>,
    /// New in this segment: the number of the first one, then the next.
    pub(super) first_name: u32,
    pub(super) names: Vec<String>,
    pub(super) rows: Rows,
}

impl Block {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.times.len() as u64);
        let mut before = 0;
        for time in &self.times {
            put(&mut out, time - before);
            before = *time;
        }
        put(&mut out, self.first_name.into());
        put(&mut out, self.names.len() as u64);
        for name in &self.names {
            put(&mut out, name.len() as u64);
            out.extend_from_slice(name.as_bytes());
        }
        put(&mut out, self.rows.len() as u64);
        let mut before = 0;
        for (number, values) in &self.rows {
            put(&mut out, u64::from(number - before));
            before = *number;
            encode_row(&mut out, values);
        }
        out
    }

    /// `None`: it is none. Never more memory than a small multiple of its bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let count = take_count(&mut rest, 64)?;
        let mut block = Self::default();
        let mut before = 0_u64;
        for _ in 0..count {
            before = before.checked_add(take(&mut rest)?)?;
            block.times.push(before);
        }
        block.first_name = u32::try_from(take(&mut rest)?).ok()?;
        let names = take_count(&mut rest, bytes.len())?;
        for _ in 0..names {
            let length = take_count(&mut rest, bytes.len())?;
            let (name, after) = rest.split_at_checked(length)?;
            block.names.push(std::str::from_utf8(name).ok()?.to_owned());
            rest = after;
        }
        let rows = take_count(&mut rest, bytes.len())?;
        let mut number = 0_u32;
        for _ in 0..rows {
            number = number.checked_add(u32::try_from(take(&mut rest)?).ok()?)?;
            block.rows.insert(number, decode_row(&mut rest, count)?);
        }
        Some(block)
    }
}

fn encode_row(out: &mut Vec<u8>, values: &[f64]) {
    let present: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let marks = values
        .iter()
        .rev()
        .fold(0_u64, |marks, value| marks << 1 | u64::from(!value.is_nan()));
    put(out, marks);
    let Some(first) = present.first() else { return };
    let constant = present.iter().all(|value| value.to_bits() == first.to_bits());
    let stored = if constant { &present[..1] } else { &present[..] };
    let flag = if constant { CONSTANT } else { 0 };
    let scale = SCALES
        .iter()
        .position(|scale| stored.iter().all(|value| fits(*value, *scale)));
    match scale {
        Some(scale) => {
            out.push(flag | u8::try_from(scale).unwrap_or(RAW));
            let mut before = 0;
            for value in stored {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "`fits` has seen that it is whole and small"
                )]
                let whole = (value * SCALES[scale]).round() as i64;
                put_signed(out, whole - before);
                before = whole;
            }
        }
        None => {
            out.push(flag | RAW);
            stored
                .iter()
                .for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        }
    }
}

/// Whether it comes back exactly.
fn fits(value: f64, scale: f64) -> bool {
    let whole = (value * scale).round();
    // What is zero has no sign as a whole number.
    let zero = whole == 0.0 && value.is_sign_negative();
    !zero && whole.abs() < EXACT && (whole / scale).to_bits() == value.to_bits()
}

fn decode_row(rest: &mut &[u8], count: usize) -> Option<Vec<f64>> {
    let marks = take(rest)?;
    let mut values = vec![f64::NAN; count];
    if marks == 0 {
        return Some(values);
    }
    let (kind, after) = rest.split_first()?;
    *rest = after;
    let (constant, scale) = (kind & CONSTANT != 0, kind & !CONSTANT);
    let mut before = 0_i64;
    let mut next = |rest: &mut &[u8]| {
        if scale == RAW {
            let (bytes, after) = rest.split_first_chunk::<8>()?;
            *rest = after;
            return Some(f64::from_le_bytes(*bytes));
        }
        before = before.wrapping_add(take_signed(rest)?);
        #[expect(clippy::cast_precision_loss, reason = "what was encoded is below 2^53")]
        Some(before as f64 / SCALES.get(usize::from(scale))?)
    };
    let mut last = None;
    for (place, value) in values.iter_mut().enumerate() {
        if marks >> place & 1 == 0 {
            continue;
        }
        let found = match last.filter(|_| constant) {
            Some(same) => same,
            None => next(rest)?,
        };
        (*value, last) = (found, Some(found));
    }
    Some(values)
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, (value << 1 ^ value >> 63).cast_unsigned());
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take_signed(rest: &mut &[u8]) -> Option<i64> {
    let value = take(rest)?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

fn take_count(rest: &mut &[u8], most: usize) -> Option<usize> {
    usize::try_from(take(rest)?).ok().filter(|count| *count <= most)
}

/// CRC-32 of IEEE 802.3, as zip has it.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let folded = bytes
        .iter()
        .fold(!0_u32, |sum, byte| CRC[usize::from(sum as u8 ^ byte)] ^ sum >> 8);
    !folded
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                0xEDB8_8320 ^ value >> 1
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            Just(f64::NAN),
            Just(0.0),
            Just(-0.0),
            (0_u64..1 << 60).prop_map(|n| n as f64),
            (-1_000_000_i64..1_000_000).prop_map(|n| n as f64 / 1e3),
            (0_u64..1 << 40).prop_map(|n| n as f64 / 1e6),
            any::<f64>(),
        ]
    }

    fn block() -> impl Strategy<Value = Block> {
        let rows =
            |count| prop::collection::btree_map(0_u32..5000, prop::collection::vec(value(), count), 0..20);
        let times = prop::collection::btree_set(0_u64..1 << 45, 0..=60);
        let names = prop::collection::vec(".{0,20}", 0..5);
        (times, names, any::<u32>()).prop_flat_map(move |(times, names, first_name)| {
            let times: Vec<u64> = times.into_iter().collect();
            rows(times.len()).prop_map(move |rows| Block {
                times: times.clone(),
                first_name,
                names: names.clone(),
                rows,
            })
        })
    }

    proptest! {
        #[test]
        fn every_value_comes_back_to_the_bit(block in block()) {
            let back = Block::decode(&block.encode()).unwrap();
            let bits = |rows: &Rows| -> Vec<(u32, Vec<u64>)> {
                let bits = |value: &f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
                rows.iter().map(|(number, values)| (*number, values.iter().map(bits).collect())).collect()
            };
            prop_assert_eq!(bits(&back.rows), bits(&block.rows));
            prop_assert_eq!((back.times, back.names, back.first_name), (block.times, block.names, block.first_name));
        }

        #[test]
        fn any_bytes_are_a_block_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _either = Block::decode(&bytes);
        }
    }

    #[test]
    fn what_does_not_change_takes_few_bytes() {
        let rows = (0..1000).map(|number| (number, vec![123_456.0; 6])).collect();
        let block = Block {
            times: (1..=6).collect(),
            rows,
            ..Block::default()
        };
        assert!(block.encode().len() < 6 * 1000 + 20, "{}", block.encode().len());
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
    }
}
