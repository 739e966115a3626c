//! Bugs planted into good plans: the check finds every one, whoever made the plan.

use std::collections::BTreeSet;

use banyan_topology::check::Rule;
use banyan_topology::{Plan, PlannedStep, ProcessName, Step, Topology, check, plan};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::notation::topology;
use crate::worlds::change;

fn rules(current: &Topology, plan: &Plan, desired: &Topology) -> Vec<Rule> {
    let broken = check::plan(current, plan, desired).err().unwrap_or_default();
    let mut rules: Vec<Rule> = broken.into_iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

/// The good plan between two, changed by `bug`; what the check says of it.
fn planted(current: &str, desired: &str, bug: impl FnOnce(&mut Vec<PlannedStep>)) -> Vec<Rule> {
    let (current, desired) = (topology(current), topology(desired));
    let mut plan = plan::between(&current, &desired);
    assert_eq!(check::plan(&current, &plan, &desired), Ok(()));
    bug(&mut plan.steps);
    rules(&current, &plan, &desired)
}

fn at(steps: &[PlannedStep], text: &str) -> usize {
    let found = steps
        .iter()
        .position(|planned| planned.step.to_string().starts_with(text));
    found.unwrap_or_else(|| panic!("no step `{text}`"))
}

/// Moves the step that begins with `text` to just before another.
fn before(text: &'static str, other: &'static str) -> impl FnOnce(&mut Vec<PlannedStep>) {
    move |steps| {
        let step = steps.remove(at(steps, text));
        let place = at(steps, other);
        steps.insert(place, step);
    }
}

const ONE: &str = "r1 ran:r1 db edge web.1@r1*";
const ONE_NEXT: &str = "r2 ran:r1 ran:r2 db edge web.1@r2*";

#[test]
fn a_step_out_of_order_breaks_the_rule_it_is_there_for() {
    let clock = ("r1 clock<=1 clock.1@r1", "r2 clock<=1 clock.1@r2");
    let added = ("r1 edge web.1@r1*", "r2 ran:r2 db edge web.1@r2*");
    let removed = (ONE, "r2 ran:r1 edge web.1@r2*");
    let handed_over = ("r1 edge web.1@r1*", "r2 edge/api api.1@r2*");
    let cases = [
        // The old instance drained before the new one is admitted: nothing is left to serve.
        (
            (ONE, ONE_NEXT),
            before("drain web.1@r1", "admit web.1@r2"),
            Rule::Capacity,
        ),
    ];
    for ((current, desired), bug, rule) in cases {
        assert_eq!(planted(current, desired, bug), [rule]);
    }
    let caught =
        |(current, desired): (&str, &str), text, other| planted(current, desired, before(text, other));
    assert_eq!(
        caught((ONE, ONE_NEXT), "admit web.1@r2", "start web.1@r2"),
        [Rule::Applies]
    );
    assert_eq!(
        caught((ONE, ONE_NEXT), "stop web.1@r1", "drain web.1@r1"),
        [Rule::Applies]
    );
    assert_eq!(
        caught((ONE, ONE_NEXT), "start web.1@r2", "run the release"),
        [Rule::Released]
    );
    assert_eq!(caught(clock, "start clock.1@r2", "stop clock.1@r1"), [Rule::Max]);
    assert!(caught(("", ONE), "start web.1@r1", "start postgres").contains(&Rule::Database));
    assert_eq!(
        caught(("", ONE), "run the release", "start postgres"),
        [Rule::Database]
    );
    assert_eq!(
        caught(("", ONE), "start web.1@r1", "add process web"),
        [Rule::Watched]
    );
    assert_eq!(
        caught((ONE, ""), "stop postgres", "stop web.1@r1"),
        [Rule::Database]
    );
    assert_eq!(
        caught((ONE, ""), "remove process web", "drain web.1@r1"),
        [Rule::Watched]
    );
    assert!(caught(added, "start web.1@r2", "start postgres").contains(&Rule::Database));
    assert_eq!(
        caught(removed, "stop postgres", "drain web.1@r1"),
        [Rule::Database]
    );
    assert_eq!(
        caught(handed_over, "drain web.1@r1", "admit api.1@r2"),
        [Rule::Capacity]
    );
}

#[test]
fn a_detour_against_the_result_is_refused() {
    let detour = |steps: Vec<Step>| {
        planted(ONE, "r1 ran:r1 db edge~ web.1@r1*", move |plan| {
            plan.splice(0..0, steps.into_iter().map(PlannedStep::from));
        })
    };
    let now = topology(ONE);
    let (edge, database) = (now.edge.unwrap(), now.database.unwrap());
    let web = now.instances.into_values().next().unwrap();
    let id = web.id.clone();
    let extra = topology("web.2@r1").instances.into_values().next().unwrap();
    assert_eq!(
        detour(vec![Step::StopEdge(edge.clone()), Step::StartEdge(edge)]),
        [Rule::Edge]
    );
    assert_eq!(
        detour(vec![
            Step::StopDatabase(database.clone()),
            Step::StartDatabase(database)
        ]),
        [Rule::Purpose, Rule::Database]
    );
    assert_eq!(
        detour(vec![
            Step::StartInstance(extra.clone()),
            Step::StopInstance(extra)
        ]),
        [Rule::Purpose]
    );
    assert_eq!(
        detour(vec![
            Step::Drain(id.clone()),
            Step::StopInstance(web.clone()),
            Step::StartInstance(web),
            Step::Admit(id),
        ]),
        [Rule::Purpose, Rule::Capacity, Rule::Purpose]
    );
}

#[test]
fn an_instance_that_the_edge_does_not_serve_is_not_admitted() {
    let current = "r1 edge web.1@r1*";
    let (current, desired) = (topology(current), topology("r1 edge web.1@r1* worker.1@r1*"));
    let plan = plan::between(&current, &desired);
    assert_eq!(rules(&current, &plan, &desired), [Rule::Rotation]);
}

#[test]
fn one_port_for_two_is_refused() {
    let current = topology(ONE);
    for port in [8080, 25432, 20101] {
        let mut desired = topology("r1 ran:r1 db edge web.1@r1* worker.1@r1");
        desired.instances.values_mut().for_each(|instance| {
            if instance.id.process.as_str() == "worker" {
                instance.port = port;
            }
        });
        let plan = plan::between(&current, &desired);
        assert_eq!(rules(&current, &plan, &desired), [Rule::Ports], "{port}");
    }
}

#[test]
fn a_wrong_or_missing_inverse_is_refused() {
    let lost = planted(ONE, ONE_NEXT, |steps| {
        let n = at(steps, "start web.1@r2");
        steps[n].inverse = None;
    });
    assert_eq!(lost, [Rule::Inverse]);
    let wrong = planted(ONE, ONE_NEXT, |steps| {
        let (drain, admit) = (at(steps, "drain web.1@r1"), at(steps, "admit web.1@r2"));
        steps[drain].inverse = steps[admit].inverse.clone();
    });
    assert_eq!(wrong, [Rule::Inverse]);
}

#[test]
fn a_plan_for_something_else_is_refused() {
    let (current, desired) = (topology(ONE), topology(ONE_NEXT));
    assert_eq!(rules(&current, &Plan::default(), &desired), [Rule::Result]);
}

proptest! {
    #[test]
    fn a_dropped_step_is_missed((a, b) in change(), at in any::<Index>()) {
        let mut plan = plan::between(&a, &b);
        if plan.is_empty() {
            return Ok(());
        }
        let dropped = plan.steps.remove(at.index(plan.steps.len()));
        prop_assert!(check::plan(&a, &plan, &b).is_err(), "without `{}`", dropped.step);
    }

    #[test]
    fn a_doubled_step_is_noticed((a, b) in change(), at in any::<Index>()) {
        let mut plan = plan::between(&a, &b);
        if plan.is_empty() {
            return Ok(());
        }
        let n = at.index(plan.steps.len());
        plan.steps.insert(n, plan.steps[n].clone());
        prop_assert_eq!(rules(&a, &plan, &b), [Rule::Applies]);
    }

    /// Whatever order the check lets pass never has fewer of a process in rotation than promised, and ends where it shall.
    #[test]
    fn a_shuffled_plan_that_passes_is_harmless((a, b) in change(), swaps in swaps()) {
        let mut plan = plan::between(&a, &b);
        let len = plan.steps.len();
        if len > 0 {
            swaps.iter().for_each(|(x, y)| plan.steps.swap(x.index(len), y.index(len)));
        }
        if check::plan(&a, &plan, &b).is_ok() {
            let of = |side: &Topology, name: &ProcessName| side.rotation.iter().filter(|id| id.process == *name).count();
            let names: BTreeSet<ProcessName> = a.rotation.iter().map(|id| id.process.clone()).collect();
            let floors: Vec<_> = names.into_iter().map(|name| (of(&a, &name).min(of(&b, &name)), name)).collect();
            let limited = a.processes.values().chain(b.processes.values()).any(|process| process.max.is_some());
            let mut at = a;
            for planned in &plan.steps {
                at = planned.step.apply(&at).unwrap();
                for (floor, name) in &floors {
                    prop_assert!(of(&at, name) + usize::from(limited) >= *floor);
                }
                prop_assert!(at.rotation.iter().all(|id| at.instances.contains_key(id)));
            }
            prop_assert_eq!(at, b);
        }
    }
}

fn swaps() -> impl Strategy<Value = Vec<(Index, Index)>> {
    prop::collection::vec(any::<(Index, Index)>(), 1..4)
}
