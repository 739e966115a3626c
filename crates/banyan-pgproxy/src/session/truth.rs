//! After statements that may have changed the session, the server itself is asked what the session is now.
//!
//! One row of text: what would tie the session to its backend, then the settings that were touched. It is asked outside
//! a transaction, so that what a rollback took back is not seen, whoever made it.

use std::fmt::Write as _;

use super::scan::Marks;
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

/// The question for these marks and settings.
pub(crate) fn question(marks: Marks, names: &[Box<str>]) -> String {
    let mut sql = String::from("SELECT 0");
    for (_, count) in TIES.iter().filter(|(mark, _)| marks.has(*mark)) {
        let _infallible = write!(sql, ", {count}");
    }
    for name in names {
        let name = literal(name);
        let _infallible = write!(sql, ", pg_catalog.current_setting({name}, true)");
    }
    sql
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Of those asked for: what is there.
    pub(crate) ties: Marks,
    /// In the order of the names; `None`: there is no such setting.
    pub(crate) values: Vec<Option<String>>,
}

/// `None`: not the row that was asked for.
pub(crate) fn answer(marks: Marks, names: usize, row: Vec<Option<String>>) -> Option<Answer> {
    let mut row = row.into_iter().skip(1);
    let mut ties = Marks::NONE;
    for (mark, _) in TIES.iter().filter(|(mark, _)| marks.has(*mark)) {
        let count: u64 = row.next()??.parse().ok()?;
        if count > 0 {
            ties = ties.with(*mark);
        }
    }
    let values: Vec<_> = row.collect();
    (values.len() == names).then_some(Answer { ties, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_read_in_the_order_of_the_question() {
        let marks = Marks::ADVISORY.with(Marks::LISTEN).with(Marks::SETTINGS);
        let names = ["work_mem".into(), "my.x".into()];
        let sql = question(marks, &names);
        assert!(
            sql.contains("pg_locks") && sql.contains("pg_listening_channels") && !sql.contains("pg_cursors")
        );
        let row = ["0", "2", "0", "4MB"].map(|v| Some(v.to_owned()));
        let row: Vec<_> = row.into_iter().chain([None]).collect();
        let expected = Answer {
            ties: Marks::ADVISORY,
            values: vec![Some("4MB".into()), None],
        };
        assert_eq!(answer(marks, 2, row), Some(expected));
        assert_eq!(answer(marks, 2, vec![Some("0".into())]), None);
    }
}
