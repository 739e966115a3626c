//! Plans between topologies as people read them: text in, text out.

use crate::notation::topology;
use banyan_topology::{Plan, Step, check, plan};
use expect_test::{Expect, expect};

/// Plans, checks, and compares the text.
fn shows(current: &str, desired: &str, expected: Expect) {
    let (current, desired) = (topology(current), topology(desired));
    let plan = plan::between(&current, &desired);
    check::plan(&current, &plan, &desired).unwrap();
    expected.assert_eq(&format!("{plan}\n"));
}

const ONE: &str = "r1 ran:r1 db edge web.1@r1*";
const THREE: &str = "r1 ran:r1 db edge web.1@r1* web.2@r1* web.3@r1*";

#[test]
fn a_start_from_nothing_admits_to_an_edge_that_has_just_begun() {
    shows(
        "",
        ONE,
        expect![[r#"
        1   start postgres 15 on port 25432
        2 ! run the release command of r1 (not undone by rollback)
        3   make r1 the current release
        4   add process web
        5   start web.1@r1 on port 20101
        6   start edge on 127.0.0.1:8080
        7   admit web.1@r1
    "#]],
    );
}

#[test]
fn more_instances_are_started_at_once_and_then_admitted() {
    shows(
        ONE,
        "r1 ran:r1 db edge web.1@r1* web.2@r1* web.3@r1* web.4@r1*",
        expect![[r#"
            1   start web.2@r1 on port 20102
            2   start web.3@r1 on port 20103
            3   start web.4@r1 on port 20104
            4   admit web.2@r1
            5   admit web.3@r1
            6   admit web.4@r1
        "#]],
    );
}

#[test]
fn fewer_instances_drain_the_highest_slots() {
    let four = "r1 ran:r1 db edge web.1@r1* web.2@r1* web.3@r1* web.4@r1*";
    shows(
        four,
        "r1 ran:r1 db edge web.1@r1* web.2@r1*",
        expect![[r#"
        1   drain web.4@r1
        2   stop web.4@r1
        3   drain web.3@r1
        4   stop web.3@r1
    "#]],
    );
}

#[test]
fn a_deploy_runs_the_release_command_once_and_rolls_slot_by_slot() {
    let new = "r2 ran:r1 ran:r2 db edge web.1@r2* web.2@r2* web.3@r2*";
    shows(
        THREE,
        new,
        expect![[r#"
         1 ! run the release command of r2 (not undone by rollback)
         2   make r2 the current release (was r1)
         3   start web.1@r2 on port 20201
         4   admit web.1@r2
         5   drain web.1@r1
         6   stop web.1@r1
         7   start web.2@r2 on port 20202
         8   admit web.2@r2
         9   drain web.2@r1
        10   stop web.2@r1
        11   start web.3@r2 on port 20203
        12   admit web.3@r2
        13   drain web.3@r1
        14   stop web.3@r1
    "#]],
    );
}

#[test]
fn a_rollback_runs_no_release_command() {
    let new = "r2 ran:r1 ran:r2 db edge web.1@r2* web.2@r2* web.3@r2*";
    shows(
        new,
        "r1 ran:r1 ran:r2 db edge web.1@r1* web.2@r1* web.3@r1*",
        expect![[r#"
             1   make r1 the current release (was r2)
             2   start web.1@r1 on port 20101
             3   admit web.1@r1
             4   drain web.1@r2
             5   stop web.1@r2
             6   start web.2@r1 on port 20102
             7   admit web.2@r1
             8   drain web.2@r2
             9   stop web.2@r2
            10   start web.3@r1 on port 20103
            11   admit web.3@r1
            12   drain web.3@r2
            13   stop web.3@r2
        "#]],
    );
}

#[test]
fn a_deploy_to_more_instances_adds_the_new_slots_first() {
    shows(
        ONE,
        "r2 ran:r1 db edge web.1@r2* web.2@r2*",
        expect![[r#"
        1   make r2 the current release (was r1)
        2   start web.2@r2 on port 20202
        3   admit web.2@r2
        4   start web.1@r2 on port 20201
        5   admit web.1@r2
        6   drain web.1@r1
        7   stop web.1@r1
    "#]],
    );
}

#[test]
fn a_deploy_to_fewer_instances_stops_the_surplus_last() {
    shows(
        THREE,
        "r2 ran:r1 db edge web.1@r2*",
        expect![[r#"
        1   make r2 the current release (was r1)
        2   start web.1@r2 on port 20201
        3   admit web.1@r2
        4   drain web.1@r1
        5   stop web.1@r1
        6   drain web.3@r1
        7   stop web.3@r1
        8   drain web.2@r1
        9   stop web.2@r1
    "#]],
    );
}

#[test]
fn an_edge_of_another_program_is_replaced_first_and_then_changed() {
    shows(
        "r1 ran:r1 db edge web.1@r1*",
        "r1 ran:r1 db edge~* web.1@r1* web.2@r1*",
        expect![[r#"
        1   replace the edge process without a break: program old → new
        2   change edge: timeouts.idle 1m → 30s
        3   start web.2@r1 on port 20102
        4   admit web.2@r1
    "#]],
    );
}

#[test]
fn a_running_edge_cannot_be_given_another_program_nor_a_new_process_other_settings() {
    let (current, desired) = (topology("r1 edge web.1@r1*"), topology("r1 edge~* web.1@r1*"));
    let (from, to) = (current.edge.clone().unwrap(), desired.edge.clone().unwrap());
    for step in [
        Step::ConfigureEdge {
            from: from.clone(),
            to: to.clone(),
        },
        Step::ReplaceEdge { from, to },
    ] {
        let plan = Plan::from_iter([step]);
        let violations = check::plan(&current, &plan, &desired).unwrap_err();
        assert_eq!(violations[0].rule, check::Rule::Applies);
    }
}

#[test]
fn edge_settings_change_in_place() {
    shows(
        ONE,
        "r1 ran:r1 db edge~ web.1@r1*",
        expect![[r#"
        1   change edge: timeouts.idle 1m → 30s
    "#]],
    );
}

#[test]
fn a_listen_address_changes_in_place() {
    shows(
        ONE,
        "r1 ran:r1 db edge:9090 web.1@r1*",
        expect![[r#"
        1   change edge: listen 127.0.0.1:8080 → 127.0.0.1:9090
    "#]],
    );
}

#[test]
fn process_settings_change_without_a_restart() {
    shows(
        ONE,
        "r1 ran:r1 db edge web~ web.1@r1*",
        expect![[r#"
        1   change process web: stop_grace 30s → 10s
    "#]],
    );
}

#[test]
fn a_singleton_stops_before_its_successor_starts() {
    let current = "r1 edge web.1@r1* clock<=1 clock.1@r1 worker.1@r1";
    shows(
        current,
        "r2 edge web.1@r2* clock<=1 clock.1@r2 worker.1@r2",
        expect![[r#"
            1   make r2 the current release (was r1)
            2   start web.1@r2 on port 20201
            3   admit web.1@r2
            4   drain web.1@r1
            5   stop web.1@r1
            6   stop clock.1@r1
            7   start clock.1@r2 on port 22201
            8   start worker.1@r2 on port 23201
            9   stop worker.1@r1
        "#]],
    );
}

#[test]
fn a_full_process_lacks_one_instance_at_a_time_in_a_deploy() {
    shows(
        "r1 edge web<=2 web.1@r1* web.2@r1*",
        "r2 edge web<=2 web.1@r2* web.2@r2*",
        expect![[r#"
            1   make r2 the current release (was r1)
            2   drain web.1@r1
            3   stop web.1@r1
            4   start web.1@r2 on port 20201
            5   admit web.1@r2
            6   drain web.2@r1
            7   stop web.2@r1
            8   start web.2@r2 on port 20202
            9   admit web.2@r2
        "#]],
    );
}

#[test]
fn where_room_must_be_made_the_instance_without_traffic_goes_first() {
    let half = "r2 edge web<=2 web.1@r1* web.2@r2";
    shows(
        half,
        "r3 edge web<=2 web.1@r3* web.2@r3*",
        expect![[r#"
        1   make r3 the current release (was r2)
        2   stop web.2@r2
        3   start web.1@r3 on port 20301
        4   admit web.1@r3
        5   drain web.1@r1
        6   stop web.1@r1
        7   start web.2@r3 on port 20302
        8   admit web.2@r3
    "#]],
    );
}

#[test]
fn a_lowered_max_makes_room_before_the_new_release_starts() {
    shows(
        "r1 edge web.1@r1* web.2@r1* web.3@r1*",
        "r2 edge web<=2 web.1@r2* web.2@r2*",
        expect![[r#"
             1   make r2 the current release (was r1)
             2   change process web: max unset → 2
             3   drain web.3@r1
             4   stop web.3@r1
             5   drain web.1@r1
             6   stop web.1@r1
             7   start web.1@r2 on port 20201
             8   admit web.1@r2
             9   drain web.2@r1
            10   stop web.2@r1
            11   start web.2@r2 on port 20202
            12   admit web.2@r2
        "#]],
    );
}

#[test]
fn a_removed_process_is_stopped_then_forgotten() {
    shows(
        "r1 edge web.1@r1* worker.1@r1 worker.2@r1",
        "r1 edge web.1@r1*",
        expect![[r#"
            1   stop worker.2@r1
            2   stop worker.1@r1
            3   remove process worker
        "#]],
    );
}

#[test]
fn another_process_behind_the_edge_is_ready_before_the_edge_turns_to_it() {
    shows(
        "r1 edge web.1@r1* web.2@r1*",
        "r2 edge/api api.1@r2* api.2@r2*",
        expect![[r#"
             1   make r2 the current release (was r1)
             2   add process api
             3   start api.1@r2 on port 21201
             4   start api.2@r2 on port 21202
             5   admit api.1@r2
             6   admit api.2@r2
             7   change edge: process web → api
             8   drain web.2@r1
             9   stop web.2@r1
            10   drain web.1@r1
            11   stop web.1@r1
            12   remove process web
        "#]],
    );
}

#[test]
fn a_routed_process_is_admitted_before_its_route_is_and_drained_after_it_went() {
    shows(
        "r1 edge web.1@r1*",
        "r1 edge+api web.1@r1* api.1@r1* api.2@r1*",
        expect![[r#"
            1   add process api
            2   start api.1@r1 on port 21101
            3   start api.2@r1 on port 21102
            4   admit api.1@r1
            5   admit api.2@r1
            6   change edge: add route api
        "#]],
    );
    shows(
        "r1 edge+api web.1@r1* api.1@r1*",
        "r1 edge web.1@r1* api.1@r1",
        expect![[r#"
            1   change edge: remove route api
            2   drain api.1@r1
        "#]],
    );
    shows(
        "r1 edge web.1@r1* api.1@r1",
        "r1 edge+api web.1@r1* api.1@r1*",
        expect![[r#"
            1   admit api.1@r1
            2   change edge: add route api
        "#]],
    );
    shows(
        "r1 edge+api web.1@r1* api.1@r1*",
        "r2 edge+api web.1@r2* api.1@r2*",
        expect![[r#"
            1   make r2 the current release (was r1)
            2   start web.1@r2 on port 20201
            3   admit web.1@r2
            4   drain web.1@r1
            5   stop web.1@r1
            6   start api.1@r2 on port 21201
            7   admit api.1@r2
            8   drain api.1@r1
            9   stop api.1@r1
        "#]],
    );
}

#[test]
fn a_new_database_starts_before_the_instances_that_use_it() {
    shows(
        "r1 edge web.1@r1*",
        "r2 db ran:r2 edge web.1@r2*",
        expect![[r#"
        1   start postgres 15 on port 25432
        2 ! run the release command of r2 (not undone by rollback)
        3   make r2 the current release (was r1)
        4   start web.1@r2 on port 20201
        5   admit web.1@r2
        6   drain web.1@r1
        7   stop web.1@r1
    "#]],
    );
}

#[test]
fn a_removed_database_outlives_the_instances_that_use_it() {
    shows(
        ONE,
        "r2 ran:r1 edge web.1@r2*",
        expect![[r#"
        1   make r2 the current release (was r1)
        2   start web.1@r2 on port 20201
        3   admit web.1@r2
        4   drain web.1@r1
        5   stop web.1@r1
        6   stop postgres 15 (its data stays)
    "#]],
    );
}

#[test]
fn going_down_stops_the_edge_first_and_the_database_last() {
    let all = "r1 ran:r1 db edge web.1@r1* web.2@r1* clock<=1 clock.1@r1";
    shows(
        all,
        "",
        expect![[r#"
         1   drain and stop edge on 127.0.0.1:8080
         2   drain web.2@r1
         3   stop web.2@r1
         4   drain web.1@r1
         5   stop web.1@r1
         6   stop clock.1@r1
         7   remove process clock
         8   remove process web
         9   have no current release
        10   stop postgres 15 (its data stays)
    "#]],
    );
}

#[test]
fn nothing_to_do_says_so() {
    shows(
        ONE,
        ONE,
        expect![[r#"
        nothing to do
    "#]],
    );
}

#[test]
fn a_deploy_that_stopped_half_way_is_planned_on_from_there() {
    let half = "r2 ran:r1 ran:r2 db edge web.1@r2* web.2@r1* web.2@r2 web.3@r1*";
    let new = "r2 ran:r1 ran:r2 db edge web.1@r2* web.2@r2* web.3@r2*";
    shows(
        half,
        new,
        expect![[r#"
        1   admit web.2@r2
        2   start web.3@r2 on port 20203
        3   admit web.3@r2
        4   drain web.3@r1
        5   stop web.3@r1
        6   drain web.2@r1
        7   stop web.2@r1
    "#]],
    );
}

#[test]
fn what_died_is_started_again() {
    let mut current = topology("r1 ran:r1 edge web.1@r1* web.2@r1* web.3@r1*");
    current.lose(&"web.1@r1".parse().unwrap());
    current.lose(&"web.2@r1".parse().unwrap());
    let desired = topology(THREE);
    let plan = plan::between(&current, &desired);
    check::plan(&current, &plan, &desired).unwrap();
    expect![[r#"
        1   start postgres 15 on port 25432
        2   start web.1@r1 on port 20101
        3   start web.2@r1 on port 20102
        4   admit web.1@r1
        5   admit web.2@r1"#]]
    .assert_eq(&plan.to_string());
}

#[test]
fn an_edge_that_died_is_started_again() {
    shows(
        "r1 ran:r1 db web.1@r1*",
        ONE,
        expect![[r#"
        1   start edge on 127.0.0.1:8080
    "#]],
    );
}

#[test]
fn another_database_under_a_running_app_is_refused() {
    let current = topology(ONE);
    let mut desired = current.clone();
    desired.database = Some(crate::notation::database(25433));
    let plan = plan::between(&current, &desired);
    let broken = check::plan(&current, &plan, &desired).unwrap_err();
    let text: Vec<String> = broken.iter().map(ToString::to_string).collect();
    expect![[r#"
        step 1: the edge would stop though it stays
        step 2: `drain web.1@r1` works against the wanted result
        step 2: draining web.1@r1 leaves 0 in rotation, fewer than the 1 promised
        step 3: `stop web.1@r1` works against the wanted result"#]]
    .assert_eq(&text.join("\n"));
}

#[test]
fn places_start_with_the_edge_come_before_it_changes_and_go_after() {
    shows(
        "",
        "r1 edge at:south:8081 web.1@r1*",
        expect![[r#"
        1   make r1 the current release
        2   add process web
        3   start web.1@r1 on port 20101
        4   start edge on 127.0.0.1:8080, south on 127.0.0.1:8081
        5   admit web.1@r1
    "#]],
    );
    shows(
        "r1 edge at:south:8081 at:west:8082 web.1@r1*",
        "r1 edge~ at:west:8083 at:north:8084 web.1@r1*",
        expect![[r#"
            1   drain and stop edge west on 127.0.0.1:8082
            2   start edge north on 127.0.0.1:8084
            3   start edge west on 127.0.0.1:8083
            4   change edge: timeouts.idle 1m → 30s
            5   drain and stop edge south on 127.0.0.1:8081
        "#]],
    );
    shows(
        "r1 edge at:south:8081 at:west:8082 web.1@r1*",
        "r1 edge at:north:8081 web.1@r1*",
        expect![[r#"
            1   drain and stop edge south on 127.0.0.1:8081
            2   start edge north on 127.0.0.1:8081
            3   drain and stop edge west on 127.0.0.1:8082
        "#]],
    );
    shows(
        "r1 edge at:south:8081 web.1@r1*",
        "r1 edge* at:south:8081 at:west:8082 web.1@r1*",
        expect![[r#"
            1   replace the edge process without a break: program old → new
            2   start edge west on 127.0.0.1:8082
        "#]],
    );
}
