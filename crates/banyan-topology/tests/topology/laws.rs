//! What holds for every plan, over generated topologies.

use banyan_topology::{Plan, Topology, check, plan};
use proptest::prelude::*;

use crate::worlds::{any_topology, change, settled};

/// The topology after each step, the first one included.
fn states(from: &Topology, plan: &Plan) -> Vec<Topology> {
    let mut states = vec![from.clone()];
    for planned in &plan.steps {
        states.push(planned.step.apply(states.last().unwrap()).unwrap());
    }
    states
}

fn end(from: &Topology, plan: &Plan) -> Topology {
    states(from, plan).pop().unwrap()
}

/// What a plan can at best reach: release commands that ran stay known.
fn reachable(from: &Topology, to: &Topology) -> Topology {
    let released = from.released.union(&to.released).copied().collect();
    Topology {
        released,
        ..to.clone()
    }
}

proptest! {
    #[test]
    fn a_plan_reaches_what_was_wanted((a, b) in change()) {
        prop_assert_eq!(end(&a, &plan::between(&a, &b)), reachable(&a, &b));
    }

    #[test]
    fn a_plan_reaches_even_what_no_one_would_ask_for(a in any_topology(), b in any_topology()) {
        prop_assert_eq!(end(&a, &plan::between(&a, &b)), reachable(&a, &b));
    }

    #[test]
    fn no_change_needs_no_step(a in any_topology()) {
        prop_assert!(plan::between(&a, &a).is_empty());
    }

    #[test]
    fn every_prefix_passes_the_check((a, b) in change()) {
        let plan = plan::between(&a, &b);
        prop_assert_eq!(check::plan(&a, &plan, &b), Ok(()), "{}", plan);
    }

    #[test]
    fn a_plan_stopped_anywhere_can_be_reverted((a, b) in change()) {
        let plan = plan::between(&a, &b);
        for (done, state) in states(&a, &plan).iter().enumerate() {
            let back = plan.reverted(done);
            prop_assert_eq!(end(state, &back), reachable(state, &a));
            prop_assert_eq!(check::plan(state, &back, &a), Ok(()), "{}\nreverted at {}:\n{}", plan, done, back);
        }
    }

    #[test]
    fn a_plan_stopped_anywhere_resumes_by_skipping_what_holds((a, b) in change()) {
        let plan = plan::between(&a, &b);
        for state in states(&a, &plan) {
            let mut at = state;
            for planned in &plan.steps {
                if !planned.step.holds(&at) {
                    at = planned.step.apply(&at).unwrap();
                }
            }
            prop_assert_eq!(at, reachable(&a, &b));
        }
    }

    #[test]
    fn a_plan_stopped_anywhere_can_be_planned_anew((a, b) in change()) {
        for state in states(&a, &plan::between(&a, &b)) {
            let rest = plan::between(&state, &b);
            prop_assert_eq!(check::plan(&state, &rest, &b), Ok(()), "{}", rest);
        }
    }

    #[test]
    fn a_plan_stopped_anywhere_can_be_planned_to_something_else((a, b) in change(), c in settled()) {
        for state in states(&a, &plan::between(&a, &b)) {
            prop_assert_eq!(end(&state, &plan::between(&state, &c)), reachable(&state, &c));
        }
    }

    #[test]
    fn a_step_holds_once_it_is_done((a, b) in change()) {
        let plan = plan::between(&a, &b);
        let states = states(&a, &plan);
        for (planned, (before, after)) in plan.steps.iter().zip(states.iter().zip(&states[1..])) {
            prop_assert!(!planned.step.holds(before), "{} held before", planned.step);
            prop_assert!(planned.step.holds(after), "{} does not hold after", planned.step);
        }
    }

    #[test]
    fn a_plan_survives_being_written_down((a, b) in change()) {
        let plan = plan::between(&a, &b);
        let read: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        prop_assert_eq!(read.fingerprint(), plan.fingerprint());
        prop_assert_eq!(read, plan);
        let read: Topology = serde_json::from_str(&serde_json::to_string(&b).unwrap()).unwrap();
        prop_assert_eq!(read, b);
    }
}
