//! A controller that is killed at any point resumes to the same topology as an undisturbed run.
//!
//! The driver, the journal and the topology file end the world at their n-th operation, for every n; a new controller
//! then takes over. A kill between two writes of one line (a torn line) is among the points.

#![expect(clippy::unwrap_used, reason = "a test may end by a panic")]

mod topologies;
mod world;

use banyan_reconcile::proto::Outcome;
use banyan_topology::Topology;
use topologies::{Shape, topology};
use world::World;

/// Runs the change undisturbed, then once for every point at which it can be killed.
async fn survives_every_kill(from: Shape, to: Shape) {
    // Topologies are large, and each test keeps this future.
    Box::pin(every_kill(from, to)).await;
}

async fn every_kill(from: Shape, to: Shape) {
    let (from, to) = (topology(&from), topology(&to));
    let undisturbed = World::new(&from);
    let ended = undisturbed.change(&to, None).await.expect("nobody kills it");
    assert_eq!(ended.outcome, Outcome::Changed, "{:?}", ended.error);
    assert_eq!(ended.topology, to.clone());
    undisturbed.assert_matches(&to);
    let points = undisturbed.operations();
    assert!(points > 10, "only {points} points");
    for point in 0..points {
        let world = World::new(&from);
        assert!(world.change(&to, Some(point)).await.is_none(), "survived {point}");
        recovers(&world, &to, None, &format!("killed at {point} of {points}")).await;
    }
    // Killed again while resuming, at a sample of all pairs.
    for (first, second) in (0..points)
        .step_by(11)
        .flat_map(|a| (0..points).step_by(7).map(move |b| (a, b)))
    {
        let world = World::new(&from);
        assert!(world.change(&to, Some(first)).await.is_none());
        recovers(
            &world,
            &to,
            Some(second),
            &format!("killed at {first}, then at {second}"),
        )
        .await;
    }
}

async fn recovers(world: &World, to: &Topology, kill_again: Option<usize>, case: &str) {
    if world.take_over(to, kill_again).await.is_none() {
        let ended = world.take_over(to, None).await.expect("nobody kills it");
        assert_eq!(ended, *to, "{case}");
    }
    world.assert_matches(to);
    world.assert_no_step_was_lost(to, case);
}

#[tokio::test]
async fn a_start_from_nothing() {
    survives_every_kill(Shape::nothing(), Shape::running(1, 2)).await;
}

#[tokio::test]
async fn a_stop() {
    survives_every_kill(Shape::running(1, 2), Shape::nothing().released(1)).await;
}

#[tokio::test]
async fn scaling_out_and_in() {
    survives_every_kill(Shape::running(1, 1), Shape::running(1, 3)).await;
    survives_every_kill(Shape::running(1, 3), Shape::running(1, 1)).await;
}

#[tokio::test]
async fn a_deploy_with_a_release_command() {
    survives_every_kill(Shape::running(1, 2), Shape::running(2, 2).released(1)).await;
}

#[tokio::test]
async fn a_deploy_that_also_changes_the_edge_and_scales() {
    survives_every_kill(
        Shape::running(1, 1),
        Shape::running(2, 3).released(1).body_limit(99),
    )
    .await;
}

#[tokio::test]
async fn a_deploy_that_fails_is_undone_whenever_it_is_killed() {
    let from = topology(&Shape::running(1, 2));
    let to = topology(&Shape::running(2, 2).released(1));
    // Release commands are not undone.
    let mut back = from.clone();
    back.released = to.released.clone();

    let undisturbed = World::new(&from).failing("start web.2@r2");
    let ended = undisturbed.change(&to, None).await.expect("nobody kills it");
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert!(
        ended
            .error
            .as_deref()
            .unwrap_or_default()
            .contains("start web.2@r2")
    );
    assert_eq!(ended.topology, back);
    undisturbed.assert_matches(&back);
    for point in 0..undisturbed.operations() {
        let world = World::new(&from).failing("start web.2@r2");
        assert!(world.change(&to, Some(point)).await.is_none());
        let ended = Box::pin(world.finish_left(&to)).await;
        assert_eq!(ended, back, "killed at {point}");
        world.assert_matches(&back);
    }
}

#[tokio::test]
async fn a_change_that_fails_and_is_not_a_deploy_stands_and_can_go_either_way() {
    let (from, to) = (topology(&Shape::running(1, 1)), topology(&Shape::running(1, 3)));
    for revert in [false, true] {
        let world = World::new(&from).failing("start web.3@r1").standing();
        let ended = world.change(&to, None).await.unwrap();
        assert_eq!(ended.outcome, Outcome::Stopped);
        let error = ended.error.unwrap();
        assert!(
            error.contains("start web.3@r1") && error.contains("--resume"),
            "{error}"
        );
        world.mend();
        let ended = world.go_on(revert).await;
        let expected = if revert { &from } else { &to };
        assert_eq!(ended.topology, *expected);
        world.assert_matches(expected);
    }
}

#[tokio::test]
async fn a_plan_whose_instances_died_meanwhile_is_set_aside() {
    let (from, to) = (
        topology(&Shape::running(1, 2)),
        topology(&Shape::running(2, 2).released(1)),
    );
    let world = World::new(&from);
    let points = {
        let undisturbed = World::new(&from);
        undisturbed.change(&to, None).await.unwrap();
        undisturbed.operations()
    };
    assert!(world.change(&to, Some(points / 2)).await.is_none());
    world.everything_dies();
    let ended = world.take_over(&to, None).await.unwrap();
    assert_eq!(ended, to);
    world.assert_matches(&to);
}
