//! The shape of a unit, from its bytes: whether it is whole, and which texts it runs. A unit is routed whole (it is one implicit
//! transaction), so it is looked at before anything of it is sent.

use crate::wire::frame::{self, HEADER};

/// Units larger than this are not waited for: they go to the primary as they come.
pub(crate) const MAX_UNIT: usize = 1 << 20;

#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Shape<'a> {
    /// More bytes are needed.
    Incomplete,
    /// For the primary: it wants answers before its end, changes prepared statements, or runs none.
    Other,
    Whole {
        /// Bytes of it.
        length: usize,
        texts: Vec<Text<'a>>,
        /// Names of statements that it prepares.
        defines: Vec<&'a [u8]>,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Text<'a> {
    Sql(&'a [u8]),
    /// A prepared statement of the client's; empty: the unnamed one.
    Named(&'a [u8]),
}

/// `bytes` begin with the unit's first message.
pub(crate) fn shape(bytes: &[u8]) -> Shape<'_> {
    let mut at = 0;
    let mut parsed: Vec<(&[u8], &[u8])> = Vec::new();
    let mut texts = Vec::new();
    loop {
        let Ok(head) = frame::from_client(&bytes[at..]) else {
            return Shape::Other;
        };
        let Some(head) = head else {
            return incomplete(bytes);
        };
        if matches!(head.tag, b'H' | b'F' | b'C' | b'd' | b'c' | b'f' | b'p' | b'X') {
            return Shape::Other;
        }
        let Some(body) = bytes.get(at + HEADER..at + head.total()) else {
            return incomplete(bytes);
        };
        at += head.total();
        match head.tag {
            b'Q' if at == head.total() => return simple(at, body),
            b'P' => match parse(body) {
                Some((name, text)) => parsed.push((name, text)),
                None => return Shape::Other,
            },
            b'B' => match bind(body) {
                Some(name) => {
                    let here = parsed.iter().rev().find(|(known, _)| *known == name);
                    texts.push(here.map_or(Text::Named(name), |(_, text)| Text::Sql(text)));
                }
                None => return Shape::Other,
            },
            b'D' | b'E' => {}
            b'S' if texts.is_empty() => return Shape::Other,
            b'S' => {
                let defines = parsed
                    .iter()
                    .map(|(name, _)| *name)
                    .filter(|name| !name.is_empty())
                    .collect();
                return Shape::Whole {
                    length: at,
                    texts,
                    defines,
                };
            }
            _ => return Shape::Other,
        }
    }
}

fn incomplete(bytes: &[u8]) -> Shape<'_> {
    if bytes.len() >= MAX_UNIT {
        Shape::Other
    } else {
        Shape::Incomplete
    }
}

fn simple(length: usize, body: &[u8]) -> Shape<'_> {
    match body.strip_suffix(&[0]) {
        Some(text) => Shape::Whole {
            length,
            texts: vec![Text::Sql(text)],
            defines: Vec::new(),
        },
        None => Shape::Other,
    }
}

/// Name and text.
fn parse(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = frame::text(body)?;
    let (text, _) = frame::text(rest)?;
    Some((name, text))
}

/// The statement's name.
fn bind(body: &[u8]) -> Option<&[u8]> {
    let (_portal, rest) = frame::text(body)?;
    Some(frame::text(rest)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short");
        [&[tag], &length.to_be_bytes()[..], body].concat()
    }

    fn extended(name: &[u8], text: &[u8]) -> Vec<u8> {
        [
            message(b'P', &[name, b"\0", text, b"\0\0\0"].concat()),
            message(b'B', &[b"\0", name, b"\0\0\0\0\0\0\0"].concat()),
            message(b'D', b"P\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
        ]
        .concat()
    }

    #[test]
    fn a_simple_query_is_a_unit() {
        let mut bytes = message(b'Q', b"SELECT 1\0");
        let length = bytes.len();
        bytes.extend(message(b'Q', b"SELECT 2\0"));
        let whole = Shape::Whole {
            length,
            texts: vec![Text::Sql(b"SELECT 1")],
            defines: vec![],
        };
        assert_eq!(shape(&bytes), whole);
    }

    #[test]
    fn extended_messages_are_a_unit_up_to_sync() {
        let unit = extended(b"s1", b"SELECT $1");
        let bytes = [unit.clone(), extended(b"", b"UPDATE t SET a = 1")].concat();
        let whole = Shape::Whole {
            length: unit.len(),
            texts: vec![Text::Sql(b"SELECT $1")],
            defines: vec![b"s1"],
        };
        assert_eq!(shape(&bytes), whole);
        let later = [
            message(b'B', b"\0s1\0\0\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
        ]
        .concat();
        assert!(matches!(shape(&later), Shape::Whole { texts, .. } if texts == [Text::Named(b"s1")]));
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let unit = extended(b"s1", b"SELECT $1");
        for cut in 0..unit.len() {
            assert_eq!(shape(&unit[..cut]), Shape::Incomplete, "cut at {cut}");
        }
    }

    #[test]
    fn flush_close_copy_and_calls_are_not_for_replicas() {
        for tag in [b'H', b'C', b'd', b'c', b'f', b'F', b'p'] {
            let bytes = [
                message(b'P', b"\0SELECT 1\0\0\0"),
                message(tag, b"\0"),
                message(b'S', b""),
            ]
            .concat();
            assert_eq!(shape(&bytes), Shape::Other, "{}", char::from(tag));
        }
        assert_eq!(shape(&message(b'S', b"")), Shape::Other);
        assert_eq!(shape(b"\xff\0\0\0\x04"), Shape::Other);
    }

    #[test]
    fn a_unit_that_is_too_large_is_not_waited_for() {
        let large = message(b'Q', &vec![b'x'; 2 * MAX_UNIT]);
        assert_eq!(shape(&large[..MAX_UNIT - 1]), Shape::Incomplete);
        assert_eq!(shape(&large[..MAX_UNIT]), Shape::Other);
    }
}
