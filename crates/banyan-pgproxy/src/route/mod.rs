//! Where a unit goes: one decision, made in one place.
//!
//! [`Planner`] turns text into a [`Plan`] (cached by template): is it a proven read, over which tables, what may it change. [`decide`] adds
//! what only the moment knows (the session, the mode, the hint) and yields a [`Route`]. Which shard a unit runs on will be decided here
//! too, from the same plan.
//!
//! Everything doubtful goes to the primary.

pub(crate) mod balance;
mod explain;
mod plan;
mod planner;
#[cfg(test)]
mod tests;
pub(crate) mod unit;

use banyan_topology::snapshot::pgproxy::Reads;

pub use explain::explain;
pub use plan::{Control, Plan};
pub use planner::Planner;

use crate::catalog::{Effect, Reason, Tables};
use crate::parse::Hint;

/// What the decision needs to know of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionView {
    /// The server has said T or E.
    pub in_transaction: bool,
    /// The session keeps its backend (temporary tables, locks, ...).
    pub pinned: bool,
    /// `standard_conforming_strings` is on, and no byte of a character in `client_encoding` but the first can be ASCII.
    pub lexable: bool,
}

/// The decision for one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub target: Target,
    /// What the unit may change once it commits; to be marked before its acknowledgement is forwarded.
    pub effect: Effect,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Primary(Why),
    /// Any replica that is as fresh as `freshness` asks, else the primary.
    Replica {
        tables: Tables,
        freshness: Freshness,
    },
}

/// How fresh an answer must be. Strictest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// Everything that was acknowledged before the read arrived, also by writers that this proxy does not see.
    Index,
    /// Everything that was acknowledged to any client of this proxy.
    Tables,
    /// What this client has written or seen.
    Session,
    /// What the primary had this long ago.
    Bounded(std::time::Duration),
    /// Anything a streaming replica has.
    Off,
}

/// Why the primary.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Why {
    NotProven(Reason),
    InTransaction,
    Pinned,
    /// Text could mean something else in this session's encoding or string syntax.
    NotLexable,
    /// Definitions have changed and are being read again.
    NoCatalog,
    /// `reads = "primary"`
    Configured,
    Hint,
    /// BEGIN and the like.
    Control,
    /// Messages in the unit that only a primary may see first: function calls, COPY, Flush before Sync.
    Messages,
}

/// The unit's route. `plans` are those of its statements, in order; none (an empty query) is the primary's.
pub fn decide<'p>(plans: impl IntoIterator<Item = &'p Plan>, session: SessionView, reads: &Reads) -> Route {
    let mut effect = Effect::none();
    let mut tables = Some(Tables::none());
    let mut why = None;
    let mut hint = None;
    let mut some = false;
    for plan in plans {
        some = true;
        effect = effect.union(&plan.effect);
        hint = hint.or(plan.hint);
        match (&plan.read, &mut tables) {
            (Ok(read), Some(tables)) => *tables = tables.union(read),
            (Ok(_), None) => {}
            (Err(reason), _) => {
                tables = None;
                why.get_or_insert_with(|| reason.clone());
            }
        }
    }
    let target = match (session_reason(session), tables) {
        (Some(why), _) => Target::Primary(why),
        (None, Some(tables)) if some => by_mode(tables, hint, reads),
        (None, _) => Target::Primary(why.unwrap_or(Why::Control)),
    };
    if !session.lexable {
        effect = effect.union(&Effect::everything());
    }
    Route { target, effect }
}

fn session_reason(session: SessionView) -> Option<Why> {
    match session {
        SessionView { lexable: false, .. } => Some(Why::NotLexable),
        SessionView {
            in_transaction: true, ..
        } => Some(Why::InTransaction),
        SessionView { pinned: true, .. } => Some(Why::Pinned),
        _ => None,
    }
}

fn by_mode(tables: Tables, hint: Option<Hint>, reads: &Reads) -> Target {
    let freshness = match (hint, reads) {
        (Some(Hint::Primary), _) => return Target::Primary(Why::Hint),
        (Some(Hint::Off), _) => Freshness::Off,
        (Some(Hint::Index), _) => Freshness::Index,
        (None, Reads::Primary) => return Target::Primary(Why::Configured),
        (None, Reads::Fresh) => Freshness::Tables,
        (None, Reads::Session) => Freshness::Session,
        (None, Reads::Bounded { lag }) => Freshness::Bounded(*lag),
    };
    Target::Replica { tables, freshness }
}
