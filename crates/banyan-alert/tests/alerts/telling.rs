//! Who is told: silences, what is tried again, and what is given up.

use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::expect;

use banyan_alert::{Attempt, Outbox, Silence, Silences, Transition};
use banyan_config::{AlertReceiver, AlertRule};

use crate::script::{BEGIN, STEP, alerts, play, rules_of, told_with};

const DOWN: &str = "banyan_postgres_up{} 1x5 0x20 1x9\n";

fn silence(rule: Option<AlertRule>, minutes: u64) -> Silences {
    let begin = u64::try_from(BEGIN.as_millis()).unwrap();
    let mut silences = Silences::default();
    silences.add(Silence {
        rule,
        from_ms: begin,
        until_ms: begin + minutes * 60_000,
        why: "moving the database".to_owned(),
    });
    silences
}

#[test]
fn what_is_silenced_is_noted_and_told_when_the_silence_is_over() {
    let by_rule = told_with("", DOWN, &silence(Some(AlertRule::NoPrimary), 6));
    expect![[r#"
        3m30s fired P0 no-primary 0 (Silenced("moving the database"))
        6m00s unmuted P0 no-primary 0
        14m30s cleared(recovered) P0 no-primary 0
    "#]]
    .assert_eq(&by_rule);
    assert_eq!(told_with("", DOWN, &silence(None, 6)), by_rule.clone());
    let other = told_with("", DOWN, &silence(Some(AlertRule::NoInstance), 60));
    expect![[r#"
        3m30s fired P0 no-primary 0
        14m30s cleared(recovered) P0 no-primary 0
    "#]]
    .assert_eq(&other);
}

fn receivers(table: &str) -> BTreeMap<String, AlertReceiver> {
    alerts(table).to
}

fn transitions() -> Vec<Transition> {
    let mut all = Vec::new();
    play(&rules_of(""), DOWN, &Silences::default(), |_, _, new| {
        all.extend_from_slice(new)
    });
    all
}

fn shown(attempts: &[Attempt]) -> String {
    let attempts = attempts.iter().map(|attempt| {
        let changes: Vec<String> = attempt
            .notices
            .iter()
            .map(|notice| format!("{:?}", notice.transition.change))
            .collect();
        format!("{}: {}", attempt.to, changes.join(", "))
    });
    attempts.collect::<Vec<_>>().join("; ")
}

#[test]
fn each_receiver_is_told_of_its_severities_in_order_until_it_has_taken_them() {
    let to = receivers(
        "[alerts.to.all]\nwebhook = \"http://x\"\n[alerts.to.tickets]\nwebhook = \"http://y\"\nseverity = [\"P2\"]\n\
         [alerts.to.pager]\nwebhook = \"http://z\"\nseverity = [\"P0\"]\n",
    );
    let transitions = transitions();
    let mut outbox = Outbox::default();
    outbox.take(&transitions[..1], &to);
    let now = BEGIN + STEP * 10;
    let due = outbox.due(now);
    assert_eq!(shown(&due), "all: Fired; pager: Fired");
    outbox.done(&due[1]);
    outbox.failed(&due[0], "status 500", now);
    assert_eq!(outbox.due(now), []);
    // What comes later does not overtake.
    outbox.take(&transitions[1..], &to);
    assert_eq!(shown(&outbox.due(now)), "");
    assert_eq!(outbox.problems()["all"], "status 500");
    let later = BEGIN + STEP * 60;
    assert_eq!(
        shown(&outbox.due(later)),
        "all: Fired, Cleared(Recovered); pager: Cleared(Recovered)"
    );
    // Nobody took it for an hour.
    assert_eq!(shown(&outbox.due(BEGIN + Duration::from_secs(2 * 3600))), "");
    assert_eq!(outbox.lost, 3);
}

#[test]
fn pauses_grow_and_a_full_outbox_loses_the_oldest() {
    let to = receivers("[alerts.to.all]\nwebhook = \"http://x\"\n");
    let fired = transitions().remove(0);
    let mut outbox = Outbox::default();
    outbox.take(std::slice::from_ref(&fired), &to);
    let mut now = BEGIN + STEP * 10;
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let attempt = outbox.due(now).remove(0);
        outbox.failed(&attempt, "no answer", now);
        let next = outbox.next().unwrap();
        pauses.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    for _ in 0..600 {
        outbox.take(std::slice::from_ref(&fired), &to);
    }
    assert_eq!(
        outbox.lost, 101,
        "600 more than the one that waits, of 500 that fit"
    );
}

#[test]
fn who_wants_to_is_told_again_of_what_still_fires() {
    let to = receivers("[alerts.to.all]\nwebhook = \"http://x\"\nrepeat = \"5m\"\n");
    let mut outbox = Outbox::default();
    let mut told = Vec::new();
    play(
        &rules_of(""),
        &DOWN.replace("0x20", "0x40"),
        &Silences::default(),
        |step, state, new| {
            let now = BEGIN + STEP * u32::try_from(step).unwrap();
            outbox.take(new, &to);
            outbox.repeat(state, &to, now);
            for attempt in outbox.due(now) {
                told.push(format!("{step} {}", shown(std::slice::from_ref(&attempt))));
                outbox.done(&attempt);
            }
        },
    );
    expect![[r#"
        7 all: Fired
        17 all: Still
        27 all: Still
        37 all: Still
        47 all: Still
        49 all: Cleared(Recovered)"#]]
    .assert_eq(&told.join("\n"));
}
