use crate::child::RunAs;

use super::restore::{RestoreError, Target, choose, percent};
use super::*;

const INFO: &str = r#"[{"archive":[{"database":{"id":1,"repo-key":1},"id":"15-1","max":"000000010000000000000009","min":"000000010000000000000001"}],
"backup":[
{"archive":{"start":"000000010000000000000003","stop":"000000010000000000000003"},"backrest":{"format":5,"version":"2.45"},"database":{"id":1,"repo-key":1},"error":false,
 "info":{"delta":23238239,"repository":{"delta":2838785,"size":2838785},"size":23238239},"label":"20261122-070533F","lsn":{"start":"0/3000028","stop":"0/30020E0"},
 "prior":null,"reference":null,"timestamp":{"start":1795331133,"stop":1795331139},"type":"full"},
{"error":true,"info":{"delta":8,"repository":{"delta":7,"size":2838785},"size":23238239},"label":"20261122-070533F_20261122-080000D",
 "timestamp":{"start":1795334400,"stop":1795334410},"type":"diff"}],
"cipher":"none","db":[{"id":1,"repo-key":1,"system-id":7710888382335527889,"version":"15"}],"name":"main",
"repo":[{"cipher":"none","key":1,"status":{"code":0,"message":"ok"}}],"status":{"code":0,"lock":{"backup":{"held":true}},"message":"ok"}}]"#;

fn catalogue() -> Catalogue {
    Catalogue::parse(INFO).unwrap()
}

#[test]
fn what_a_repository_holds_is_read() {
    let found = catalogue();
    assert_eq!(found.backups.len(), 2);
    assert_eq!(
        found.backups[0],
        Backup {
            label: "20261122-070533F".to_owned(),
            kind: Kind::Full,
            start_ms: 1_795_331_133_000,
            stop_ms: 1_795_331_140_000,
            size_bytes: 23_238_239,
            stored_bytes: 2_838_785,
            has_broken_pages: false,
        }
    );
    assert!(found.backups[1].has_broken_pages);
    assert!(found.busy);
    assert_eq!(found.system_identifier, Some(7_710_888_382_335_527_889));
    assert_eq!(found.archive.unwrap().last, "000000010000000000000009");
}

#[test]
fn a_repository_without_this_database_is_empty() {
    let text = r#"[{"backup":[],"db":[],"name":"main","repo":[],"status":{"code":1,"lock":{"backup":{"held":false}},"message":"missing stanza path"}}]"#;
    assert_eq!(Catalogue::parse(text).unwrap(), Catalogue::default());
    assert_eq!(Catalogue::parse("[]").unwrap(), Catalogue::default());
}

#[test]
fn a_kind_is_made_up_for_by_one_that_copies_more() {
    let found = catalogue();
    let label = |kind| found.last_at_least(kind).map(|backup| backup.label.as_str());
    assert_eq!(label(Kind::Full), Some("20261122-070533F"));
    let last = Some("20261122-070533F_20261122-080000D");
    assert_eq!(label(Kind::Differential), last);
    assert_eq!(label(Kind::Incremental), last);
}

#[test]
fn a_restore_begins_with_the_last_backup_that_ended_before_the_moment() {
    let found = catalogue();
    let now = 1_800_000_000_000;
    let label = |target| {
        choose(&found, target, now, Path::new("/backups"))
            .map(|backup| backup.label.clone())
            .map_err(|error| error.to_string())
    };
    let (first, last) = ("20261122-070533F", "20261122-070533F_20261122-080000D");
    assert_eq!(label(Target::Latest).unwrap(), last);
    let at = |seconds: u64| Target::At(seconds * 1_000_000);
    assert_eq!(label(at(1_795_334_411)).unwrap(), last);
    assert_eq!(label(at(1_795_334_410)).unwrap(), first);
    assert_eq!(
        label(at(1_795_331_139)).unwrap_err(),
        "2026-11-22 07:05:39+00 is before the end of the first backup; the first moment that can be restored is \
         2026-11-22 07:05:40+00"
    );
    assert_eq!(
        label(at(1_800_000_001)).unwrap_err(),
        "2027-01-15 08:00:01+00 is in the future"
    );
    let empty = Catalogue::default();
    let none = choose(&empty, Target::Latest, now, Path::new("/backups"));
    assert!(matches!(none, Err(RestoreError::NoBackups(_))));
}

#[test]
fn the_way_through_a_copy_is_read_from_what_pgbackrest_says() {
    let said = "P00   INFO: restore backup set\nP01 DETAIL: restore file /data/base/1/2619 (256KB, 27.50%) checksum abc\n";
    assert_eq!(percent(said), Some(27.5));
    assert_eq!(percent(""), None);
}

#[test]
fn pgbackrests_own_words_become_the_reason() {
    let said = "P00   INFO: stanza-create command begin 2.45\n\
                P00  ERROR: [028]: backup and archive info files exist but do not match the database\n\
                \x20           HINT: is this the correct stanza?\n\
                P00   INFO: stanza-create command end: aborted with exception [028]\n";
    assert_eq!(
        program::reason(said).unwrap(),
        "backup and archive info files exist but do not match the database; HINT: is this the correct stanza?"
    );
    assert_eq!(program::reason("all is well"), None);
}

#[test]
fn log_is_given_up_only_when_it_cannot_be_stored_and_the_queue_is_full() {
    let queue = 1 << 30;
    let state = |stored, failed, waiting| archiving::Archiving {
        stored_ms: Some(stored),
        failed_ms: Some(failed),
        waiting_bytes: waiting,
    };
    assert!(!state(2, 1, queue).fails());
    assert!(!state(2, 1, queue).gives_up(queue));
    assert!(state(1, 2, 1 << 20).fails());
    assert!(!state(1, 2, 1 << 20).gives_up(queue));
    assert!(state(1, 2, queue - (16 << 20)).gives_up(queue));
}

#[test]
fn a_folder_that_cannot_hold_backups_is_refused_with_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join(".banyan");
    let folder = root.path().join("backups");
    let problem = |path: &Path, has_data| program::problem(path, &state, "photos", &RunAs::Same, has_data);
    if !program::is_installed() {
        assert!(
            problem(&folder, true)
                .unwrap()
                .contains("apt-get install pgbackrest")
        );
        return;
    }
    assert_eq!(problem(&folder, true), None);
    assert!(
        problem(&state.join("backups"), true)
            .unwrap()
            .contains("`banyan destroy` deletes")
    );
    fs::create_dir_all(&folder).unwrap();
    assert_eq!(problem(&folder, true), None);
    fs::write(folder.join("letter.txt"), "dear").unwrap();
    assert!(problem(&folder, true).unwrap().contains("holds other files"));
    fs::create_dir_all(folder.join("backup/photos")).unwrap();
    fs::write(folder.join("backup/photos/backup.info"), "").unwrap();
    assert_eq!(problem(&folder, true), None);
    let lost = problem(&folder, false).unwrap();
    assert!(lost.contains("banyan restore --latest --in-place"), "{lost}");
}

#[test]
fn the_archive_command_survives_strange_folders() {
    let command = archive_command(Path::new("/srv/it's 100%/data/postgres"), "photos");
    assert_eq!(
        command,
        "/usr/bin/pgbackrest --config='/srv/it'\\''s 100%%/data/postgres.pgbackrest.conf' --stanza=photos archive-push \"%p\""
    );
}
