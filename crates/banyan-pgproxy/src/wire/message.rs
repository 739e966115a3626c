//! Single messages: written into buffers, read from bodies. Source: PostgreSQL "Message Formats".

use super::frame::text;
use super::startup::CancelKey;

/// Writes a message: `fill` appends the body.
pub fn write(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend([0; 4]);
    fill(out);
    let length =
        u32::try_from(out.len() - at).expect("messages of ours are small, those of others were judged");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
    out.push(0);
}

pub fn ready(out: &mut Vec<u8>, status: u8) {
    out.extend([b'Z', 0, 0, 0, 5, status]);
}

pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    write(out, b'S', |body| {
        put_text(body, name.as_bytes());
        put_text(body, value.as_bytes());
    });
}

pub fn backend_key(out: &mut Vec<u8>, key: CancelKey) {
    write(out, b'K', |body| {
        body.extend(key.process.to_be_bytes());
        body.extend(key.secret.to_be_bytes());
    });
}

/// An authentication request: 0 is "done".
pub fn authentication(out: &mut Vec<u8>, kind: u32, data: &[u8]) {
    write(out, b'R', |body| {
        body.extend(kind.to_be_bytes());
        body.extend(data);
    });
}

/// We speak 3.0; these extensions are not known.
pub fn negotiate_version(out: &mut Vec<u8>, unknown: &[String]) {
    write(out, b'v', |body| {
        body.extend(0_u32.to_be_bytes());
        body.extend(u32::try_from(unknown.len()).unwrap_or(u32::MAX).to_be_bytes());
        for name in unknown {
            put_text(body, name.as_bytes());
        }
    });
}

pub fn query(out: &mut Vec<u8>, sql: &str) {
    write(out, b'Q', |body| put_text(body, sql.as_bytes()));
}

pub fn command_complete(out: &mut Vec<u8>, tag: &str) {
    write(out, b'C', |body| put_text(body, tag.as_bytes()));
}

pub fn sync(out: &mut Vec<u8>) {
    out.extend([b'S', 0, 0, 0, 4]);
}

pub fn flush(out: &mut Vec<u8>) {
    out.extend([b'H', 0, 0, 0, 4]);
}

/// `types`: as the client sent them, count included.
pub fn parse(out: &mut Vec<u8>, name: &str, sql: &[u8], types: &[u8]) {
    write(out, b'P', |body| {
        put_text(body, name.as_bytes());
        put_text(body, sql);
        body.extend_from_slice(types);
    });
}

pub fn close_statement(out: &mut Vec<u8>, name: &str) {
    write(out, b'C', |body| {
        body.push(b'S');
        put_text(body, name.as_bytes());
    });
}

/// The three parts of a Parse body: name, text, parameter types with their count.
pub fn read_parse(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = text(body)?;
    let (sql, types) = text(rest)?;
    let count = u16::from_be_bytes(*types.first_chunk::<2>()?);
    (types.len() == 2 + 4 * usize::from(count)).then_some((name, sql, types))
}

/// Portal and statement of a Bind, and how many bytes they take with their zero bytes.
pub fn read_bind(body: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let (portal, rest) = text(body)?;
    let (statement, _) = text(rest)?;
    Some((portal, statement, portal.len() + statement.len() + 2))
}

/// Kind (`S` or `P`) and name of a Describe or Close.
pub fn read_target(body: &[u8]) -> Option<(u8, &[u8])> {
    let (&kind, rest) = body.split_first()?;
    let (name, rest) = text(rest)?;
    (rest.is_empty() && matches!(kind, b'S' | b'P')).then_some((kind, name))
}

/// A field of an ErrorResponse or NoticeResponse: `C` is the SQLSTATE, `M` the message.
pub fn error_field(body: &[u8], field: u8) -> Option<&[u8]> {
    let mut rest = body;
    loop {
        let (&kind, after) = rest.split_first()?;
        if kind == 0 {
            return None;
        }
        let (value, after) = text(after)?;
        if kind == field {
            return Some(value);
        }
        rest = after;
    }
}

/// Name and value of a ParameterStatus.
pub fn read_parameter(body: &[u8]) -> Option<(&str, &str)> {
    let (name, rest) = text(body)?;
    let (value, _) = text(rest)?;
    Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
}

/// The columns of a DataRow in text.
pub fn read_row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        if length < 0 {
            columns.push(None);
            rest = after;
            continue;
        }
        let value = after.get(..length as usize)?;
        columns.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = &after[length as usize..];
    }
    Some(columns)
}

/// A result of text columns: RowDescription, rows. CommandComplete is the caller's.
pub fn row_description(out: &mut Vec<u8>, columns: &[&str]) {
    const TEXT: u32 = 25;
    write(out, b'T', |body| {
        body.extend(u16::try_from(columns.len()).unwrap_or(u16::MAX).to_be_bytes());
        for name in columns {
            put_text(body, name.as_bytes());
            body.extend([0; 6]);
            body.extend(TEXT.to_be_bytes());
            body.extend((-1_i16).to_be_bytes());
            body.extend((-1_i32).to_be_bytes());
            body.extend([0; 2]);
        }
    });
}

pub fn data_row(out: &mut Vec<u8>, values: &[String]) {
    write(out, b'D', |body| {
        body.extend(u16::try_from(values.len()).unwrap_or(u16::MAX).to_be_bytes());
        for value in values {
            body.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
            body.extend(value.as_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parse_is_read_as_it_was_written_and_a_torn_one_is_not() {
        let mut out = Vec::new();
        parse(&mut out, "s1", b"SELECT $1", &[0, 1, 0, 0, 0, 23]);
        let body = &out[5..];
        assert_eq!(
            read_parse(body),
            Some((&b"s1"[..], &b"SELECT $1"[..], &[0, 1, 0, 0, 0, 23][..]))
        );
        for cut in 0..body.len() {
            assert_eq!(read_parse(&body[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn error_fields_are_found_and_torn_ones_are_none() {
        let body = b"SERROR\0C26000\0Mnot there\0\0";
        assert_eq!(error_field(body, b'C'), Some(&b"26000"[..]));
        assert_eq!(error_field(body, b'H'), None);
        for cut in 0..14 {
            assert_eq!(error_field(&body[..cut], b'M'), None);
        }
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let mut out = Vec::new();
        data_row(&mut out, &["a".into(), String::new()]);
        assert_eq!(
            read_row(&out[5..]),
            Some(vec![Some("a".into()), Some(String::new())])
        );
        assert_eq!(read_row(&[0, 1, 255, 255, 255, 255]), Some(vec![None]));
        assert_eq!(read_row(&[0, 1, 0, 0, 0, 9, b'x']), None);
    }
}
