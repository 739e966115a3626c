//! Each rule: what fires it, what clears it, and what does neither.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use banyan_alert::{Change, Silences};

use crate::script::{play, rules_of, told};

fn check(script: &str, expected: Expect) {
    expected.assert_eq(&told("", script));
}

/// Requests of one route: good and bad ones, per step.
fn requests(good: &str, bad: &str) -> String {
    let name = "http_server_request_duration_seconds_count";
    format!(
        "{name}{{http_route=\"*\",http_response_status_code=\"2xx\"}} {good}\n\
         {name}{{http_route=\"*\",http_response_status_code=\"5xx\"}} {bad}\n"
    )
}

#[test]
fn errors_go_through_the_levels_and_are_over_when_they_end() {
    // 7 % of 100 requests/s for 20 minutes, after 10 and before 20 good ones.
    check(
        &requests(
            "0+3000x20 62790+2790x39 174300+3000x60",
            "0x20 210+210x39 8400x61",
        ),
        expect![[r#"
             14m00s fired P0 budget-fast 20.0x
             19m00s fired P1 errors-high 7.0 % (By(BudgetFast))
             21m00s fired P2 errors-some 7.0 % (By(BudgetFast))
             32m00s fired P1 budget-medium 43.8x (By(BudgetFast))
             32m30s cleared(recovered) P1 errors-high 5.7 % (By(BudgetFast))
             35m00s cleared(recovered) P0 budget-fast 21.2x
             35m00s unmuted P1 budget-medium 40.1x
             35m30s cleared(recovered) P2 errors-some 1.4 % (By(BudgetMedium))
             58m30s cleared(recovered) P1 budget-medium 7.0x
        "#]],
    );
}

#[test]
fn when_all_fails_only_the_most_urgent_is_told() {
    check(
        &requests("0+3000x20 60000x19 60000+3000x60", "0x20 3000+3000x19 60000x61"),
        expect![[r#"
             11m30s fired P0 budget-fast 130.4x
             12m00s fired P0 errors-most 100.0 %
             15m30s fired P1 errors-high 100.0 % (By(ErrorsMost))
             20m30s fired P2 errors-some 100.0 % (By(ErrorsMost))
             22m00s cleared(recovered) P0 errors-most 100.0 %
             26m00s cleared(recovered) P0 budget-fast 111.1x
             26m00s cleared(recovered) P1 errors-high 11.1 % (By(BudgetFast))
             26m00s cleared(recovered) P2 errors-some 11.1 % (By(BudgetFast))
             32m00s fired P1 budget-medium 317.5x
             51m00s cleared(recovered) P1 budget-medium 16.9x
        "#]],
    );
}

#[test]
fn few_requests_say_nothing_and_missing_ones_fire_only_the_rule_about_them() {
    let few = requests("0x60", "0+1x60");
    check(&few, expect![[""]]);
    check(
        &format!(
            "{}banyan_build_info{{role=\"edge\"}} 1x20 _x60 1x10\nbanyan_build_info{{role=\"observe\"}} 1x90",
            requests("0+3000x20 _x60 0+3000x10", "0+1x20 _x60 0+1x10")
        ),
        expect![[r#"
             12m30s fired P1 no-data 120.0 s
             41m30s cleared(recovered) P1 no-data 120.0 s
        "#]],
    );
}

#[test]
fn a_critical_route_is_judged_on_its_own() {
    let name = "http_server_request_duration_seconds_count";
    let script = format!(
        "{name}{{http_route=\"*\",http_response_status_code=\"2xx\"}} 0+30000x30\n\
         {name}{{http_route=\"pay\",http_response_status_code=\"2xx\"}} 0+60x10 600+0x9 600+60x9\n\
         {name}{{http_route=\"pay\",http_response_status_code=\"5xx\"}} 0x10 60+60x9 600x9\n"
    );
    expect![[r#"
        7m00s fired P0 errors-critical http_route=pay 100.0 %
        11m30s cleared(recovered) P0 errors-critical http_route=pay 100.0 %
    "#]]
    .assert_eq(&told("[alerts]\ncritical = [\"pay\"]\n", &script));
    expect![[""]].assert_eq(&told("", &script));
}

#[test]
fn slow_requests_and_statements_fire_by_their_p95() {
    let histogram = |name: &str, fast: &str, slow: &str, all: &str| {
        format!(
            "{name}_bucket{{le=\"0.1\"}} {fast}\n{name}_bucket{{le=\"1\"}} {slow}\n{name}_bucket{{le=\"5\"}} {all}\n\
             {name}_bucket{{le=\"+Inf\"}} {all}\n{name}_count{{}} {all}\n"
        )
    };
    // A tenth takes 1 to 5 s in the middle.
    let (most, all) = ("0+300x10 3270+270x40 14100+300x40", "0+300x90");
    check(
        &histogram("http_server_request_duration_seconds", most, most, all),
        expect![[r#"
             18m30s fired P1 latency-high 3.0 s
             32m00s cleared(recovered) P1 latency-high 2.8 s
        "#]],
    );
    check(
        &histogram("db_client_operation_duration_seconds", most, most, all),
        expect![[r#"
             18m00s fired P2 queries-slow 3.0 s
             32m00s cleared(recovered) P2 queries-slow 2.8 s
        "#]],
    );
}

#[test]
fn what_is_down_behind_or_full_is_told_and_what_it_is_about() {
    check(
        "banyan_postgres_up{} 1x5 0x5 1x5\n",
        expect![[r#"
          3m30s fired P0 no-primary 0
          7m00s cleared(recovered) P0 no-primary 0
    "#]],
    );
    check(
        "banyan_edge_endpoint_ready{upstream=\"web\",endpoint=\"web.1@r1\"} 1x5 0x5 1x5\n\
         banyan_edge_endpoint_ready{upstream=\"web\",endpoint=\"web.2@r1\"} 0x15\n\
         banyan_edge_endpoint_ready{upstream=\"api\",endpoint=\"api.1@r1\"} 1x15\n",
        expect![[r#"
              3m30s fired P0 no-instance upstream=web 0
              7m00s cleared(recovered) P0 no-instance upstream=web 0
        "#]],
    );
    check(
        "banyan_pgproxy_lag_seconds{node=\"db2\"} 0x5 6x5 0x5\nbanyan_pgproxy_lag_seconds{node=\"db3\"} 0x15\n",
        expect![[r#"
              4m00s fired P1 replica-lag node=db2 6
              7m00s cleared(recovered) P1 replica-lag node=db2 6
        "#]],
    );
    check(
        "redis_up{redis=\"sessions\"} 1x5 0x5 1x5\nredis_up{redis=\"cache\"} 0x15\n",
        expect![[r#"
          3m30s fired P1 sessions-down 0
          7m00s cleared(recovered) P1 sessions-down 0
    "#]],
    );
    check(
        "system_filesystem_usage_bytes{system_filesystem_state=\"used\"} 80x5 95x20 80x9\n\
         system_filesystem_usage_bytes{system_filesystem_state=\"free\"} 20x5 5x20 20x9\n",
        expect![[r#"
            8m00s fired P1 disk-full 95.0 %
            14m30s cleared(recovered) P1 disk-full 95.0 %
        "#]],
    );
    check(
        "system_memory_usage_bytes{system_memory_state=\"used\"} 70x5 85x30 70x9\n\
         system_memory_usage_bytes{system_memory_state=\"free\"} 30x5 15x30 30x9\n",
        expect![[r#"
             13m00s fired P2 memory-high 85.0 %
             19m30s cleared(recovered) P2 memory-high 85.0 %
        "#]],
    );
    // A tenth of a percent each minute: full within a day.
    check(
        "system_filesystem_usage_bytes{system_filesystem_state=\"free\"} 10000-5x600 7000x800\n",
        expect![[r#"
            240m00s fired P1 disk-filling 12.7 h
            569m30s cleared(recovered) P1 disk-filling 3.0 d
        "#]],
    );
    check(
        "banyan_edge_certificate_expiry_timestamp_seconds{} 1700500000x130 1710000000x9\n",
        expect![[r#"
             60m00s fired P1 certificate-expires 5.7 d
             66m30s cleared(recovered) P1 certificate-expires 5.7 d
        "#]],
    );
    check(
        "redis_keyspace_hits_total{redis=\"cache\"} 0+50x60 3100+100x60\n\
         redis_keyspace_misses_total{redis=\"cache\"} 0+50x60 3000x60\n",
        expect![[r#"
             15m30s fired P2 cache-misses 50.0 %
             40m00s cleared(recovered) P2 cache-misses 78.3 %
        "#]],
    );
}

#[test]
fn rules_are_as_the_configuration_has_them() {
    let table = "[alerts]\nclear = \"0s\"\n[alerts.rule.memory-high]\nlimit = 0.5\nfor = \"0s\"\n\
                 [alerts.rule.no-primary]\nenabled = false\n";
    expect![[r#"
          1m30s fired P2 memory-high 60.0 %
          3m00s cleared(recovered) P2 memory-high 60.0 %
    "#]]
    .assert_eq(&told(
        table,
        "system_memory_usage_bytes{system_memory_state=\"used\"} 40x2 60x2 40x2\n\
         system_memory_usage_bytes{system_memory_state=\"free\"} 60x2 40x2 60x2\nbanyan_postgres_up{} 0x9\n",
    ));
}

/// Steps of lag above and below the limit, each for so many.
fn waves() -> impl Strategy<Value = Vec<(bool, usize)>> {
    prop::collection::vec((any::<bool>(), 1_usize..12), 1..12)
}

fn lag(waves: &[(bool, usize)]) -> (Vec<bool>, String) {
    let values: Vec<bool> = waves
        .iter()
        .flat_map(|(high, steps)| vec![*high; *steps])
        .collect();
    let words: Vec<&str> = values.iter().map(|high| if *high { "9" } else { "1" }).collect();
    (
        values,
        format!("banyan_pgproxy_lag_seconds{{node=\"db2\"}} {}\n", words.join(" ")),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `for` is 1 min (two steps later), `clear` 1 min: what is shorter changes nothing.
    #[test]
    fn nothing_fires_before_its_time_nor_is_over_before_it(waves in waves()) {
        let (values, script) = lag(&waves);
        let (mut firing, mut high, mut low) = (false, 0, 0);
        play(&rules_of(""), &script, &Silences::default(), |step, state, _| {
            if values[step] { high += 1; low = 0 } else { low += 1; high = 0 }
            if high >= 3 { firing = true }
            if low >= 3 { firing = false }
            let fires = state.firing().any(|alert| alert.rule.name() == "replica-lag");
            assert_eq!(fires, firing, "step {step} of {values:?}");
        });
    }

    /// Gaps of any kind in any series: nothing that was not measured is taken for a zero.
    #[test]
    fn without_data_nothing_begins(waves in waves()) {
        let steps: Vec<String> = waves.iter().map(|(gap, steps)| if *gap { format!("_x{steps}") } else { format!("1x{}", steps - 1) }).collect();
        let steps = steps.join(" ");
        let script = format!(
            "banyan_postgres_up{{}} {steps}\nbanyan_edge_endpoint_ready{{upstream=\"web\"}} {steps}\n\
             redis_up{{redis=\"sessions\"}} {steps}\nredis_keyspace_hits_total{{redis=\"cache\"}} {steps}\n\
             redis_keyspace_misses_total{{redis=\"cache\"}} {steps}\n"
        );
        play(&rules_of(""), &script, &Silences::default(), |_, state, _| assert_eq!(state.alerts, []));
    }

    /// However long and often something was wrong: after it has been right for long enough, nothing fires.
    #[test]
    fn all_is_clear_after_recovery(waves in waves()) {
        let (_, script) = lag(&waves);
        let script = format!("{} 0x4\n", script.trim());
        let mut last = 1;
        play(&rules_of(""), &script, &Silences::default(), |_, state, _| last = state.alerts.len());
        prop_assert_eq!(last, 0);
    }

    /// Whatever fires, everybody who was told of its begin is told of its end, and nobody twice.
    #[test]
    fn who_is_told_is_told_of_the_end(waves in waves()) {
        let (_, script) = lag(&waves);
        let script = format!("{} 0x4\nbanyan_postgres_up{{}} {}\n", script.trim(), "1x3 0x6 ".repeat(8));
        let mut open = std::collections::BTreeSet::new();
        play(&rules_of(""), &script, &Silences::default(), |_, state, transitions| {
            for told in transitions.iter().filter(|transition| transition.tell) {
                let new = !matches!(told.change, Change::Cleared(_));
                let rule = told.alert.rule;
                assert!(if new { open.insert(rule) } else { open.remove(&rule) }, "{told:?}");
            }
            let known: std::collections::BTreeSet<_> = state.firing().filter(|alert| alert.told).map(|alert| alert.rule).collect();
            assert_eq!(known, open);
        });
    }
}
