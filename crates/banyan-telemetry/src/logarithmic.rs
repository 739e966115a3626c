//! Buckets whose bounds grow logarithmically: 2^`SUB_BITS` of them per power of two, from 0 to 2^36 µs (19 hours).

const OCTAVES: u32 = 36;

pub(crate) const fn buckets(sub_bits: u32) -> usize {
    ((OCTAVES - sub_bits + 1) << sub_bits) as usize
}

/// Where a value counts; what is longer than the last bound counts as that.
pub(crate) fn bucket<const SUB_BITS: u32>(us: u64) -> usize {
    let sub_count = 1 << SUB_BITS;
    if us < sub_count {
        return us as usize;
    }
    let exponent = us.ilog2();
    let sub = (us >> (exponent - SUB_BITS)) & (sub_count - 1);
    let index = (u64::from(exponent - SUB_BITS) + 1) * sub_count + sub;
    (index as usize).min(buckets(SUB_BITS) - 1)
}

/// The largest value that falls into a bucket.
pub(crate) fn upper_bound<const SUB_BITS: u32>(index: usize) -> u64 {
    let (index, sub_count) = (index as u64, 1 << SUB_BITS);
    if index < sub_count {
        return index;
    }
    let shift = index / sub_count - 1;
    ((sub_count + index % sub_count + 1) << shift) - 1
}

/// Upper bound of the bucket in which the `percent`-th of `count` values lies; `None` of none.
pub(crate) fn quantile<const SUB_BITS: u32>(
    counts: impl IntoIterator<Item = u64>,
    count: u64,
    percent: u64,
) -> Option<u64> {
    let rank = (count * percent).div_ceil(100).max(1);
    let mut seen = 0;
    for (index, bucket) in counts.into_iter().enumerate() {
        seen += bucket;
        if seen >= rank && count > 0 {
            return Some(upper_bound::<SUB_BITS>(index));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_lies_at_or_below_its_bucket_bound_by_at_most_a_bucket(us in 0_u64..1 << 35) {
            let (fine, coarse) = (upper_bound::<3>(bucket::<3>(us)), upper_bound::<2>(bucket::<2>(us)));
            prop_assert!(us <= fine && fine - us <= us / 8);
            prop_assert!(us <= coarse && coarse - us <= us / 4);
        }
    }
}
