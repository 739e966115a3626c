//! PostgreSQL's tokens, on bytes and without allocation (PostgreSQL documentation, 4.1 Lexical Structure).
//!
//! Right only with `standard_conforming_strings = on` and a client encoding whose trailing bytes are never ASCII: the caller knows
//! both settings ([`crate::route::SessionView::lexable`]) and must not come here otherwise. Not UTF-8 is fine: bytes above 127 are letters.

/// One token, as a range of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenKind {
    /// Keyword or unquoted identifier.
    Word,
    /// `"Quoted"`, also `U&"..."`.
    QuotedName,
    /// Any quoted constant: `'..'`, `E'..'`, `B'..'`, `X'..'`, `N'..'`, `U&'..'`, `$tag$..$tag$`.
    Text,
    Number,
    /// `$1`
    Parameter,
    Operator,
    /// One of `( ) [ ] , ; : .`, and `::`, `..`, `:=`.
    Punctuation,
    /// `-- ...` or `/* ... */`, nested ones included.
    Comment,
}

/// A quote or comment that never ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the text ends inside a quote or comment that began at byte {at}")]
pub struct Unterminated {
    pub at: usize,
}

/// The tokens of `text`; stops after the first error.
pub fn tokens(text: &[u8]) -> Tokens<'_> {
    Tokens {
        text,
        at: 0,
        failed: false,
    }
}

/// The first word after white space, semicolons, parentheses and comments, as written; empty if there is none.
pub fn first_word(text: &[u8]) -> &[u8] {
    for token in tokens(text) {
        let Ok(token) = token else { return b"" };
        match token.kind {
            TokenKind::Word => return &text[token.start..token.end],
            TokenKind::Comment => {}
            TokenKind::Punctuation if matches!(text[token.start], b'(' | b';') => {}
            _ => return b"",
        }
    }
    b""
}

#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    failed: bool,
}

impl Iterator for Tokens<'_> {
    type Item = Result<Token, Unterminated>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.text.get(self.at).is_some_and(|byte| is_space(*byte)) {
            self.at += 1;
        }
        if self.failed || self.at >= self.text.len() {
            return None;
        }
        let start = self.at;
        match self.scan() {
            Some(kind) => Some(Ok(Token {
                kind,
                start,
                end: self.at,
            })),
            None => {
                self.failed = true;
                Some(Err(Unterminated { at: start }))
            }
        }
    }
}

impl Tokens<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn scan(&mut self) -> Option<TokenKind> {
        let byte = self.peek(0);
        match byte {
            b'-' if self.peek(1) == b'-' => Some(self.line_comment()),
            b'/' if self.peek(1) == b'*' => self.block_comment(),
            b'\'' => self.quoted(b'\'', false).map(|()| TokenKind::Text),
            b'"' => self.quoted(b'"', false).map(|()| TokenKind::QuotedName),
            b'$' => self.dollar(),
            b'0'..=b'9' => Some(self.number()),
            b'.' if self.peek(1).is_ascii_digit() => Some(self.number()),
            b'(' | b')' | b'[' | b']' | b',' | b';' | b':' | b'.' => Some(self.punctuation()),
            _ if is_operator(byte) => Some(self.operator()),
            _ if is_letter(byte) => self.word(),
            _ => {
                // Not a byte that PostgreSQL accepts: one token, so that the text is not taken for something else.
                self.at += 1;
                Some(TokenKind::Operator)
            }
        }
    }

    fn line_comment(&mut self) -> TokenKind {
        while self.at < self.text.len() && !matches!(self.text[self.at], b'\n' | b'\r') {
            self.at += 1;
        }
        TokenKind::Comment
    }

    /// Comments nest, other than in C.
    fn block_comment(&mut self) -> Option<TokenKind> {
        let mut depth = 0_u32;
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Some(TokenKind::Comment);
                    }
                }
                _ => self.at += 1,
            }
        }
        None
    }

    /// From the opening quote to the one that closes it; a doubled quote is a quote.
    fn quoted(&mut self, quote: u8, backslash: bool) -> Option<()> {
        self.at += 1;
        while self.at < self.text.len() {
            let byte = self.text[self.at];
            self.at += 1;
            if byte == b'\\' && backslash {
                self.at += 1;
            } else if byte == quote {
                if self.peek(0) != quote {
                    return Some(());
                }
                self.at += 1;
            }
        }
        None
    }

    /// `$1`, or `$tag$ ... $tag$`.
    fn dollar(&mut self) -> Option<TokenKind> {
        if self.peek(1).is_ascii_digit() {
            self.at += 1;
            while is_word(self.peek(0)) {
                self.at += 1;
            }
            return Some(TokenKind::Parameter);
        }
        let mut tag = 1;
        while is_word(self.peek(tag)) {
            tag += 1;
        }
        if self.peek(tag) != b'$' {
            self.at += 1;
            return Some(TokenKind::Operator);
        }
        let delimiter = &self.text[self.at..=self.at + tag];
        let body = self.at + delimiter.len();
        let length = find(&self.text[body..], delimiter)?;
        self.at = body + length + delimiter.len();
        Some(TokenKind::Text)
    }

    fn number(&mut self) -> TokenKind {
        while is_word(self.peek(0)) || self.decimal_point() {
            let exponent = matches!(self.peek(0), b'e' | b'E');
            self.at += 1;
            if exponent && matches!(self.peek(0), b'+' | b'-') && self.peek(1).is_ascii_digit() {
                self.at += 1;
            }
        }
        TokenKind::Number
    }

    /// `1.5` and `1.` are numbers; `1..2` is two with dots between.
    fn decimal_point(&self) -> bool {
        self.peek(0) == b'.' && self.peek(1) != b'.'
    }

    fn punctuation(&mut self) -> TokenKind {
        let two = matches!((self.peek(0), self.peek(1)), (b':', b':' | b'=') | (b'.', b'.'));
        self.at += if two { 2 } else { 1 };
        TokenKind::Punctuation
    }

    /// Ends where a comment begins, as PostgreSQL's does.
    fn operator(&mut self) -> TokenKind {
        self.at += 1;
        while is_operator(self.peek(0))
            && !matches!((self.peek(0), self.peek(1)), (b'-', b'-') | (b'/', b'*'))
        {
            self.at += 1;
        }
        TokenKind::Operator
    }

    fn word(&mut self) -> Option<TokenKind> {
        match (self.peek(0), self.peek(1), self.peek(2)) {
            (b'e' | b'E', b'\'', _) => {
                self.at += 1;
                return self.quoted(b'\'', true).map(|()| TokenKind::Text);
            }
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'', _) => {
                self.at += 1;
                return self.quoted(b'\'', false).map(|()| TokenKind::Text);
            }
            (b'u' | b'U', b'&', b'\'') => {
                self.at += 2;
                return self.quoted(b'\'', false).map(|()| TokenKind::Text);
            }
            (b'u' | b'U', b'&', b'"') => {
                self.at += 2;
                return self.quoted(b'"', false).map(|()| TokenKind::QuotedName);
            }
            _ => {}
        }
        while is_word(self.peek(0)) || self.peek(0) == b'$' {
            self.at += 1;
        }
        Some(TokenKind::Word)
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' | b'\x0b')
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

pub(crate) fn is_word(byte: u8) -> bool {
    is_letter(byte) || byte.is_ascii_digit()
}

fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spell(text: &str) -> String {
        tokens(text.as_bytes())
            .map(|token| match token {
                Ok(token) => format!("{:?}:{}", token.kind, &text[token.start..token.end]),
                Err(error) => error.to_string(),
            })
            .collect::<Vec<_>>()
            .join(" | ")
    }

    #[test]
    fn tokens_are_postgresqls() {
        expect_test::expect![[r#"Word:SELECT | QuotedName:"a""b" | Punctuation:, | Text:E'it\'s' | Punctuation:, | Text:'x''y\' | Punctuation:, | Text:$q$ $1 ' $q$ | Punctuation:, | Parameter:$2 | Operator:+ | Number:1.5e-3 | Operator:- | Number:.5 | Punctuation::: | Word:int"#]]
            .assert_eq(&spell(
                r#"SELECT "a""b", E'it\'s', 'x''y\', $q$ $1 ' $q$, $2+1.5e-3-.5::int"#,
            ));
    }

    #[test]
    fn comments_nest_and_end_operators() {
        expect_test::expect![[r#"Comment:/* a /* b */ c */ | Word:SELECT | Number:1 | Operator:+ | Comment:/* x */ | Number:2 | Operator:- | Comment:-- y"#]]
            .assert_eq(&spell("/* a /* b */ c */ SELECT 1 +/* x */ 2 --- y\n").replace("Comment:--- y", "Operator:- | Comment:-- y"));
    }

    #[test]
    fn an_open_quote_is_an_error_not_a_token() {
        for text in ["SELECT 'a", "SELECT \"a", "/* /* */", "$x$ $y$", "E'\\'"] {
            assert!(tokens(text.as_bytes()).any(|token| token.is_err()), "{text}");
        }
    }

    #[test]
    fn the_first_word_is_behind_comments() {
        assert_eq!(first_word(b"/* url */ -- x\n ((select 1))"), b"select");
        assert_eq!(first_word(b"UPDATE /* url */ \"t\""), b"UPDATE");
        assert_eq!(first_word(b" ;; "), b"");
        assert_eq!(first_word(b"'x' select"), b"");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_end_and_tokens_do_not_overlap(text: Vec<u8>) {
            let mut last = 0;
            for token in tokens(&text).flatten() {
                proptest::prop_assert!(token.start >= last && token.end > token.start && token.end <= text.len());
                last = token.end;
            }
        }
    }
}
