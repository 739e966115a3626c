//! An instance's answer without its connection: for the fuzz targets.

use bytes::Bytes;
use http::header;

use super::{Reading, head, lines};
use crate::headers;
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
    agree(&rest, &head);
    drop(rest.split_to(head.length));
    for piece in pieces {
        append(&mut rest, Bytes::copy_from_slice(piece));
    }
    let answer = format!("{:?} keep {}", head.answer, head.keep);
    answer + &body(head.reading, rest)
}

/// What both readers of heads take, both must understand alike.
pub(super) fn agree(bytes: &[u8], head: &head::Head) -> bool {
    let Some(plain) = lines::read(bytes) else {
        return false;
    };
    let mut headers = head.answer.headers().clone();
    headers::strip_hop_by_hop(&mut headers);
    for of_the_edge in [header::CONTENT_LENGTH, headers::REQUEST_ID] {
        headers.remove(of_the_edge);
    }
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for (name, value) in &headers {
        fields.push([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let mut lines: Vec<&[u8]> = plain
        .lines
        .text()
        .split_inclusive(|byte| *byte == b'\n')
        .collect();
    fields.sort();
    lines.sort();
    assert_eq!(lines, fields, "other fields");
    assert_eq!(plain.lines.has_date(), headers.contains_key(header::DATE));
    let understood = (plain.length, plain.status, plain.keep, &plain.reading);
    assert_eq!(
        understood,
        (head.length, head.answer.status(), head.keep, &head.reading)
    );
    true
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
