//! Plans of the role that keeps what is measured: last up, last down, and in nobody's way.

use std::time::Duration;

use banyan_config::{ObserveSettings, Otlp};
use banyan_topology::{Observe, Topology, check, plan};
use expect_test::{Expect, expect};

use crate::notation::topology;

fn observed(text: &str, port: u16, disk_bytes: u64) -> Topology {
    let keep = Duration::from_secs(60 * 86_400);
    Topology {
        observe: Some(Observe {
            port,
            settings: ObserveSettings {
                disk_bytes,
                keep,
                otlp: Otlp::default(),
            },
            alerts: None,
        }),
        ..topology(text)
    }
}

fn plans(from: &Topology, to: &Topology, expected: Expect) {
    let plan = plan::between(from, to);
    assert_eq!(check::plan(from, &plan, to), Ok(()));
    let back = plan.reverted(plan.steps.len());
    assert_eq!(check::plan(to, &back, from), Ok(()));
    expected.assert_eq(&plan.to_string());
}

#[test]
fn it_is_the_last_that_starts_and_the_last_that_stops() {
    let up = observed("r1 edge web.1@r1*", 9470, 1 << 28);
    let plan = plan::between(&up.stopped(), &up).to_string();
    assert!(plan.ends_with("start observe on 127.0.0.1:9470"), "{plan}");
    let plan = plan::between(&up, &up.stopped()).to_string();
    assert!(plan.ends_with("stop observe (its history stays)"), "{plan}");
}

#[test]
fn another_disk_is_told_to_the_running_one_and_another_port_is_another_one() {
    let small = observed("r1 edge web.1@r1*", 9470, 1 << 28);
    let large = observed("r1 edge web.1@r1*", 9470, 1 << 30);
    let elsewhere = observed("r1 edge web.1@r1*", 9471, 1 << 30);
    plans(
        &small,
        &large,
        expect!["1   change observe: disk_bytes 268435456 → 1073741824"],
    );
    plans(
        &large,
        &elsewhere,
        expect![[r#"
            1   stop observe (its history stays)
            2   start observe on 127.0.0.1:9471"#]],
    );
}
