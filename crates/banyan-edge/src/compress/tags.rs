//! Entity tags of compressed answers: `"v1"` in brotli is `"v1~br"`, so that a strong tag stands for the same bytes everywhere
//! (RFC 9110 §8.8.3.3), and who asks with it is understood. Pure.

use banyan_config::Coding;

/// The tag of the compressed form. `None`: a weak one says the same of both, or it is no tag.
pub(super) fn marked(tag: &str, coding: Coding) -> Option<String> {
    let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
    Some(format!("\"{inner}~{}\"", coding.name()))
}

/// A list of conditions (`If-None-Match`, `If-Match`) without the marks of these codings; `None`: it has none.
pub(super) fn unmarked(list: &str, codings: &[Coding]) -> Option<String> {
    let mut plain = list.to_owned();
    for coding in codings {
        // A quote cannot be part of a tag.
        plain = plain.replace(&format!("~{}\"", coding.name()), "\"");
    }
    (plain != list).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_off_again() {
        assert_eq!(marked("\"v1\"", Coding::Brotli).as_deref(), Some("\"v1~br\""));
        assert_eq!(marked("W/\"v1\"", Coding::Brotli), None);
        assert_eq!(marked("v1", Coding::Gzip), None);
        let list = "\"a~gzip\", W/\"b~br\", \"c\"";
        assert_eq!(
            unmarked(list, &[Coding::Brotli]).as_deref(),
            Some("\"a~gzip\", W/\"b\", \"c\"")
        );
        assert_eq!(
            unmarked(list, &Coding::ALL).as_deref(),
            Some("\"a\", W/\"b\", \"c\"")
        );
        assert_eq!(unmarked("*", &Coding::ALL), None);
        assert_eq!(unmarked("\"~brx\"", &Coding::ALL), None);
    }
}
