//! What things in memory take of it, blocks of the allocator and room that tables keep free included.
//!
//! Counted by the layout of types, not measured: a test of the store compares the sum with what the process takes.

use banyan_httpcache::{Extent, Head};
use http::HeaderMap;

/// Beside what an `Arc` holds.
pub(super) const COUNTS: usize = 16;
/// Of one field in a map: name, value, hash, links.
const FIELD: usize = 104;
/// What is written down beside bytes that several hold.
const SHARED: usize = 32;

/// Of so many bytes in one allocation: allocators round up by an eighth at most, and to 16.
pub(super) fn block(bytes: usize) -> u64 {
    let rounded = bytes + bytes / 16;
    if bytes == 0 {
        0
    } else {
        rounded.next_multiple_of(16) as u64
    }
}

/// Bytes that several hold.
pub(super) fn shared(bytes: usize) -> u64 {
    block(bytes) + block(SHARED)
}

/// Beside its own size, which its object's has.
pub(super) fn head(head: &Head) -> u64 {
    let values: usize = head.headers.values().map(http::HeaderValue::len).sum();
    let tags: u64 = head.tags.iter().map(|tag| block(tag.len())).sum();
    let parts = match &head.extent {
        Extent::Whole => 0,
        Extent::Parts { spans, .. } => block(size_of_val(&**spans)),
    };
    fields(&head.headers)
        + shared(values)
        + block(head.tags.len() * size_of::<String>())
        + tags
        + parts
        + head.selection.size() as u64
}

fn fields(fields: &HeaderMap) -> u64 {
    // Places for four thirds of them, at least eight, two bytes of number and two of hash each.
    let places = (fields.keys_len() * 4 / 3).next_power_of_two().max(8);
    block(fields.len() * FIELD) + block(places * 4)
}

/// Of a URI: its place in the table, at 7/16 to 7/8 of its room, the list of its objects, and a place or two in queues.
pub(super) fn slot(size: usize, uri: usize, objects: usize) -> u64 {
    const TICKET: usize = 16;
    let table = size * 3 / 2 + TICKET * 2;
    block(uri) + block(COUNTS + objects * 8) + table as u64
}
