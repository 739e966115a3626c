//! From what a policy asks for to what there will be: guards, connections, the group's bounds; and which of them counted.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Proposal;
use super::guard::Guard;

/// What made the number another one than the load asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The policy goes up by steps, and not at any time.
    Step,
    /// The policy goes down slowly, and only by what was not needed for a while.
    Window,
    Guard(Guard),
    /// `min`, or a floor of the schedule.
    Minimum,
}

pub(super) struct Limited {
    pub(super) want: u32,
    pub(super) bounds: Vec<Bound>,
    /// Those that came in here.
    pub(super) guards: Vec<Guard>,
}

/// `connected`: as many find their connections to the database; `None`: not known. `guards`: those that hold now.
pub(super) fn limited(
    proposal: &Proposal,
    current: u32,
    group: RangeInclusive<u32>,
    connected: Option<u32>,
    guards: &[Guard],
) -> Limited {
    let mut limited = Limited {
        want: proposal.want,
        bounds: Vec::new(),
        guards: Vec::new(),
    };
    if proposal.want != proposal.need {
        let slow = if proposal.need > proposal.want {
            Bound::Step
        } else {
            Bound::Window
        };
        limited.bounds.push(slow);
    }
    if !guards.is_empty() {
        limited.want = current;
        limited.bounds.extend(guards.iter().copied().map(Bound::Guard));
    }
    // Those that run have theirs.
    if let Some(connected) = connected.map(|connected| connected.max(current))
        && limited.want > connected
    {
        limited.want = connected;
        limited.add(Guard::Connections);
    }
    let (least, most) = group.into_inner();
    if limited.want > most {
        limited.want = most;
        limited.add(Guard::Maximum);
    } else if proposal.need > most {
        limited.guards.push(Guard::Maximum);
    }
    limited.want = limited.want.max(least);
    if limited.want == proposal.need {
        limited.bounds.clear();
    } else if limited.want == least && proposal.need < least {
        limited.bounds = vec![Bound::Minimum];
    }
    limited
}

impl Limited {
    fn add(&mut self, guard: Guard) {
        self.bounds.push(Bound::Guard(guard));
        self.guards.push(guard);
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step => f.write_str("it goes up by steps: the next one follows"),
            Self::Window => f.write_str("it goes down slowly, and only by what was not needed for a while"),
            Self::Guard(guard) => guard.fmt(f),
            Self::Minimum => f.write_str("there are never fewer (`min`, or a floor of the schedule)"),
        }
    }
}
