//! What holds for any load, and what each guard and step does.

use std::time::Duration;

use banyan_config::{Floor, Fraction, Scale, ScalePolicy, SpecRules, TargetRule};
use proptest::prelude::*;

use super::*;

fn scale() -> Scale {
    Scale {
        policy: ScalePolicy::Headroom,
        min: 2,
        max: 50,
        slo_wait: Duration::from_millis(100),
        cores: 1,
        schedule: Vec::new(),
        shadow: false,
        connections: None,
        speed: 1,
    }
}

fn seen(second: u64, ready: u32, rate: f64) -> Observation {
    Observation {
        at: Duration::from_secs(1_000_000 + second),
        rate_5s: rate,
        rate_15s: rate,
        waiting: 0.0,
        in_flight: rate * 0.04,
        staffing: Staffing {
            slots: 8,
            service: 0.04,
            variation: 1.0,
            knee: None,
            wait: Duration::from_millis(100),
        },
        start: Duration::from_secs(10),
        ready,
        starting: 0,
        cpu: Some((rate / (200.0 * f64::from(ready.max(1)))).min(1.0)),
        refused: Some(0.0),
        downstream: Downstream::default(),
        host: HostRoom::Room,
        activity: Activity::Calm,
        age: Duration::from_secs(1),
    }
}

/// Instances at the end of so many seconds of this load; each number wanted comes true at once.
fn after(scale: &Scale, state: State, from: u64, to: u64, ready: u32, rate: f64) -> (u32, State) {
    let (mut ready, mut state) = (ready, state);
    for second in (from..to).step_by(5) {
        let decision;
        (decision, state) = decide(scale, state, &seen(second, ready, rate));
        ready = decision.want;
    }
    (ready, state)
}

#[test]
fn load_that_is_there_gets_its_instances_within_two_ticks_of_sight() {
    let (ready, _) = after(&scale(), State::default(), 0, 30, 2, 1000.0);
    assert_eq!(ready, 7, "1000/s by 200 each, with the margin of forecasts");
}

#[test]
fn one_step_up_is_at_most_twice_as_many_or_four_more() {
    let (_, state) = after(&scale(), State::default(), 0, 15, 2, 100.0);
    let (decision, _) = decide(&scale(), state, &seen(15, 2, 9000.0));
    assert_eq!((decision.want, decision.need > 40), (6, true));
}

#[test]
fn what_is_not_needed_goes_after_two_minutes_and_an_eighth_at_a_time() {
    let (ready, state) = after(&scale(), State::default(), 0, 60, 2, 3000.0);
    assert_eq!(ready, 20);
    // Slowly less, so that it is no collapse.
    let mut state = state;
    let mut rate = 3000.0;
    let mut counts = vec![ready];
    for second in (60..600).step_by(5) {
        rate = f64::max(rate * 0.95, 400.0);
        let running = counts[counts.len() - 1];
        let (decision, next) = decide(&scale(), state, &seen(second, running, rate));
        state = next;
        if decision.want != running {
            counts.push(decision.want);
        }
    }
    assert!(counts.windows(2).all(|pair| pair[0] - pair[1] <= 2), "{counts:?}");
    assert_eq!(counts.last(), Some(&3));
}

#[test]
fn requests_that_wait_are_a_reason_of_their_own() {
    let (_, state) = after(&scale(), State::default(), 0, 15, 2, 300.0);
    let crowd = Observation {
        waiting: 4000.0,
        ..seen(15, 2, 300.0)
    };
    let (decision, _) = decide(&scale(), state, &crowd);
    assert_eq!(decision.reason, Reason::Backlog { waiting: 4000.0 });
    assert_eq!(decision.want, 4);
}

#[test]
fn a_floor_of_the_schedule_holds_in_its_time_also_over_midnight() {
    let mut floored = scale();
    floored.schedule = vec![Floor {
        from: "23:00".parse().unwrap(),
        to: "01:00".parse().unwrap(),
        min: 9,
    }];
    let at = |hour: u64| {
        let clock = Observation {
            at: Duration::from_secs(86_400 * 100 + hour * 3600),
            ..seen(0, 2, 10.0)
        };
        decide(&floored, State::default(), &clock).0.want
    };
    assert_eq!((at(22), at(23), at(0), at(1)), (2, 9, 9, 2));
}

#[test]
fn guards_are_named_and_hold() {
    let (_, state) = after(&scale(), State::default(), 0, 30, 2, 300.0);
    let more = seen(30, 2, 2000.0);
    let guarded = |seen: Observation| {
        let (decision, _) = decide(&scale(), state.clone(), &seen);
        (decision.want, decision.guards)
    };
    let busy = Downstream {
        busy: Some(0.9),
        ..Downstream::default()
    };
    let cases = [
        (
            Observation {
                downstream: busy,
                ..more.clone()
            },
            Guard::Downstream,
        ),
        (
            Observation {
                host: HostRoom::Full,
                ..more.clone()
            },
            Guard::Host,
        ),
        (
            Observation {
                age: Duration::from_secs(20),
                ..more.clone()
            },
            Guard::Blind,
        ),
    ];
    for (seen, guard) in cases {
        assert_eq!(guarded(seen), (2, vec![guard]));
    }
    assert!(guarded(more).0 > 2);
}

#[test]
fn no_more_are_started_than_find_their_connections_and_none_goes_for_it() {
    let (_, state) = after(&scale(), State::default(), 0, 30, 4, 700.0);
    let connected = |instances, ready, rate| {
        let downstream = Downstream {
            instances: Some(instances),
            ..Downstream::default()
        };
        let seen = Observation {
            downstream,
            ..seen(30, ready, rate)
        };
        let (decision, _) = decide(&scale(), state.clone(), &seen);
        (decision.want, decision.guards)
    };
    assert_eq!(connected(6, 4, 1500.0), (6, vec![Guard::Connections]));
    assert_eq!(connected(3, 4, 1500.0), (4, vec![Guard::Connections]));
    assert_eq!(connected(3, 4, 500.0), (4, vec![]), "those that run have theirs");
}

#[test]
fn what_kept_the_number_from_the_need_is_told_in_order() {
    let (_, state) = after(&scale(), State::default(), 0, 15, 2, 100.0);
    let told = |scale: &Scale, seen: &Observation| {
        let (decision, _) = decide(scale, state.clone(), seen);
        (decision.want, decision.bounds)
    };
    assert_eq!(told(&scale(), &seen(15, 2, 800.0)), (6, vec![]));
    assert_eq!(told(&scale(), &seen(15, 2, 9000.0)), (6, vec![Bound::Step]));
    assert_eq!(told(&scale(), &seen(15, 6, 800.0)), (6, vec![]));
    assert_eq!(told(&scale(), &seen(15, 8, 800.0)), (8, vec![Bound::Window]));
    let small = Scale { max: 4, ..scale() };
    let bounds = vec![Bound::Guard(Guard::Maximum)];
    assert_eq!(told(&small, &seen(15, 2, 9000.0)), (4, bounds));
    assert_eq!(told(&scale(), &seen(15, 2, 10.0)), (2, vec![Bound::Minimum]));
}

#[test]
fn concurrency_multiplies_within_seconds_of_a_surprise_and_forgets_it_after_a_minute() {
    let scale = Scale {
        policy: ScalePolicy::Concurrency,
        ..scale()
    };
    let (calm, state) = after(&scale, State::default(), 0, 120, 2, 250.0);
    assert_eq!(calm, 2, "10 at once, 5.6 each");
    let (panicking, state) = after(&scale, state, 120, 130, calm, 1500.0);
    assert_eq!(panicking, 11, "60 at once");
    let (still, state) = after(&scale, state, 130, 180, panicking, 250.0);
    assert_eq!(still, 11);
    assert_eq!(after(&scale, state, 180, 400, still, 250.0).0, 2);
}

#[test]
fn nothing_goes_while_traffic_has_collapsed() {
    let (ready, state) = after(&scale(), State::default(), 0, 300, 2, 3000.0);
    let (still, state) = after(&scale(), state, 300, 1100, ready, 200.0);
    assert_eq!(still, ready, "it may come back at once");
    let (later, _) = after(&scale(), state, 1100, 2400, ready, 200.0);
    assert_eq!(later, 2);
}

#[test]
fn after_a_restart_nothing_goes_for_a_window() {
    let (ready, state) = after(&scale(), State::default(), 0, 1000, 2, 3000.0);
    let state = state.resumed(Duration::from_secs(1_001_000));
    let (decision, state) = decide(&scale(), state, &seen(1000, ready, 3000.0 * 0.6));
    assert_eq!((decision.want, decision.guards), (ready, vec![]));
    let (soon, state) = after(&scale(), state, 1005, 1115, ready, 1800.0);
    assert_eq!(soon, ready);
    assert!(after(&scale(), state, 1115, 1300, ready, 1800.0).0 < ready);
}

#[test]
fn the_same_state_and_the_same_sight_decide_the_same_also_when_read_back() {
    let (_, state) = after(&scale(), State::default(), 0, 500, 2, 700.0);
    let text = serde_json::to_string(&state).unwrap();
    let read: State = serde_json::from_str(&text).unwrap();
    let next = seen(500, 6, 900.0);
    assert_eq!(decide(&scale(), state, &next).0, decide(&scale(), read, &next).0);
}

#[test]
fn target_holds_a_figure_and_goes_down_after_five_minutes() {
    let share = Fraction::new(0.7).unwrap();
    let target = Scale {
        policy: ScalePolicy::Target(TargetRule::Cpu(share)),
        ..scale()
    };
    let (up, state) = after(&target, State::default(), 0, 300, 2, 1000.0);
    assert_eq!(up, 8, "1000/s at 70 % of 200 each");
    let (still, state) = after(&target, state, 300, 590, up, 500.0);
    assert_eq!(still, 8);
    assert_eq!(after(&target, state, 590, 700, up, 500.0).0, 4);
}

#[test]
fn spec_waits_its_minutes_and_its_cooldown() {
    let share = |share| Fraction::new(share).unwrap();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let rules = SpecRules {
        up_cpu: share(0.7),
        down_cpu: share(0.3),
        up_for: minutes(5),
        down_for: minutes(15),
        up_requests: 1000,
        up_errors: share(0.01),
        cooldown_up: minutes(5),
        cooldown_down: minutes(10),
    };
    let spec = Scale {
        policy: ScalePolicy::Spec(rules),
        ..scale()
    };
    let (before, state) = after(&spec, State::default(), 0, 300, 2, 380.0);
    assert_eq!(before, 2, "hot for less than five minutes");
    let (up, state) = after(&spec, state, 300, 310, 2, 380.0);
    assert_eq!(up, 3);
    let (down, state) = after(&spec, state, 310, 1200, 3, 100.0);
    assert_eq!(down, 3, "cold for less than fifteen minutes");
    assert_eq!(after(&spec, state, 1200, 1300, 3, 100.0).0, 2);
}

/// How often it turned from up to down or back, within the hour before its end.
fn turns(wants: &[(u64, u32)]) -> usize {
    let end = wants.last().map_or(0, |(second, _)| *second);
    let moves: Vec<(u64, bool)> = wants
        .windows(2)
        .filter(|pair| pair[0].1 != pair[1].1)
        .map(|pair| (pair[1].0, pair[1].1 > pair[0].1))
        .collect();
    let turned = moves.windows(2).filter(|pair| pair[0].1 != pair[1].1);
    turned.filter(|pair| end - pair[1].0 < 3600).count()
}

fn policies() -> impl Strategy<Value = ScalePolicy> {
    prop_oneof![
        Just(ScalePolicy::Headroom),
        Just(ScalePolicy::Concurrency),
        (1..100_u32).prop_map(|percent| {
            let share = Fraction::new(f64::from(percent) / 100.0).unwrap();
            ScalePolicy::Target(TargetRule::Cpu(share))
        }),
        (1..500_u32).prop_map(|requests| ScalePolicy::Target(TargetRule::Requests(requests))),
    ]
}

proptest! {
    #[test]
    fn the_number_is_within_its_bounds_and_no_step_is_too_large(
        policy in policies(),
        min in 1..5_u32,
        room in 0..40_u32,
        rates in prop::collection::vec((0.0..20_000.0_f64, 0.0..5_000.0_f64), 1..200),
    ) {
        let scale = Scale { policy, min, max: min + room, ..scale() };
        let (mut state, mut ready) = (State::default(), min);
        for (i, (rate, waiting)) in rates.into_iter().enumerate() {
            let seen = Observation { waiting, ..seen(i as u64 * 5, ready, rate) };
            let (decision, next) = decide(&scale, state, &seen);
            state = next;
            prop_assert!((scale.min..=scale.max).contains(&decision.want));
            let quick = matches!(scale.policy, ScalePolicy::Concurrency);
            prop_assert!(quick || decision.want <= (2 * ready).max(ready + 4), "{ready} to {}", decision.want);
            ready = decision.want;
        }
    }

    #[test]
    fn more_load_never_needs_fewer(rates in prop::collection::vec(0.0..5_000.0_f64, 6..60), more in 0.0..3_000.0_f64) {
        let ask = |add: f64| {
            let mut state = State::default();
            let mut need = 0;
            for (i, rate) in rates.iter().enumerate() {
                let (decision, next) = decide(&scale(), state, &seen(i as u64 * 5, 4, rate + add));
                state = next;
                need = decision.need;
            }
            need
        };
        // The margin has learned from both histories: it may differ by what it may grow to.
        prop_assert!(f64::from(ask(more) + 1) * 1.3 >= f64::from(ask(0.0)));
    }

    /// Six and the one that is noticed, plus the up that follows it.
    #[test]
    fn it_changes_its_direction_a_few_times_an_hour_whatever_comes(
        levels in prop::collection::vec((50.0..3_000.0_f64, 10..120_u64), 40..80),
    ) {
        let (mut state, mut ready, mut second) = (State::default(), 2, 0);
        let mut wants = Vec::new();
        for (rate, ticks) in levels {
            for _ in 0..ticks {
                let (decision, next) = decide(&scale(), state, &seen(second, ready, rate));
                state = next;
                wants.push((second, decision.want));
                if decision.want != ready {
                    prop_assert!(turns(&wants[wants.len().saturating_sub(721)..]) <= 8);
                }
                ready = decision.want;
                second += 5;
            }
        }
    }

    #[test]
    fn nothing_goes_in_the_first_window_after_a_restart(
        before in 100.0..3_000.0_f64,
        rates in prop::collection::vec(0.0..3_000.0_f64, 1..23),
    ) {
        let (ready, state) = after(&scale(), State::default(), 0, 600, 2, before);
        let (mut state, mut running) = (state.resumed(Duration::from_secs(1_000_600)), ready);
        for (i, rate) in rates.into_iter().enumerate() {
            let (decision, next) = decide(&scale(), state, &seen(600 + i as u64 * 5, running, rate));
            state = next;
            prop_assert!(decision.want >= running);
            running = decision.want;
        }
    }

    #[test]
    fn without_reports_nothing_changes(rate in 0.0..10_000.0_f64, ready in 2..50_u32, old in 16..1000_u64) {
        let (_, state) = after(&scale(), State::default(), 0, 60, ready, 500.0);
        let blind = Observation { age: Duration::from_secs(old), ..seen(60, ready, rate) };
        prop_assert_eq!(decide(&scale(), state, &blind).0.want, ready);
    }
}
