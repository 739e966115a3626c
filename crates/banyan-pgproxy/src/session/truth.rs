//! After statements that may have changed the session, the server itself is asked what the session is now.
//!
//! One row of text: what would tie the session to its backend, then the settings that were touched. It is asked outside
//! a transaction, so that what a rollback took back is not seen, whoever made it.

use std::fmt::Write as _;

use super::marks::{Marks, Touched};
use super::settings::literal;

const TIES: [(Marks, &str); 5] = [
    (
        Marks::TEMPORARY,
        "(SELECT count(*) FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()) + \
         (SELECT count(*) FROM pg_catalog.pg_proc WHERE pronamespace = pg_catalog.pg_my_temp_schema()) + \
         (SELECT count(*) FROM pg_catalog.pg_type WHERE typnamespace = pg_catalog.pg_my_temp_schema())",
    ),
    (
        Marks::ADVISORY,
        "(SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid())",
    ),
    (
        Marks::CURSOR,
        "(SELECT count(*) FROM pg_catalog.pg_cursors WHERE is_holdable)",
    ),
    (
        Marks::PREPARED,
        "(SELECT count(*) FROM pg_catalog.pg_prepared_statements WHERE from_sql)",
    ),
    (
        Marks::LISTEN,
        "(SELECT count(*) FROM pg_catalog.pg_listening_channels())",
    ),
];

/// All that is set in the session, as far as the server tells: not those that nobody has defined (`my.tenant`), nor who the
/// session is. Names and values end with bytes that neither holds.
const SET_NOW: &str = ", (SELECT pg_catalog.string_agg(name || pg_catalog.chr(1) || \
    pg_catalog.current_setting(name), pg_catalog.chr(2)) FROM pg_catalog.pg_settings WHERE source = 'session')";

/// What is to be asked for: after code that cannot be looked into, everything.
pub(crate) fn all_of(marks: Marks) -> Marks {
    if !marks.has(Marks::HIDDEN) {
        return marks;
    }
    TIES.iter().fold(marks, |marks, (mark, _)| marks.with(*mark))
}

/// The question for these marks and settings.
///
/// Of a setting that was reset the value does not tell whether a rollback took that back: it may have been set to the
/// server's default before. Where the value comes from does.
pub(crate) fn question(marks: Marks, touched: &[Touched]) -> String {
    let mut sql = String::from("SELECT 0");
    for (_, count) in TIES.iter().filter(|(mark, _)| marks.has(*mark)) {
        let _infallible = write!(sql, ", {count}");
    }
    if marks.has(Marks::HIDDEN) {
        sql.push_str(SET_NOW);
    }
    for one in touched {
        let name = literal(&one.name);
        let _infallible = write!(sql, ", pg_catalog.current_setting({name}, true)");
        if one.reset {
            let _infallible = write!(
                sql,
                ", (SELECT source FROM pg_catalog.pg_settings WHERE pg_catalog.lower(name) = {name})"
            );
        }
    }
    sql
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Of those asked for: what is there.
    pub(crate) ties: Marks,
    /// In the order of the names.
    pub(crate) values: Vec<Value>,
    /// All that is set, if that was asked for.
    pub(crate) set: Option<Vec<(String, String)>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Value {
    /// `None`: there is no such setting.
    pub(crate) text: Option<String>,
    /// It is not the session's own any more.
    pub(crate) reset: bool,
}

/// `None`: not the row that was asked for.
pub(crate) fn answer(marks: Marks, touched: &[Touched], row: Vec<Option<String>>) -> Option<Answer> {
    let mut row = row.into_iter().skip(1);
    let mut ties = Marks::NONE;
    for (mark, _) in TIES.iter().filter(|(mark, _)| marks.has(*mark)) {
        let count: u64 = row.next()??.parse().ok()?;
        if count > 0 {
            ties = ties.with(*mark);
        }
    }
    let set = match marks.has(Marks::HIDDEN) {
        true => Some(pairs(row.next()?.as_deref().unwrap_or_default())?),
        false => None,
    };
    let mut values = Vec::with_capacity(touched.len());
    for one in touched {
        let text = row.next()?;
        let reset = one.reset && row.next()?.as_deref() != Some("session");
        values.push(Value { text, reset });
    }
    row.next().is_none().then_some(Answer { ties, values, set })
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split('\u{2}').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('\u{1}')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_read_in_the_order_of_the_question() {
        let marks = Marks::ADVISORY.with(Marks::LISTEN).with(Marks::SETTINGS);
        let touched =
            [("work_mem", false), ("timezone", true), ("my.x", true)].map(|(name, reset)| Touched {
                name: name.into(),
                reset,
            });
        let sql = question(marks, &touched);
        assert!(
            sql.contains("pg_locks") && sql.contains("pg_listening_channels") && !sql.contains("pg_cursors")
        );
        assert_eq!(sql.matches("pg_settings").count(), 2);
        let row = ["0", "2", "0", "4MB", "UTC", "session"].map(|v| Some(v.to_owned()));
        let row: Vec<_> = row.into_iter().chain([None, None]).collect();
        let value = |text: Option<&str>, reset| Value {
            text: text.map(String::from),
            reset,
        };
        let expected = Answer {
            ties: Marks::ADVISORY,
            values: vec![
                value(Some("4MB"), false),
                value(Some("UTC"), false),
                value(None, true),
            ],
            set: None,
        };
        assert_eq!(answer(marks, &touched, row), Some(expected));
        assert_eq!(answer(marks, &touched, vec![Some("0".into())]), None);
    }

    #[test]
    fn after_code_that_cannot_be_looked_into_everything_is_asked_for() {
        let marks = all_of(Marks::HIDDEN);
        let sql = question(marks, &[]);
        assert!(sql.contains("pg_locks") && sql.contains("pg_cursors") && sql.contains("'session'"));
        let ties = TIES.len();
        let row = |set: Option<&str>| {
            let zeros = (0..=ties).map(|_| Some("0".to_owned()));
            zeros.chain([set.map(str::to_owned)]).collect::<Vec<_>>()
        };
        let found = answer(marks, &[], row(Some("work_mem\u{1}4MB\u{2}search_path\u{1}a, b"))).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            found.set,
            Some(vec![pair("work_mem", "4MB"), pair("search_path", "a, b")])
        );
        assert_eq!(answer(marks, &[], row(None)).unwrap().set, Some(Vec::new()));
    }
}
