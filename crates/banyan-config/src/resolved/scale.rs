//! `[scale.NAME]` written out.

use crate::scale::{Scale, ScalePolicy, SpecRules, TargetRule};
use crate::units::format_duration;

use super::Writer;

pub(super) fn table(out: &mut Writer, name: &str, scale: &Scale) {
    out.table(&format!("scale.{name}"));
    let policy = match &scale.policy {
        ScalePolicy::Headroom => "headroom",
        ScalePolicy::Target(_) => "target",
        ScalePolicy::Concurrency => "concurrency",
        ScalePolicy::Spec(_) => "spec",
    };
    out.text("policy", policy);
    out.line("min", scale.min);
    out.line("max", scale.max);
    out.text("slo_wait", &format_duration(scale.slo_wait));
    out.line("cores", scale.cores);
    if !scale.schedule.is_empty() {
        let floors = scale.schedule.iter().map(|floor| {
            format!(
                "{{ from = \"{}\", to = \"{}\", min = {} }}",
                floor.from, floor.to, floor.min
            )
        });
        out.list("schedule", floors);
    }
    out.line("shadow", scale.shadow);
    if let Some(connections) = scale.connections {
        out.line("connections", connections);
    }
    out.line("speed", scale.speed);
    match &scale.policy {
        ScalePolicy::Headroom | ScalePolicy::Concurrency => {}
        ScalePolicy::Target(rule) => target(out, *rule),
        ScalePolicy::Spec(rules) => spec(out, rules),
    }
}

fn target(out: &mut Writer, rule: TargetRule) {
    let (metric, value) = match rule {
        TargetRule::Cpu(share) => ("cpu", (share.of_one() * 100.0).round()),
        TargetRule::Requests(requests) => ("requests", f64::from(requests)),
        TargetRule::InFlight(requests) => ("in_flight", f64::from(requests)),
    };
    out.text("metric", metric);
    out.line("target", value);
}

fn spec(out: &mut Writer, rules: &SpecRules) {
    out.line("up_cpu", rules.up_cpu.of_one());
    out.line("down_cpu", rules.down_cpu.of_one());
    out.text("up_for", &format_duration(rules.up_for));
    out.text("down_for", &format_duration(rules.down_for));
    out.line("up_requests", rules.up_requests);
    out.line("up_errors", rules.up_errors.of_one());
    out.text("cooldown_up", &format_duration(rules.cooldown_up));
    out.text("cooldown_down", &format_duration(rules.cooldown_down));
}
