//! The journal over crashes of its writer.

#![expect(clippy::unwrap_used, reason = "a test may end by a panic")]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;

use banyan_reconcile::intent::Intent;
use banyan_reconcile::journal::{Entry, Header, JournalError, Journals, OnFailure, Reason};
use banyan_topology::{Plan, Step, Topology};

fn header() -> Header {
    let set = Step::SetRelease {
        from: None,
        to: Some(banyan_topology::ReleaseId(1)),
    };
    Header {
        number: 0,
        reason: Reason::Deploy,
        config_hash: "c0ffee".to_owned(),
        from: Topology::nothing("photos".parse().unwrap()),
        plan: [set.clone(), set].into_iter().collect::<Plan>(),
        on_failure: OnFailure::Revert,
        intent_before: Intent::default(),
        intent_after: Intent::default(),
    }
}

#[test]
fn a_torn_last_line_is_as_if_it_had_not_been_written_and_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::new(folder.path());
    let (mut journal, _) = journals.create(header()).unwrap();
    journal.append(&Entry::Begun { step: 0 }).unwrap();
    let path = folder.path().join("0001.jsonl");
    OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"{\"entry\":\"do")
        .unwrap();

    let (mut journal, record) = journals.unfinished().unwrap().unwrap();
    assert_eq!((record.in_doubt, record.done.len()), (BTreeSet::from([0]), 0));
    journal.append(&Entry::Done { step: 0 }).unwrap();
    let (_, record) = journals.unfinished().unwrap().unwrap();
    assert_eq!((record.in_doubt, record.done.len()), (BTreeSet::new(), 1));
}

#[test]
fn a_failure_is_kept_when_others_of_its_wave_end_well_and_forgotten_when_it_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::new(folder.path());
    let (mut journal, _) = journals.create(header()).unwrap();
    let failed = Entry::Failed {
        step: 0,
        error: "no".to_owned(),
    };
    for entry in [
        Entry::Begun { step: 0 },
        Entry::Begun { step: 1 },
        failed,
        Entry::Done { step: 1 },
    ] {
        journal.append(&entry).unwrap();
    }
    let (mut journal, record) = journals.unfinished().unwrap().unwrap();
    assert_eq!(record.failure, Some((0, "no".to_owned())));
    assert_eq!((record.in_doubt.len(), record.done), (0, BTreeSet::from([1])));
    journal.append(&Entry::Begun { step: 0 }).unwrap();
    let (_, record) = journals.unfinished().unwrap().unwrap();
    assert_eq!((record.failure, record.in_doubt), (None, BTreeSet::from([0])));
}

#[test]
fn a_plan_that_was_torn_itself_never_began() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::new(folder.path());
    let (mut journal, _) = journals.create(header()).unwrap();
    journal.append(&Entry::Finished).unwrap();
    fs::write(folder.path().join("0002.jsonl"), b"{\"entry\":\"plan\",\"numb").unwrap();
    assert!(journals.unfinished().unwrap().is_none());
    let (_, record) = journals.create(header()).unwrap();
    assert_eq!(record.header.number, 3);
}

#[test]
fn damage_before_the_last_line_is_told_and_not_guessed_over() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::new(folder.path());
    let (mut journal, _) = journals.create(header()).unwrap();
    let path = folder.path().join("0001.jsonl");
    OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(b"garbage\n")
        .unwrap();
    journal.append(&Entry::Begun { step: 0 }).unwrap();
    let error = journals.unfinished().unwrap_err();
    assert!(matches!(error, JournalError::Content { line: 2, .. }), "{error}");
    assert!(error.to_string().contains("0001.jsonl is damaged at line 2"));
}

#[test]
fn only_the_last_fifty_plans_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::new(folder.path());
    for _ in 0..55 {
        let (mut journal, _) = journals.create(header()).unwrap();
        journal.append(&Entry::Finished).unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 51);
    let (_, last) = journals.last().unwrap().unwrap();
    assert_eq!(last.header.number, 55);
}
