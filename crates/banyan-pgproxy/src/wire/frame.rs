//! Frames: a type byte, a length that counts itself, a body. Lengths are judged before anything is allocated.
//!
//! Limits are PostgreSQL's (`pqcomm.c`, `postgres.c`): messages that carry data may have 1 GiB - 1, others 30,000 bytes.

/// Type byte and length.
pub const HEADER: usize = 5;
const LARGE: usize = (1 << 30) - 1;
const SMALL: usize = 30_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub tag: u8,
    /// Bytes that follow the header.
    pub body: usize,
}

impl Head {
    /// Header and body.
    pub fn total(self) -> usize {
        HEADER + self.body
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("invalid message length {length} of message type {tag:#04x}")]
    Length { tag: u8, length: u32 },
    #[error("invalid frontend message type {tag}")]
    Type { tag: u8 },
}

/// The next message a client sends after its startup; `None`: more bytes are needed.
pub fn from_client(bytes: &[u8]) -> Result<Option<Head>, FrameError> {
    head(bytes, |tag| match tag {
        b'Q' | b'P' | b'B' | b'F' | b'd' => Some(LARGE),
        b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' => Some(SMALL),
        _ => None,
    })
}

/// The next message a server sends; `None`: more bytes are needed.
pub fn from_server(bytes: &[u8]) -> Result<Option<Head>, FrameError> {
    head(bytes, |_| Some(LARGE))
}

fn head(bytes: &[u8], limit: impl Fn(u8) -> Option<usize>) -> Result<Option<Head>, FrameError> {
    let Some(&tag) = bytes.first() else {
        return Ok(None);
    };
    let limit = limit(tag).ok_or(FrameError::Type { tag })?;
    let Some(length) = bytes.get(1..HEADER) else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
    let body = (length as usize).checked_sub(4).filter(|body| *body <= limit);
    let body = body.ok_or(FrameError::Length { tag, length })?;
    Ok(Some(Head { tag, body }))
}

/// The text up to the next zero byte and what follows it; `None`: there is no zero byte.
pub fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_from_any_prefix_that_holds_it() {
        let message = b"Q\0\0\0\x0dSELECT 1\0";
        for cut in 0..message.len() {
            let expected = (cut >= HEADER).then_some(Head { tag: b'Q', body: 9 });
            assert_eq!(from_client(&message[..cut]).unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_length_is_refused_before_its_bytes_come() {
        for (tag, length) in [(b'Q', 3), (b'Q', 0x4000_0004), (b'S', 30_005), (b'E', u32::MAX)] {
            let mut bytes = vec![tag];
            bytes.extend(length.to_be_bytes());
            assert_eq!(from_client(&bytes), Err(FrameError::Length { tag, length }));
        }
    }

    #[test]
    fn an_unknown_type_is_refused_by_its_first_byte() {
        assert_eq!(from_client(b"z"), Err(FrameError::Type { tag: b'z' }));
    }
}
