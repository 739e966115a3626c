//! Aligned columns. Widths come from the text alone, so colour never moves a column.

use super::paint::{Paint, Style};

#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) style: Style,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::styled(text, Style::Plain)
    }

    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self {
            text: text.into(),
            style,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// `header` in bold, then the rows; columns are two spaces apart; no trailing spaces.
pub(crate) fn render(header: &[(&str, Align)], rows: &[Vec<Cell>], paint: Paint) -> String {
    let mut widths: Vec<usize> = header.iter().map(|(name, _)| name.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    let titles: Vec<Cell> = header
        .iter()
        .map(|(name, _)| Cell::styled(*name, Style::Bold))
        .collect();
    let aligns: Vec<Align> = header.iter().map(|(_, align)| *align).collect();
    std::iter::once(&titles)
        .chain(rows)
        .map(|row| line(row, &widths, &aligns, paint) + "\n")
        .collect()
}

fn line(row: &[Cell], widths: &[usize], aligns: &[Align], paint: Paint) -> String {
    let mut out = String::new();
    let mut owed = 0;
    for ((cell, width), align) in row.iter().zip(widths).zip(aligns) {
        let pad = width - cell.text.chars().count();
        let before = if *align == Align::Right { pad } else { 0 };
        if !cell.text.is_empty() {
            out.push_str(&" ".repeat(owed + before));
            out.push_str(&paint.with(cell.style, &cell.text));
            owed = 0;
        } else {
            owed += before;
        }
        owed += 2 + pad - before;
    }
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn columns_align_and_lines_have_no_trailing_space() {
        let rows = vec![
            vec![Cell::new("edge"), Cell::new("9"), Cell::new("")],
            vec![Cell::new("web.1@r3"), Cell::new("12345"), Cell::new("x")],
            vec![Cell::new("a"), Cell::new(""), Cell::new("y")],
        ];
        let header = [
            ("NAME", Align::Left),
            ("PID", Align::Right),
            ("NOTE", Align::Left),
        ];
        let text = render(&header, &rows, Paint::OFF);
        expect![[r#"
            NAME        PID  NOTE
            edge          9
            web.1@r3  12345  x
            a                y
        "#]]
        .assert_eq(&text);
    }
}
