//! Traces for people: the tree of one, a list of many.

use banyan_observe::traces::tree::{Mark, Step, Tree};
use banyan_telemetry::moment;

use super::amount;
use super::paint::{Paint, Style};

/// Of a name in a list.
const NAME: usize = 60;

/// Of one trace: how long each step took, whose it is, what it did; and where the time went.
pub(crate) fn tree(tree: &Tree, paint: Paint) -> String {
    let mut rows = Vec::new();
    for root in &tree.roots {
        rows.push(Row::of(root, String::new()));
        inside(root, "", &mut rows);
    }
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let (took, who) = (width(|row| &row.took), width(|row| &row.who));
    let mut out = format!(
        "trace {}  {}  {}\n\n",
        tree.trace,
        moment::iso(tree.start_us / 1000),
        amount::latency_us(tree.took_us)
    );
    for row in &rows {
        let name = match row.mark {
            Some(Mark::RootCause) => paint.with(Style::Red, &row.name),
            _ => row.name.clone(),
        };
        let line = format!(
            "{:>took$}  {}  {}{name}{}{}",
            row.took,
            paint.dim(&format!("{:<who$}", row.who)),
            row.branch,
            paint.dim(&row.details),
            row.after(paint),
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if let Some(cause) = tree.root_cause() {
        out.push_str(&format!("\n{}\n", verdict(tree, cause)));
    }
    out
}

fn verdict(tree: &Tree, cause: &Step) -> String {
    let (name, who) = (&cause.span.name, &cause.span.who);
    let took = amount::latency_us(cause.span.took_us);
    if cause.span.failed {
        return format!("root cause: {name} ({who}) failed after {took}");
    }
    let percent = cause.span.took_us * 100 / tree.took_us.max(1);
    let own: u64 = cause.children.iter().map(|child| child.span.took_us).sum();
    let itself = if own > 0 { ", most of it itself" } else { "" };
    let all = amount::latency_us(tree.took_us);
    format!("root cause: {name} ({who}) took {took} of {all}, {percent} %{itself}")
}

struct Row {
    took: String,
    who: String,
    branch: String,
    name: String,
    details: String,
    mark: Option<Mark>,
    failed: bool,
}

impl Row {
    fn of(step: &Step, branch: String) -> Self {
        let shown = ["status", "cache", "server", "route", "retries", "outcome"];
        let fields = step
            .span
            .fields
            .iter()
            .filter(|(name, _)| shown.contains(&name.as_str()));
        let details: String = fields.map(|(name, value)| format!("  {name}={value}")).collect();
        Self {
            took: amount::latency_us(step.span.took_us),
            who: step.span.who.clone(),
            branch,
            name: step.span.name.clone(),
            details,
            mark: step.mark,
            failed: step.span.failed,
        }
    }

    fn after(&self, paint: Paint) -> String {
        let mut out = String::new();
        if self.failed {
            out.push_str(&paint.with(Style::Red, "  failed"));
        }
        match self.mark {
            Some(Mark::RootCause) => out.push_str(&paint.with(Style::Red, "  ← root cause")),
            Some(Mark::Slow) if !self.failed => out.push_str(&paint.with(Style::Yellow, "  ← slow")),
            Some(Mark::Slow) | None => {}
        }
        out
    }
}

fn inside(step: &Step, before: &str, rows: &mut Vec<Row>) {
    let last = step.children.len().saturating_sub(1);
    for (index, child) in step.children.iter().enumerate() {
        let (branch, below) = if index == last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        rows.push(Row::of(child, format!("{before}{branch}")));
        inside(child, &format!("{before}{below}"), rows);
    }
}

/// What the whole of it is: its first step's.
pub(crate) fn name(tree: &Tree) -> &str {
    tree.roots.first().map_or("", |root| root.span.name.as_str())
}

/// A line per trace.
pub(crate) fn list(trees: &[Tree], paint: Paint) -> String {
    if trees.is_empty() {
        return "no traces were kept\n".to_owned();
    }
    let mut out = String::new();
    for tree in trees {
        let took = format!("{:>9}", amount::latency_us(tree.took_us));
        let took = match tree.failed {
            true => paint.with(Style::Red, &took),
            false => took,
        };
        let name: String = name(tree).chars().take(NAME).collect();
        let cause = tree.root_cause().filter(|cause| cause.span.name != name);
        let cause = cause.map(|cause| {
            format!(
                "← {} ({})",
                cause.span.name.chars().take(NAME).collect::<String>(),
                cause.span.who
            )
        });
        let line = format!(
            "{}  {took}  {}  {name}  {}",
            tree.trace,
            moment::iso(tree.start_us / 1000),
            paint.dim(&cause.unwrap_or_default())
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use banyan_telemetry::span::{Span, SpanId, TraceId};
    use expect_test::expect;

    use super::*;

    fn span(id: u64, parent: u64, who: &str, name: &str, start_ms: u64, took_ms: u64) -> Span {
        Span {
            trace: TraceId(0xabc123),
            id: SpanId(id),
            parent: (parent > 0).then_some(SpanId(parent)),
            who: who.to_owned(),
            name: name.to_owned(),
            start_us: 1_705_314_645_123_000 + start_ms * 1000,
            took_us: took_ms * 1000,
            failed: false,
            keep: false,
            fields: BTreeMap::new(),
        }
    }

    /// The specification's example.
    fn example() -> Vec<Span> {
        vec![
            span(1, 0, "edge", "POST /checkout", 0, 450),
            span(2, 1, "gateway", "API Gateway", 0, 2),
            span(3, 1, "auth", "Auth Service", 2, 15),
            span(4, 1, "user", "User Service", 17, 50),
            span(5, 4, "pgproxy", "Database query", 20, 45),
            span(6, 1, "payment", "Payment Service", 67, 350),
            span(7, 6, "stripe", "Stripe API call", 70, 320),
            span(8, 6, "pgproxy", "Database write", 391, 25),
            span(9, 1, "edge", "Response", 442, 8),
        ]
    }

    #[test]
    fn the_specifications_example_shows_where_the_450_ms_went() {
        expect![[r#"
            trace 00000000000000000000000000abc123  2024-01-15T10:30:45.123Z  450 ms

            450 ms  edge     POST /checkout
            2.0 ms  gateway  ├─ API Gateway
             15 ms  auth     ├─ Auth Service
             50 ms  user     ├─ User Service
             45 ms  pgproxy  │  └─ Database query
            350 ms  payment  ├─ Payment Service  ← slow
            320 ms  stripe   │  ├─ Stripe API call  ← root cause
             25 ms  pgproxy  │  └─ Database write
            8.0 ms  edge     └─ Response

            root cause: Stripe API call (stripe) took 320 ms of 450 ms, 71 %
        "#]]
        .assert_eq(&tree(&Tree::of(example()).unwrap(), Paint::OFF));
    }

    #[test]
    fn a_failure_names_where_it_began_and_a_list_has_a_line_each() {
        let mut spans = example();
        for index in [0, 3, 4] {
            spans[index].failed = true;
        }
        let failed = Tree::of(spans).unwrap();
        let text = tree(&failed, Paint::OFF);
        assert!(
            text.ends_with("root cause: Database query (pgproxy) failed after 45 ms\n"),
            "{text}"
        );
        expect![[r#"
            00000000000000000000000000abc123     450 ms  2024-01-15T10:30:45.123Z  POST /checkout  ← Database query (pgproxy)
        "#]]
        .assert_eq(&list(&[failed], Paint::OFF));
        assert_eq!(list(&[], Paint::OFF), "no traces were kept\n");
    }
}
