//! Errors for people: what failed, why, and what to do next.
//!
//! ```text
//! error: failed to read banyan.toml
//!   because: No such file or directory
//! next: `banyan init` writes one
//! ```

use std::fmt;

use super::paint::Paint;

/// An error with the step that helps; keeps the causes of what it wraps.
#[derive(Debug)]
struct Advised {
    cause: anyhow::Error,
    next: String,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Advised {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

/// Text that is printed as it is: it has its own headings (all errors of a banyan.toml).
#[derive(Debug)]
pub(crate) struct Whole(pub(crate) String);

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Whole {}

/// Says what to do next about an error.
pub(crate) trait Advise<T> {
    fn next_step(self, next: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Advise<T> for Result<T, E> {
    fn next_step(self, next: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|cause| advised(cause, next))
    }
}

pub(crate) fn advised(cause: impl Into<anyhow::Error>, next: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Advised {
        cause: cause.into(),
        next: next.into(),
    })
}

/// What the controller said went wrong: its first line is the error, a last line `next: …` the next step.
pub(crate) fn from_controller(text: &str) -> anyhow::Error {
    let text = text.trim_end();
    match text.rsplit_once("\nnext: ") {
        Some((cause, next)) if !next.contains('\n') => advised(anyhow::anyhow!("{cause}"), next),
        _ => anyhow::anyhow!("{text}"),
    }
}

/// The other way round: what [`from_controller`] reads.
pub(crate) fn for_controller(error: &anyhow::Error) -> String {
    if let Some(Whole(text)) = error.downcast_ref::<Whole>() {
        return text.clone();
    }
    let plain = render(error, Paint::PLAIN);
    plain
        .strip_prefix("error: ")
        .unwrap_or(&plain)
        .trim_end()
        .to_owned()
}

/// The whole message, with a newline at its end.
pub(crate) fn render(error: &anyhow::Error, paint: Paint) -> String {
    if let Some(Whole(text)) = error.downcast_ref::<Whole>() {
        return format!("{}\n", text.trim_end());
    }
    let mut out = String::new();
    let mut said = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let text = cause.to_string();
        // A cause that its parent has already quoted says nothing new.
        if depth > 0 && said.contains(&text) {
            continue;
        }
        let mut lines = text.trim_end().lines();
        let first = lines.next().unwrap_or_default();
        match depth {
            0 => out.push_str(&format!("{} {first}\n", paint.red("error:"))),
            _ => out.push_str(&format!("  {} {first}\n", paint.dim("because:"))),
        }
        for line in lines {
            out.push_str(format!("  {line}").trim_end());
            out.push('\n');
        }
        said = text;
    }
    for next in error.chain().filter_map(|cause| cause.downcast_ref::<Advised>()) {
        out.push_str(&format!("{} {}\n", paint.cyan("next:"), next.next));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;
    use expect_test::expect;

    use super::*;

    #[test]
    fn causes_are_indented_and_the_next_step_comes_last() {
        let cause = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let result: anyhow::Result<()> = Err(cause)
            .context("failed to open the thing")
            .context("failed to read shop/banyan.toml")
            .next_step("`banyan init` writes one");
        expect![[r#"
            error: failed to read shop/banyan.toml
              because: failed to open the thing
              because: no such file
            next: `banyan init` writes one
        "#]]
        .assert_eq(&render(&result.unwrap_err(), Paint::OFF));
    }

    #[test]
    fn more_lines_of_one_message_are_indented_and_a_repeated_cause_is_left_out() {
        let result: anyhow::Result<()> = Err(anyhow::anyhow!("exit code 1"))
            .context("web.1@r1 exited (exit code 1)\nlast lines:\n  boom\n");
        expect![[r#"
            error: web.1@r1 exited (exit code 1)
              last lines:
                boom
        "#]]
        .assert_eq(&render(&result.unwrap_err(), Paint::OFF));
    }

    #[test]
    fn a_whole_text_is_printed_as_it_is() {
        let error = anyhow::Error::new(Whole("banyan.toml:3:1: unknown key\n".to_owned()));
        assert_eq!(render(&error, Paint::OFF), "banyan.toml:3:1: unknown key\n");
    }
}
