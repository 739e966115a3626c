//! The trace that a request belongs to: whose word is taken for it, and what the instance hears.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use banyan_config::{EdgeSettings, Trace};
use banyan_telemetry::span::SpanId;
use banyan_telemetry::trace::{TraceParent, is_trace_state};

use crate::core::Core;
use crate::introduction::TRACE_PARENT as PARENT;

const STATE: HeaderName = HeaderName::from_static("tracestate");

/// A request's place in its trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// What the instance hears.
    pub(crate) own: TraceParent,
    /// Whose request it is; `None`: a trace begins here.
    pub(crate) continues: Option<SpanId>,
}

/// The step of this request, as the instance and the log hear of it; `None`: headers pass as they are. `trusted`: the
/// client is a trusted proxy. `late`: the headers say nothing of a trace, and who writes them does.
pub(crate) fn step(
    core: &Core,
    settings: &EdgeSettings,
    trusted: bool,
    headers: &mut HeaderMap,
    late: bool,
) -> Option<Step> {
    let believed = match settings.trace {
        Trace::Off => return None,
        Trace::Proxies => trusted,
        Trace::Clients => true,
    };
    let given = if believed && !late { given(headers) } else { None };
    let mut random = core.random.borrow_mut();
    let continues = given.map(TraceParent::span);
    let own = match given {
        Some(parent) => parent.child(random.number()),
        None => {
            let trace = u128::from(random.number()) << 64 | u128::from(random.number());
            TraceParent::begin(trace, random.number(), false).sampled_by(settings.trace_sampled)
        }
    };
    let step = Step { own, continues };
    if late {
        return Some(step);
    }
    if let Ok(value) = HeaderValue::from_bytes(&own.text()) {
        headers.insert(PARENT, value);
    }
    // A state belongs to its parent: without one it means nothing.
    if given.is_none() || !state_is_sound(headers) {
        headers.remove(STATE);
    }
    Some(step)
}

/// Two parents are none.
fn given(headers: &HeaderMap) -> Option<TraceParent> {
    let mut all = headers.get_all(PARENT).iter();
    let parent = TraceParent::parse(all.next()?.to_str().ok()?)?;
    all.next().is_none().then_some(parent)
}

fn state_is_sound(headers: &HeaderMap) -> bool {
    let parts: Option<Vec<&str>> = headers
        .get_all(STATE)
        .iter()
        .map(|part| part.to_str().ok())
        .collect();
    parts.is_some_and(|parts| is_trace_state(&parts.join(",")))
}
