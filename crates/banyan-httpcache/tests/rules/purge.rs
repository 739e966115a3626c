//! Purges reach what they name, what began before them, and nothing else.

use banyan_httpcache::Standing;
use banyan_httpcache::purge::{Mode, Table, Target};
use proptest::prelude::*;

use crate::world::{START, at};

const URI: &str = "https://a.test/img/2026/cat.png?w=100";

fn after(target: Target, mode: Mode) -> Standing {
    let mut table = Table::new();
    let mut marks = table.marks(URI, &["cats".to_owned()], table.tick());
    table.apply(&target, mode, START);
    table.standing(&mut marks)
}

#[test]
fn each_kind_of_name_reaches_its_responses() {
    let text = String::from;
    let table = [
        (Target::All, true),
        (Target::Url(text(URI)), true),
        (Target::Url(text("https://a.test/img/2026/cat.png")), false),
        (Target::Prefix(text("https://a.test/img/")), true),
        (Target::Prefix(text("https://a.test/")), true),
        (Target::Prefix(text("https://a.test/im/")), false),
        (Target::Prefix(text("https://b.test/")), false),
        (Target::Tag(text("cats")), true),
        (Target::Tag(text("cat")), false),
        (Target::Tag(text(URI)), false),
        (Target::Glob(text("https://a.test/*.png?*")), true),
        (Target::Glob(text("https://a.test/*.png")), false),
        (Target::Glob(text("*cat*")), true),
        (Target::Glob(text("**")), true),
        (Target::Glob(text("dog*")), false),
    ];
    for (target, reached) in table {
        let wanted = if reached {
            Standing::Purged
        } else {
            Standing::Sound
        };
        assert_eq!(after(target.clone(), Mode::Hard), wanted, "{target:?}");
    }
}

#[test]
fn a_fill_that_began_before_the_purge_is_purged_and_a_later_one_is_not() {
    let mut table = Table::new();
    let before = table.tick();
    table.apply(&Target::Url(URI.to_owned()), Mode::Hard, START);
    let mut old = table.marks(URI, &[], before);
    let mut new = table.marks(URI, &[], table.tick());
    assert_eq!(table.standing(&mut old), Standing::Purged);
    assert_eq!(table.standing(&mut new), Standing::Sound);
}

#[test]
fn a_soft_purge_after_a_hard_one_does_not_weaken_it() {
    let mut table = Table::new();
    let mut marks = table.marks(URI, &[], 0);
    table.apply(&Target::Url(URI.to_owned()), Mode::Hard, START);
    table.apply(&Target::Url(URI.to_owned()), Mode::Soft, at(1));
    assert_eq!(table.standing(&mut marks), Standing::Purged);
    assert_eq!(after(Target::All, Mode::Soft), Standing::SoftlyPurged(START));
}

#[test]
fn folding_old_purges_purges_too_much_and_never_too_little() {
    let mut table = Table::new();
    let mut marks = table.marks(URI, &[], 0);
    table.apply(&Target::Glob("*cat*".to_owned()), Mode::Hard, START);
    for n in 0..1100 {
        table.apply(&Target::Glob(format!("x{n}")), Mode::Hard, START);
    }
    assert_eq!(table.standing(&mut marks), Standing::Purged);
    let mut fresh = table.marks(URI, &[], table.tick());
    assert_eq!(table.standing(&mut fresh), Standing::Sound);
}

#[derive(Clone, Debug)]
enum Step {
    Purge(Target, Mode),
    Store(usize),
    Look(usize),
}

fn uri(n: usize) -> String {
    format!("https://a.test/{}/{}", n % 3, n)
}

fn step() -> impl Strategy<Value = Step> {
    let target = prop_oneof![
        (0..9_usize).prop_map(|n| Target::Url(uri(n))),
        (0..3_usize).prop_map(|n| Target::Prefix(format!("https://a.test/{n}/"))),
        (0..2_usize).prop_map(|n| Target::Tag(format!("t{n}"))),
        (0..9_usize).prop_map(|n| Target::Glob(format!("*/{n}"))),
        Just(Target::All),
    ];
    let mode = prop_oneof![Just(Mode::Soft), Just(Mode::Hard)];
    prop_oneof![
        (target, mode).prop_map(|(target, mode)| Step::Purge(target, mode)),
        (0..9_usize).prop_map(Step::Store),
        (0..9_usize).prop_map(Step::Look),
    ]
}

fn reaches(target: &Target, n: usize) -> bool {
    match target {
        Target::All => true,
        Target::Url(name) => *name == uri(n),
        Target::Prefix(prefix) => uri(n).starts_with(prefix),
        Target::Tag(tag) => *tag == format!("t{}", n % 2),
        Target::Glob(glob) => uri(n).ends_with(&glob[1..]),
    }
}

proptest! {
    #[test]
    fn a_name_is_reached_in_any_spelling(
        path in "/[a-c.]{1,3}/[a-c]{1,3}", stored in prop::collection::vec(any::<bool>(), 8), named in prop::collection::vec(any::<bool>(), 8),
    ) {
        let spelled = |escaped: &[bool]| -> String {
            let bytes = path.bytes().zip(escaped);
            let path = bytes.map(|(byte, escaped)| match *escaped && byte != b'/' {
                true => format!("%{byte:02x}"),
                false => char::from(byte).to_string(),
            });
            format!("https://a.test{}", path.collect::<String>())
        };
        let named = spelled(&named);
        let folder = named[..=named.rfind('/').unwrap_or(0)].to_owned();
        for target in [Target::Url(named), Target::Prefix(folder), Target::Glob(format!("*{path}"))] {
            let mut table = Table::new();
            let mut marks = table.marks(&spelled(&stored), &[], table.tick());
            table.apply(&target, Mode::Hard, START);
            prop_assert_eq!(table.standing(&mut marks), Standing::Purged, "{:?}", target);
        }
    }

    /// The model keeps, per stored response, the worst purge since it was stored.
    #[test]
    fn the_table_says_what_a_list_of_all_purges_says(steps in prop::collection::vec(step(), 1..60)) {
        let mut table = Table::new();
        let mut stored: Vec<Option<(banyan_httpcache::purge::Marks, Option<Mode>)>> = vec![None; 9];
        for step in steps {
            match step {
                Step::Purge(target, mode) => {
                    table.apply(&target, mode, START);
                    for (n, slot) in stored.iter_mut().enumerate() {
                        if let Some((_, worst)) = slot && reaches(&target, n) {
                            *worst = (*worst).max(Some(mode));
                        }
                    }
                }
                Step::Store(n) => {
                    let marks = table.marks(&uri(n), &[format!("t{}", n % 2)], table.tick());
                    stored[n] = Some((marks, None));
                }
                Step::Look(n) => {
                    let Some((marks, worst)) = &mut stored[n] else { continue };
                    let wanted = match worst {
                        None => Standing::Sound,
                        Some(Mode::Soft) => Standing::SoftlyPurged(START),
                        Some(Mode::Hard) => Standing::Purged,
                    };
                    prop_assert_eq!(table.standing(marks), wanted);
                }
            }
        }
    }
}
