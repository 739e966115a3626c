//! The template of a statement: its tokens with a slot for each literal, comments dropped. Statements of one template have the same
//! tree but for constants, hence the same route; it is the key of the plan cache.

use super::hint::Hint;
use super::lex::{TokenKind, Unterminated, tokens};

/// What a template says besides its bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Template {
    pub hint: Option<Hint>,
    /// Literals in lists count once.
    pub slots: u32,
}

/// Writes the template of `text` into `key`, whose content is replaced (the buffer is the caller's, so a known statement allocates
/// nothing). Lists of literals shrink to one slot: neither route nor tables depend on how many there are.
///
/// # Errors
/// A quote or comment that does not end.
pub fn write(text: &[u8], key: &mut Vec<u8>) -> Result<Template, Unterminated> {
    key.clear();
    let mut template = Template::default();
    let mut shape = Shape::Other;
    for token in tokens(text) {
        let token = token?;
        let bytes = &text[token.start..token.end];
        match token.kind {
            TokenKind::Comment => template.hint = template.hint.or(Hint::of_comment(bytes)),
            TokenKind::Text | TokenKind::Number => {
                let slot: &[u8] = if token.kind == TokenKind::Text {
                    b"?s"
                } else {
                    b"?n"
                };
                if shape == Shape::SlotComma && key.ends_with(&[slot, b" ,"].concat()) {
                    key.truncate(key.len() - 2);
                } else {
                    push(key, slot);
                    template.slots += 1;
                }
                shape = Shape::Slot;
            }
            TokenKind::Punctuation if bytes == b"," && shape == Shape::Slot => {
                push(key, bytes);
                shape = Shape::SlotComma;
            }
            _ => {
                push(key, bytes);
                shape = Shape::Other;
            }
        }
    }
    Ok(template)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Shape {
    Slot,
    SlotComma,
    Other,
}

fn push(key: &mut Vec<u8>, token: &[u8]) {
    if !key.is_empty() {
        key.push(b' ');
    }
    key.extend_from_slice(token);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        let mut key = Vec::new();
        write(text.as_bytes(), &mut key).expect("terminated");
        String::from_utf8(key).expect("UTF-8")
    }

    #[test]
    fn literals_are_slots_and_lists_are_one() {
        assert_eq!(
            key("SELECT * FROM t WHERE a=1 AND b='x'"),
            "SELECT * FROM t WHERE a = ?n AND b = ?s"
        );
        assert_eq!(key("a IN (1, 2,3)"), key("a IN (7)"));
        assert_eq!(key("a IN ('1','2')"), "a IN ( ?s )");
        assert_ne!(key("f(1,'2')"), key("f(1)"));
    }

    #[test]
    fn what_is_quoted_stays_apart_from_what_is_not() {
        assert_ne!(key(r#"SELECT "a""#), key("SELECT a"));
        assert_ne!(key("SELECT 'a'"), key("SELECT a"));
        assert_ne!(key("SELECT 'nextval(1)'"), key("SELECT nextval(1)"));
    }

    #[test]
    fn comments_go_and_hints_are_kept_apart() {
        let mut buffer = Vec::new();
        let template =
            write(b"/* x */ SELECT /* banyan: fresh=primary */ 1 -- y", &mut buffer).expect("terminated");
        assert_eq!(template.hint, Some(Hint::Primary));
        assert_eq!(buffer, b"SELECT ?n");
    }

    #[test]
    fn a_comment_inside_text_is_text() {
        let mut buffer = Vec::new();
        let template = write(b"SELECT '/* banyan: fresh=off */'", &mut buffer).expect("terminated");
        assert_eq!(template.hint, None);
    }
}
