//! What a later process reads, whatever happened to the file.

use super::*;

const PROBE: u64 = 5;

fn rows(names: impl IntoIterator<Item = u64>) -> Vec<Noted> {
    let row = |name| noted(Names::Name(name), 0, 0, name);
    names.into_iter().map(row).collect()
}

fn path(folder: &Path, epoch: u32) -> PathBuf {
    folder.join(format!("{NAME}{epoch:08x}"))
}

/// By a later process of the same boot.
fn read(folder: &Path, epoch: u32) -> Option<Past> {
    let boot = fs::read_to_string(BOOT).unwrap();
    Past::read(&fs::read(path(folder, epoch)).unwrap(), boot.trim(), PROBE, true)
}

#[test]
fn what_was_noted_is_read_in_whatever_form() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::begin(dir.path(), 7, PROBE);
    journal.note_eras(&[(3, true), (4, false)]);
    journal.note_log("a", 1);
    let all = [Names::Glob("*.css".to_owned()), Names::All, Names::Floor];
    let all: Vec<Noted> = all.into_iter().map(|names| noted(names, 8, 9, 10)).collect();
    journal.note(&all);
    journal.note_log("a", 2);
    let past = read(dir.path(), 1).unwrap();
    let expected = Past {
        eras: vec![(7, true), (3, true), (4, false)],
        rows: all,
        log: "a".to_owned(),
        seq: 2,
    };
    assert_eq!(past, expected);
    let bytes = fs::read(path(dir.path(), 1)).unwrap();
    for (boot, dead) in [("another", true), ("", true)] {
        let past = Past::read(&bytes, boot, PROBE, dead).unwrap();
        assert!(past.eras.iter().all(|(_, sure)| !sure));
    }
    assert_eq!(Past::read(&bytes, "", PROBE + 1, true), None, "another hasher");
}

#[test]
fn a_file_cut_anywhere_is_its_whole_lines_and_a_damaged_one_in_the_middle_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::begin(dir.path(), 7, PROBE);
    journal.note(&rows(1..=3));
    let whole = fs::read(path(dir.path(), 1)).unwrap();
    let ends: Vec<usize> = (1..=whole.len()).filter(|at| whole[at - 1] == b'\n').collect();
    for cut in 0..=whole.len() {
        let past = Past::read(&whole[..cut], "", PROBE, true);
        let lines = ends.iter().filter(|end| **end <= cut).count();
        // The first two are not rows.
        assert_eq!(
            past.map(|past| past.rows.len()),
            (lines > 0).then(|| lines.saturating_sub(2)),
            "cut at {cut}"
        );
    }
    for at in 0..ends[ends.len() - 2] - 1 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert_eq!(Past::read(&bytes, "", PROBE, true), None, "byte {at}");
    }
}

#[test]
fn processes_count_on_and_the_dead_are_told_from_the_living() {
    let dir = tempfile::tempdir().unwrap();
    let first = Journal::begin(dir.path(), 1, PROBE);
    let second = Journal::begin(dir.path(), 2, PROBE);
    let third = Journal::begin(dir.path(), 3, PROBE);
    assert_eq!([first.epoch, second.epoch, third.epoch], [1, 2, 3]);
    drop(first);
    let dead: Vec<bool> = third.others().iter().map(Other::is_dead).collect();
    assert_eq!(dead, [true, false]);
    assert_eq!(second.others().len(), 1, "what began later is not looked at");
    third
        .others()
        .into_iter()
        .for_each(|other| other.remove().unwrap());
    assert_eq!(epochs(dir.path()).unwrap(), [2, 3]);
}

#[test]
fn written_anew_it_has_what_comes_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::begin(dir.path(), 7, PROBE);
    journal.note_log("a", 9);
    for _ in 0..SPARE + 2 {
        journal.note(&rows([1]));
    }
    assert!(journal.is_long(1) && !journal.is_long(SPARE));
    journal.begin_anew();
    journal.note(&rows([2]));
    journal.note(&rows([1]));
    journal.end_anew();
    journal.note(&rows([3]));
    assert!(!journal.is_long(3));
    let past = read(dir.path(), 1).unwrap();
    assert_eq!((past.rows, past.seq), (rows([2, 1, 3]), 9));
    // It is locked still.
    let next = Journal::begin(dir.path(), 8, PROBE);
    assert!(!next.others()[0].is_dead());
}

#[test]
fn one_that_cannot_be_written_is_there_no_more_with_those_before_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(Journal::begin(dir.path(), 1, PROBE));
    let mut journal = Journal::begin(dir.path(), 2, PROBE);
    let later = Journal::begin(dir.path(), 3, PROBE);
    journal.file = Some(OpenOptions::new().append(true).open("/dev/full").unwrap());
    journal.note(&rows([1]));
    assert!(journal.unsettled().unwrap().is_none() && !journal.is_left());
    assert_eq!(epochs(dir.path()).unwrap(), [later.epoch]);
}
