//! Figures in, the next step out.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn single() -> Standing {
    Standing {
        instances: 1,
        own_database: true,
        ..Standing::default()
    }
}

/// Four cores, little to do.
fn calm() -> Measured {
    Measured {
        over: HOUR,
        requests: 40_000.0,
        rate: Some(11.0),
        rate_busy: Some(16.0),
        p95: Some(0.08),
        refused: Some(0.0),
        cores: Some(4.0),
        machine: Some(0.3),
        app: Some(0.4),
        database: Some(0.3),
        movable: Some(0.7),
        sent: Some(20_000.0),
    }
}

fn check(standing: Standing, measured: &Measured, expected: Expect) {
    let told = match advise(standing, measured, LEAST) {
        Ok(advice) => {
            let next = advice.next.iter().map(|step| {
                let figures = step
                    .evidence
                    .iter()
                    .map(|one| format!("\n     {one}"))
                    .collect::<String>();
                format!("next {}{figures}", step.rung)
            });
            let open = advice.not_yet.iter().map(|step| {
                let missing = step
                    .missing()
                    .map_or_else(|| "due too".to_owned(), ToString::to_string);
                format!("{}: {missing}", step.rung)
            });
            next.chain(open).collect::<Vec<_>>().join("\n")
        }
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&told);
}

#[test]
fn a_calm_system_is_left_as_it_is_and_each_step_says_what_is_missing() {
    check(
        single(),
        &calm(),
        expect![[r#"
        load-balancer: CPU of an instance, busiest minutes 40 %; the rule asks for above 70 %
        separate-database: CPU of the machine, busiest minutes 30 %; the rule asks for above 70 %
        replication: CPU of PostgreSQL, of the machine's 8 %; the rule asks for above 70 %
        cache: of the CPU in use PostgreSQL 25 %; the rule asks for above 35 %
        cdn: leave the edge in a month 52 GB; the rule asks for above 500 GB
        autoscaling: busiest minutes against the mean 1.5 x; the rule asks for above 2.0 x"#]],
    );
}

#[test]
fn one_busy_instance_wants_more_of_them_unless_the_machine_is_full() {
    let busy = Measured {
        app: Some(0.93),
        machine: Some(0.5),
        ..calm()
    };
    check(
        single(),
        &busy,
        expect![[r#"
        next load-balancer
             CPU of an instance, busiest minutes 93 %; the rule asks for above 70 %
             CPU of the machine, busiest minutes 50 %; the rule asks for below 90 %
        separate-database: CPU of the machine, busiest minutes 50 %; the rule asks for above 70 %
        replication: CPU of PostgreSQL, of the machine's 8 %; the rule asks for above 70 %
        cache: of the CPU in use PostgreSQL 15 %; the rule asks for above 35 %
        cdn: leave the edge in a month 52 GB; the rule asks for above 500 GB
        autoscaling: busiest minutes against the mean 1.5 x; the rule asks for above 2.0 x"#]],
    );
    let full = Measured {
        machine: Some(0.95),
        ..busy
    };
    check(
        single(),
        &full,
        expect![[r#"
        load-balancer: CPU of the machine, busiest minutes 95 %; the rule asks for below 90 %
        separate-database: of it PostgreSQL 8 %; the rule asks for above 35 %
        replication: CPU of PostgreSQL, of the machine's 8 %; the rule asks for above 70 %
        cache: of the CPU in use PostgreSQL 8 %; the rule asks for above 35 %
        cdn: leave the edge in a month 52 GB; the rule asks for above 500 GB
        autoscaling: busiest minutes against the mean 1.5 x; the rule asks for above 2.0 x"#]],
    );
}

#[test]
fn a_database_that_limits_leads_to_what_takes_load_off_it() {
    let busy = Measured {
        app: Some(0.6),
        machine: Some(0.9),
        database: Some(3.0),
        movable: Some(0.95),
        ..calm()
    };
    check(
        single(),
        &busy,
        expect![[r#"
        next separate-database
             CPU of the machine, busiest minutes 90 %; the rule asks for above 70 %
             of it PostgreSQL 83 %; the rule asks for above 35 %
        load-balancer: CPU of an instance, busiest minutes 60 %; the rule asks for above 70 %
        replication: due too
        cache: due too
        cdn: leave the edge in a month 52 GB; the rule asks for above 500 GB
        autoscaling: busiest minutes against the mean 1.5 x; the rule asks for above 2.0 x"#]],
    );
    let elsewhere = Standing {
        instances: 3,
        own_database: false,
        cdn: true,
        ..single()
    };
    check(
        elsewhere,
        &busy,
        expect![[r#"
        next cache
             of the CPU in use PostgreSQL 83 %; the rule asks for above 35 %
             statements that read only 95 %; the rule asks for above 91 %
        autoscaling: busiest minutes against the mean 1.5 x; the rule asks for above 2.0 x"#]],
    );
}

#[test]
fn too_little_data_is_refused() {
    let short = Measured {
        over: Duration::from_secs(600),
        ..calm()
    };
    check(
        single(),
        &short,
        expect!["too little was measured to advise: 10 min and 40000 requests, of 30 min and 1000 at least"],
    );
    let idle = Measured {
        requests: 12.0,
        ..calm()
    };
    check(
        single(),
        &idle,
        expect!["too little was measured to advise: 60 min and 12 requests, of 30 min and 1000 at least"],
    );
}

proptest! {
    #[test]
    fn what_was_not_measured_advises_nothing(instances in 1..9_u32, over in 1800..900_000_u64) {
        let standing = Standing { instances, ..single() };
        let nothing = Measured {
            over: Duration::from_secs(over),
            requests: 1e6,
            machine: Some(0.5),
            ..Measured::default()
        };
        let advice = advise(standing, &nothing, LEAST).unwrap();
        prop_assert!(advice.next.is_none());
        prop_assert!(advice.not_yet.iter().all(|step| step.missing().is_some()));
    }
}
