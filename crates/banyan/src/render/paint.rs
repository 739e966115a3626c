//! Colour: decided once per stream, so that text is the same with and without it.

use std::io::IsTerminal;

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
    Blue,
    Magenta,
    Cyan,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Blue => "34",
            Self::Magenta => "35",
            Self::Cyan => "36",
        }
    }
}

/// Colours text, or leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// Text that another process shows.
    pub(crate) const PLAIN: Self = Self { on: false };
    #[cfg(test)]
    pub(crate) const OFF: Self = Self { on: false };
    #[cfg(test)]
    pub(crate) const ON: Self = Self { on: true };

    pub(crate) fn new(when: When, no_color: bool, stream: &impl IsTerminal) -> Self {
        let on = match when {
            When::Always => true,
            When::Never => false,
            When::Auto => !no_color && stream.is_terminal(),
        };
        Self { on }
    }

    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    pub(crate) fn with(self, style: Style, text: &str) -> String {
        if self.on && style != Style::Plain && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", style.code())
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with(Style::Bold, text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with(Style::Dim, text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.with(Style::Red, text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.with(Style::Green, text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.with(Style::Yellow, text)
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.with(Style::Cyan, text)
    }
}
