//! A plan as aligned text.

use banyan_reconcile::proto::Outcome;

use super::paint::Paint;

/// The numbered steps and the notes below them; `None` steps: one line.
pub(crate) fn render(steps: &[String], notes: &[String], paint: Paint) -> String {
    let mut out = String::new();
    if steps.is_empty() {
        out.push_str("nothing to do: what runs is what the configuration says\n");
    } else {
        let count = steps.len();
        out.push_str(&paint.bold(&format!("{count} step{}\n", if count == 1 { "" } else { "s" })));
    }
    let width = steps.len().to_string().len();
    for (index, step) in steps.iter().enumerate() {
        let mut lines = step.lines();
        let first = lines.next().unwrap_or_default();
        out.push_str(&format!("  {:>width$}  {first}\n", index + 1));
        for line in lines {
            out.push_str(&format!("  {:>width$}  {line}\n", ""));
        }
    }
    for note in notes {
        out.push_str(&format!("{} {note}\n", paint.yellow("note:")));
    }
    out
}

/// What became of a change, in a sentence.
pub(crate) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Nothing => "nothing to do: what runs is what the configuration says",
        Outcome::Changed => "done",
        Outcome::RolledBack => "the change failed and was undone: the system is as before",
        Outcome::Stopped => "the change failed and stands half-way",
        Outcome::Refused => "refused: nothing was changed",
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn steps_are_numbered_and_notes_follow() {
        let steps: Vec<String> = (1..=10)
            .map(|n| format!("start web.{n}@r1 on port 2100{n}"))
            .collect();
        let notes = ["a deploy restarts every instance".to_owned()];
        expect![[r#"
            2 steps
              1  start web.1@r1 on port 21001
              2  start web.2@r1 on port 21002
            note: a deploy restarts every instance
        "#]]
        .assert_eq(&render(&steps[..2], &notes, Paint::OFF));
        assert!(render(&steps, &[], Paint::OFF).contains("\n   1  start web.1@r1"));
        expect![[r#"
            nothing to do: what runs is what the configuration says
        "#]]
        .assert_eq(&render(&[], &[], Paint::OFF));
    }
}
