//! Progress of a plan on stderr: a line per step with its time; on a terminal the running step moves.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use banyan_reconcile::proto::{Progress, ProgressState};

use super::amount::took;
use super::paint::Paint;

/// Without a terminal nothing moves, so a step that takes long says that it still runs.
const STILL_EVERY: Duration = Duration::from_secs(10);
const FRAMES: [&str; 8] = ["⠋", "⠙", "⠸", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Draws on `out`; `now` is an argument of every call.
pub(crate) struct ProgressLine<W> {
    out: W,
    paint: Paint,
    moving: bool,
    running: Option<Running>,
    frame: usize,
}

struct Running {
    step: usize,
    label: String,
    /// The inverse of a step that had been done.
    undoing: bool,
    began: Instant,
    said: Instant,
}

impl<W: Write> ProgressLine<W> {
    pub(crate) fn new(out: W, paint: Paint, terminal: bool) -> Self {
        Self {
            out,
            paint,
            moving: terminal,
            running: None,
            frame: 0,
        }
    }

    pub(crate) fn event(&mut self, progress: &Progress, now: Instant) -> io::Result<()> {
        if progress.state == ProgressState::Waits {
            return self.say(&format!("{} {}", self.paint.yellow("!"), progress.what), now);
        }
        self.clear()?;
        let undoing = self.running.as_ref().is_some_and(|running| running.undoing);
        if let Some(line) = ended(progress, undoing, self.paint) {
            self.running = None;
            return writeln!(self.out, "{line}");
        }
        // The same step again says how far it is.
        let before = self
            .running
            .take()
            .filter(|running| running.step == progress.step);
        let (began, said) = before.map_or((now, now), |running| (running.began, running.said));
        self.running = Some(Running {
            step: progress.step,
            undoing: progress.state == ProgressState::Reverting,
            label: format!("{} {}", position(progress, self.paint), progress.what),
            began,
            said,
        });
        self.draw(now)
    }

    /// Call it several times a second.
    pub(crate) fn tick(&mut self, now: Instant) -> io::Result<()> {
        self.frame = (self.frame + 1) % FRAMES.len();
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        if self.moving {
            return self.draw(now);
        }
        if now.duration_since(running.said) >= STILL_EVERY {
            running.said = now;
            let time = took(now.duration_since(running.began));
            writeln!(self.out, "{} … {time} so far", running.label)?;
        }
        Ok(())
    }

    /// A line of its own, above the running step.
    pub(crate) fn say(&mut self, line: &str, now: Instant) -> io::Result<()> {
        self.clear()?;
        writeln!(self.out, "{line}")?;
        self.draw(now)
    }

    /// Removes the moving line.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.running = None;
        self.clear()
    }

    fn clear(&mut self) -> io::Result<()> {
        if self.moving {
            write!(self.out, "\r\x1b[2K")?;
        }
        Ok(())
    }

    fn draw(&mut self, now: Instant) -> io::Result<()> {
        if let (true, Some(running)) = (self.moving, &self.running) {
            let time = now.duration_since(running.began);
            let time = if time >= Duration::from_secs(1) {
                took(time)
            } else {
                String::new()
            };
            write!(
                self.out,
                "\r\x1b[2K{} {} {}",
                self.paint.cyan(FRAMES[self.frame]),
                running.label,
                self.paint.dim(&time)
            )?;
        }
        self.out.flush()
    }
}

fn position(progress: &Progress, paint: Paint) -> String {
    let width = progress.of.to_string().len();
    paint.dim(&format!("[{:>width$}/{}]", progress.step, progress.of))
}

/// The line of a step that has ended; `None` while it runs.
fn ended(progress: &Progress, undoing: bool, paint: Paint) -> Option<String> {
    let (mark, note) = match progress.state {
        ProgressState::Begun | ProgressState::Reverting | ProgressState::Waits => return None,
        ProgressState::Done if undoing => (paint.yellow("↩"), String::new()),
        ProgressState::Done => (paint.green("✓"), String::new()),
        ProgressState::Skipped => (paint.dim("·"), "held already".to_owned()),
        ProgressState::Failed => (paint.red("✗"), "failed".to_owned()),
    };
    let time = progress
        .took_ms
        .map(|ms| took(Duration::from_millis(ms)))
        .unwrap_or_default();
    let note = [note, time]
        .iter()
        .filter(|t| !t.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    let line = format!(
        "{mark} {} {:<40} {}",
        position(progress, paint),
        progress.what,
        paint.dim(&note)
    );
    Some(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use banyan_runtime::Clock;
    use expect_test::expect;

    use super::*;

    fn step(step: usize, what: &str, state: ProgressState, took_ms: Option<u64>) -> Progress {
        Progress {
            step,
            of: 12,
            what: what.to_owned(),
            state,
            took_ms,
        }
    }

    #[test]
    fn without_a_terminal_there_is_one_line_per_ended_step() {
        let now = Clock.now();
        let mut out = Vec::new();
        let mut line = ProgressLine::new(&mut out, Paint::OFF, false);
        line.event(
            &step(1, "start postgres 15 on port 21000", ProgressState::Begun, None),
            now,
        )
        .unwrap();
        line.tick(now + Duration::from_secs(3)).unwrap();
        line.tick(now + Duration::from_secs(11)).unwrap();
        line.event(
            &step(
                1,
                "start postgres 15 on port 21000",
                ProgressState::Done,
                Some(12_345),
            ),
            now,
        )
        .unwrap();
        line.event(&step(2, "start web.1@r1", ProgressState::Skipped, None), now)
            .unwrap();
        line.event(
            &step(3, "admit web.1@r1", ProgressState::Failed, Some(1_000)),
            now,
        )
        .unwrap();
        line.event(&step(2, "stop web.1@r1", ProgressState::Reverting, None), now)
            .unwrap();
        line.event(&step(2, "stop web.1@r1", ProgressState::Done, Some(20)), now)
            .unwrap();
        expect![[r#"
            [ 1/12] start postgres 15 on port 21000 … 11 s so far
            ✓ [ 1/12] start postgres 15 on port 21000          12 s
            · [ 2/12] start web.1@r1                           held already
            ✗ [ 3/12] admit web.1@r1                           failed, 1.0 s
            ↩ [ 2/12] stop web.1@r1                            20 ms
        "#]]
        .assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_hint_is_a_line_of_its_own_and_its_step_goes_on() {
        let now = Clock.now();
        let mut out = Vec::new();
        let mut line = ProgressLine::new(&mut out, Paint::OFF, false);
        let hint = "web.1@r1 is not ready yet: it listens on 3000, but PORT is 20001";
        for (what, state, took_ms) in [
            ("start web.1@r1", ProgressState::Begun, None),
            (hint, ProgressState::Waits, None),
            ("start web.1@r1", ProgressState::Done, Some(3_000)),
        ] {
            line.event(&step(2, what, state, took_ms), now).unwrap();
        }
        expect![[r#"
            ! web.1@r1 is not ready yet: it listens on 3000, but PORT is 20001
            ✓ [ 2/12] start web.1@r1                           3.0 s
        "#]]
        .assert_eq(&String::from_utf8(out).unwrap());
    }
}
