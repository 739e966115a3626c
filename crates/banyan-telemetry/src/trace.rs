//! W3C Trace Context, level 1 (<https://www.w3.org/TR/trace-context-1/>): where a request belongs in a trace of many services. Pure.

use std::fmt::{self, Write};

use crate::span::{SpanId, TraceId};

/// Of `tracestate`; longer ones may be cut or dropped (§3.3.1.5): we drop them.
const LONGEST_STATE: usize = 512;

/// What `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    parent: u64,
    sampled: bool,
}

impl TraceParent {
    /// The beginning of a trace. Zeros are no identifiers: they become ones.
    pub fn begin(trace: u128, parent: u64, sampled: bool) -> Self {
        Self {
            trace: trace.max(1),
            parent: parent.max(1),
            sampled,
        }
    }

    /// Strict: lower case, exact lengths, no zero identifiers. A version above 00 may say more behind a hyphen
    /// (§3.2.4), which is left out; ff is none.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let lower = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        let (head, rest) = bytes.split_at_checked(55)?;
        let version = &head[..2];
        let shaped = head.iter().enumerate().all(|(at, b)| match at {
            2 | 35 | 52 => *b == b'-',
            _ => lower(b),
        });
        let complete = match (version, rest.first()) {
            (b"ff", _) => false,
            (_, None) => true,
            (b"00", Some(_)) => false,
            (_, Some(b)) => *b == b'-',
        };
        if !shaped || !complete {
            return None;
        }
        let trace = u128::from_str_radix(&text[3..35], 16).ok()?;
        let parent = u64::from_str_radix(&text[36..52], 16).ok()?;
        let flags = u8::from_str_radix(&text[53..55], 16).ok()?;
        (trace != 0 && parent != 0).then_some(Self {
            trace,
            parent,
            sampled: flags & 1 == 1,
        })
    }

    /// The same trace, one step further.
    pub fn child(self, parent: u64) -> Self {
        Self::begin(self.trace, parent, self.sampled)
    }

    /// 32 hexadecimal digits.
    pub fn trace_id(self) -> impl fmt::Display {
        struct Id(u128);
        impl fmt::Display for Id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }
        Id(self.trace)
    }

    /// Which trace it is.
    pub fn trace(self) -> TraceId {
        TraceId(self.trace)
    }

    /// The step that says it.
    pub fn span(self) -> SpanId {
        SpanId(self.parent)
    }

    /// The same number at every hop, evenly spread over all traces, whoever began them.
    pub fn spread(self) -> u64 {
        // Fibonacci hashing: identifiers of some tracers begin with a time.
        let halves = (self.trace >> 64) as u64 ^ self.trace as u64;
        halves.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
    }

    /// Marked if it is in this percentage of all traces. The same [`TraceParent::spread`] decides everywhere: of two
    /// percentages the larger one marks what the smaller one does.
    pub fn sampled_by(self, percent: u8) -> Self {
        let place = (u128::from(self.spread()) * 100) >> 64;
        Self {
            sampled: place < u128::from(percent),
            ..self
        }
    }

    pub fn is_sampled(self) -> bool {
        self.sampled
    }
}

impl TraceParent {
    /// As it is sent. No formatting: every request has one.
    pub fn text(self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(&mut text[3..35], &self.trace.to_be_bytes());
        hex(&mut text[36..52], &self.parent.to_be_bytes());
        text[54] += u8::from(self.sampled);
        text
    }
}

fn hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// As it is sent.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text()
            .iter()
            .try_for_each(|byte| f.write_char(char::from(*byte)))
    }
}

/// Whether a `tracestate` (all its fields joined by commas) may be passed on: at most 32 members `key=value` of the allowed
/// characters, no key twice, 512 bytes (§3.3.1).
pub fn is_trace_state(text: &str) -> bool {
    let mut keys: Vec<&str> = Vec::new();
    if text.len() > LONGEST_STATE {
        return false;
    }
    for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])) {
        match member.split_once('=') {
            Some((key, value)) if is_key(key) && is_value(value) && !keys.contains(&key) => keys.push(key),
            None if member.is_empty() => {}
            _ => return false,
        }
    }
    keys.len() <= 32
}

fn is_key(key: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/".contains(&b);
    let begins = |text: &str, digit: bool| {
        text.bytes()
            .next()
            .is_some_and(|b| b.is_ascii_lowercase() || (digit && b.is_ascii_digit()))
    };
    match key.split_once('@') {
        None => key.len() <= 256 && begins(key, false) && key.bytes().all(inner),
        Some((tenant, system)) => {
            tenant.len() <= 241
                && begins(tenant, true)
                && tenant.bytes().all(inner)
                && system.len() <= 14
                && begins(system, false)
                && system.bytes().all(inner)
        }
    }
}

fn is_value(value: &str) -> bool {
    let sound = |b: u8| (0x20..=0x7e).contains(&b) && b != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(sound) && !value.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_specifications_example_is_read_and_goes_on() {
        let parent = TraceParent::parse(EXAMPLE).unwrap();
        assert_eq!(parent.to_string(), EXAMPLE);
        assert!(parent.is_sampled());
        assert_eq!(
            parent.child(0x00f0_67aa_0ba9_02b7).to_string(),
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
        );
        assert_eq!(parent.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(!TraceParent::begin(0, 0, false).is_sampled());
        assert!(TraceParent::parse(&TraceParent::begin(0, 0, false).to_string()).is_some());
    }

    #[test]
    fn a_percentage_marks_its_part_and_the_larger_one_what_the_smaller_marks() {
        let traces = (1..=10_000_u64).map(|n| {
            let halves = [n, n + 7].map(|half| half.wrapping_mul(0xd6e8_feb8_6659_fd93));
            TraceParent::begin(u128::from(halves[0]) << 64 | u128::from(halves[1]), 1, false)
        });
        let mut tenth = 0;
        for trace in traces {
            let marked = |percent| trace.sampled_by(percent).is_sampled();
            assert!(!marked(0) && marked(100) && (!marked(10) || marked(50)));
            tenth += u32::from(marked(10));
        }
        assert!((800..1200).contains(&tenth), "{tenth}");
    }

    #[test]
    fn only_what_the_specification_allows_is_read() {
        let ids = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        for (text, expected) in [
            (format!("00-{ids}-00"), true),
            (format!("00-{ids}-ff"), true),
            (format!("cc-{ids}-01"), true),
            (format!("cc-{ids}-01-what-comes"), true),
            (format!("cc-{ids}-01."), false),
            (format!("00-{ids}-01-more"), false),
            (format!("ff-{ids}-01"), false),
            (format!("00-{}-01", ids.to_uppercase()), false),
            (format!("00-{ids}-1"), false),
            (format!("00-{ids}"), false),
            (format!("0-{ids}-01"), false),
            (format!(" 00-{ids}-01"), false),
            (format!("00_{ids}-01"), false),
            (
                "00-00000000000000000000000000000000-b7ad6b7169203331-01".to_owned(),
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".to_owned(),
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01".to_owned(),
                false,
            ),
            (format!("00-{}é-b7ad6b7169203331-01", "0".repeat(30)), false),
            (String::new(), false),
        ] {
            assert_eq!(TraceParent::parse(&text).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn a_state_is_a_list_of_members_within_bounds() {
        for (text, expected) in [
            ("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", true),
            ("fw529a3039@dt=FfffffBPYAAA, a=b c", true),
            ("a=1,,b=2", true),
            ("a=1,a=2", false),
            ("A=1", false),
            ("a=", false),
            ("a=b=c", false),
            ("a", false),
            ("1a=1", false),
            ("1a@x=1", true),
            ("a@1=1", false),
        ] {
            assert_eq!(is_trace_state(text), expected, "{text}");
        }
        let many = |n: usize| (0..n).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert!(is_trace_state(&many(32)) && !is_trace_state(&many(33)));
        assert!(!is_trace_state(&format!("a={}", "x".repeat(511))));
    }
}
