//! Paths of google.api.http rules: `/v1/{name=shelves/*}/books/{id}:move` (google/api/http.proto). Pure.

use std::cmp::Ordering;

/// A parsed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    segments: Vec<Segment>,
    /// Behind the last `:`.
    verb: Option<String>,
    variables: Vec<Variable>,
}

/// From the most to the least specific.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    /// `*`
    One,
    /// `**`: any number, at the end only.
    Rest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// `book.id`
    pub(crate) field: String,
    from: usize,
    /// Behind the last.
    to: usize,
}

struct Parser<'a> {
    rest: &'a str,
    template: Template,
}

impl Template {
    /// The error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or("it does not begin with `/`")?;
        let template = Self {
            segments: Vec::new(),
            verb: None,
            variables: Vec::new(),
        };
        let mut parser = Parser { rest, template };
        parser.segments(true)?;
        if let Some(verb) = parser.rest.strip_prefix(':') {
            if verb.is_empty() || verb.contains(['/', '{', '}', '*', ':']) {
                return Err(format!("`:{verb}` is no verb"));
            }
            parser.template.verb = Some(verb.to_owned());
        } else if !parser.rest.is_empty() {
            return Err(format!("`{}` cannot follow", parser.rest));
        }
        parser.template.judge()
    }

    fn judge(self) -> Result<Self, String> {
        let early = self
            .segments
            .iter()
            .rev()
            .skip(1)
            .any(|one| *one == Segment::Rest);
        if early {
            return Err("`**` is not at the end".to_owned());
        }
        for (n, variable) in self.variables.iter().enumerate() {
            if self.variables[..n]
                .iter()
                .any(|other| other.field == variable.field)
            {
                return Err(format!("`{}` is there twice", variable.field));
            }
        }
        Ok(self)
    }

    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Whether both take the same paths.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.segments == other.segments && self.verb == other.verb
    }

    /// Which is asked first.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let verb = other.verb.is_some().cmp(&self.verb.is_some());
        verb.then_with(|| self.segments.cmp(&other.segments))
    }

    /// The values of the variables in a decoded path; `None`: it is another.
    pub(crate) fn captures(&self, path: &str) -> Option<Vec<String>> {
        let path = path.strip_prefix('/')?;
        let path = match &self.verb {
            Some(verb) => path.strip_suffix(verb.as_str())?.strip_suffix(':')?,
            None => path,
        };
        let parts: Vec<&str> = path.split('/').collect();
        let open = self.segments.last() == Some(&Segment::Rest);
        let fixed = self.segments.len() - usize::from(open);
        if parts.len() < fixed || (!open && parts.len() > fixed) {
            return None;
        }
        let fits = |(segment, part): (&Segment, &&str)| match segment {
            Segment::Literal(text) => text == part,
            Segment::One => !part.is_empty(),
            Segment::Rest => true,
        };
        if !self.segments.iter().zip(&parts).all(fits) {
            return None;
        }
        let value = |variable: &Variable| {
            let open = open && variable.to == self.segments.len();
            let to = if open { parts.len() } else { variable.to };
            parts[variable.from.min(to)..to].join("/")
        };
        Some(self.variables.iter().map(value).collect())
    }
}

impl Parser<'_> {
    /// `outside`: of a variable, which cannot be within another.
    fn segments(&mut self, outside: bool) -> Result<(), String> {
        loop {
            self.segment(outside)?;
            match self.rest.strip_prefix('/') {
                Some(rest) => self.rest = rest,
                None => return Ok(()),
            }
        }
    }

    fn segment(&mut self, outside: bool) -> Result<(), String> {
        if let Some(rest) = self.rest.strip_prefix('{') {
            if !outside {
                return Err("a variable is within another".to_owned());
            }
            self.rest = rest;
            return self.variable();
        }
        let end = self
            .rest
            .find(['/', '{', '}', ':', '='])
            .unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.template.segments.push(match text {
            "" => return Err("a segment is empty".to_owned()),
            "*" => Segment::One,
            "**" => Segment::Rest,
            text if text.contains(['*', '?', '#', '%']) => return Err(format!("`{text}` is no segment")),
            text => Segment::Literal(text.to_owned()),
        });
        Ok(())
    }

    fn variable(&mut self) -> Result<(), String> {
        let end = self.rest.find(['=', '}']).ok_or("a `{` has no `}`")?;
        let (field, rest) = self.rest.split_at(end);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if !field
            .split('.')
            .all(|one| !one.is_empty() && one.bytes().all(plain))
        {
            return Err(format!("`{{{field}}}` names no field"));
        }
        let from = self.template.segments.len();
        match rest.strip_prefix('=') {
            Some(inner) => {
                self.rest = inner;
                self.segments(false)?;
            }
            None => {
                self.rest = rest;
                self.template.segments.push(Segment::One);
            }
        }
        self.rest = self.rest.strip_prefix('}').ok_or("a `{` has no `}`")?;
        self.template.variables.push(Variable {
            field: field.to_owned(),
            from,
            to: self.template.segments.len(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_by_templates() {
        let captures = |template: &str, path: &str| {
            let found = Template::parse(template).unwrap().captures(path);
            found.map(|values| values.join(" | "))
        };
        for (template, path, expected) in [
            ("/v1/items", "/v1/items", Some("")),
            ("/v1/items", "/v1/items/", None),
            ("/v1/items/{id}", "/v1/items/7", Some("7")),
            ("/v1/items/{id}", "/v1/items/", None),
            ("/v1/items/{id}", "/v1/items/7/8", None),
            (
                "/v1/{name=shelves/*/books/*}",
                "/v1/shelves/a/books/b",
                Some("shelves/a/books/b"),
            ),
            ("/v1/{a}/x/{b.c}", "/v1/1/x/2", Some("1 | 2")),
            ("/v1/{rest=**}", "/v1/a/b/c", Some("a/b/c")),
            ("/v1/{rest=files/**}", "/v1/files", Some("files")),
            ("/v1/**", "/v1", Some("")),
            ("/v1/items/{id}:move", "/v1/items/7:move", Some("7")),
            ("/v1/items/{id}:move", "/v1/items/7", None),
            ("/v1/items/{id}", "/v1/items/7:move", Some("7:move")),
            ("/v1/*/x", "/v1//x", None),
        ] {
            assert_eq!(
                captures(template, path).as_deref(),
                expected,
                "{template} of {path}"
            );
        }
    }

    #[test]
    fn what_is_no_template_says_why() {
        for (text, why) in [
            ("v1", "it does not begin with `/`"),
            ("/", "a segment is empty"),
            ("/v1/", "a segment is empty"),
            ("/v1//x", "a segment is empty"),
            ("/v1/{id", "a `{` has no `}`"),
            ("/v1/{id=x", "a `{` has no `}`"),
            ("/v1/{a={b}}", "a variable is within another"),
            ("/v1/{a-b}", "`{a-b}` names no field"),
            ("/v1/{}", "`{}` names no field"),
            ("/v1/{a}x", "`x` cannot follow"),
            ("/v1/{a=**}/x", "`**` is not at the end"),
            ("/v1/{a}/{a}", "`a` is there twice"),
            ("/v1/x:", "`:` is no verb"),
            ("/v1/x*", "`x*` is no segment"),
            ("/v1/x?y=1", "`x?y` is no segment"),
        ] {
            assert_eq!(Template::parse(text).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn the_more_specific_is_asked_first() {
        let mut all =
            ["/v1/**", "/v1/{a}", "/v1/{a}:x", "/v1/a", "/v1/a:x"].map(|t| (t, Template::parse(t).unwrap()));
        all.sort_by(|(_, a), (_, b)| a.order(b));
        assert_eq!(
            all.map(|(text, _)| text),
            ["/v1/a:x", "/v1/{a}:x", "/v1/a", "/v1/{a}", "/v1/**"]
        );
    }
}
