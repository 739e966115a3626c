//! An instance's answer without its connection: for the fuzz targets.

use bytes::Bytes;

use super::{Reading, head};
use crate::http1::chunked::Piece;
use crate::http1::reading::append;

/// What is understood of the answer to a GET whose bytes come in pieces of `size`.
pub fn trial(bytes: &[u8], size: usize) -> String {
    let mut pieces = bytes.chunks(size.clamp(1, bytes.len().max(1)));
    let mut rest = Bytes::new();
    let head = loop {
        match head::read(&rest, false) {
            Ok(Some(head)) => break head,
            Ok(None) => match pieces.next() {
                Some(piece) => append(&mut rest, Bytes::copy_from_slice(piece)),
                None => return "not complete".to_owned(),
            },
            Err(_broke) => return "refused".to_owned(),
        }
    };
    drop(rest.split_to(head.length));
    for piece in pieces {
        append(&mut rest, Bytes::copy_from_slice(piece));
    }
    let answer = format!("{:?} keep {}", head.answer, head.keep);
    answer + &body(head.reading, rest)
}

fn body(reading: Reading, mut rest: Bytes) -> String {
    let Reading::Chunked(mut chunked) = reading else {
        let left = match reading {
            Reading::Length(length) => format!("{length} bytes"),
            Reading::ToTheEnd => "all".to_owned(),
            Reading::Head | Reading::Done | Reading::Chunked(_) => "nothing".to_owned(),
        };
        return format!(" then {left} of {}", rest.escape_ascii());
    };
    let mut data = Vec::new();
    loop {
        match chunked.next(&mut rest) {
            Ok(Piece::Data(piece)) => data.extend(piece),
            Ok(Piece::Trailers(fields)) => data.extend(format!("{fields:?}").bytes()),
            Ok(Piece::End) => return format!(" {}, then {}", data.escape_ascii(), rest.escape_ascii()),
            Ok(Piece::More) => return format!(" {}, more", data.escape_ascii()),
            Err(why) => return format!(" {}, {why}", data.escape_ascii()),
        }
    }
}
