//! After a 101: bytes both ways until both sides end, nothing came for too long, or the drain's time is over.
//!
//! Two sides that speak WebSocket hear a close frame (1001) then, between two frames, and have a moment to say goodbye.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::answer::{InstanceBody, Tunnel};
use super::pool::InFlight;
use super::tunnel::Joined;
use super::way::{Way, poll_drain};
use super::websocket::{GOODBYE, GOODBYE_MASKED};
use super::wire::Wire;
use crate::core::Stage;
use crate::core::stages::Place;
use crate::exchange::Exchange;
use crate::http1::alarm::Alarm;
use crate::respond::Outcome;

/// For both sides to take the goodbye and to end.
const LINGER: Duration = Duration::from_millis(900);

/// An instance that speaks another protocol now. Exchange and place count as in flight for as long as it does.
pub(crate) struct Switched {
    exchange: Box<Exchange>,
    instance: Joined<Wire>,
    websocket: bool,
    _in_flight: Option<InFlight>,
}

impl Switched {
    /// `headers`: of the instance's answer.
    pub(crate) fn new(exchange: Box<Exchange>, tunnel: Tunnel, headers: &HeaderMap) -> Self {
        let (instance, in_flight) = tunnel;
        let protocol = headers.get(header::UPGRADE).map(|protocol| protocol.as_bytes());
        Self {
            exchange,
            instance,
            websocket: protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket")),
            _in_flight: in_flight,
        }
    }
}

/// Bytes both ways; ends with the one who polls it.
pub(crate) async fn tunnel(mut switched: Switched, mut client: impl AsyncRead + AsyncWrite + Unpin) {
    let core = Rc::clone(&switched.exchange.core);
    let idle = core.settings().timeouts.websocket;
    let mut life = Life {
        place: core.stages.enter(),
        alarm: Alarm::new(idle),
        idle,
        last: Instant::now(),
        websocket: switched.websocket,
        goodbye: None,
    };
    let (mut up, mut down) = (Way::new(), Way::new());
    let instance = &mut switched.instance;
    let whole = poll_fn(|cx| {
        loop {
            let mut moved = false;
            let up_over = up.poll(cx, &mut client, instance, &mut moved);
            let down_over = down.poll(cx, instance, &mut client, &mut moved);
            let broke = |way: &Poll<std::io::Result<()>>| matches!(way, Poll::Ready(Err(_)));
            if broke(&up_over) || broke(&down_over) {
                return Poll::Ready(false);
            }
            if up_over.is_ready() && down_over.is_ready() {
                // Closing with unread bytes would reset the connections, and with them the goodbye.
                let gone = poll_drain(cx, &mut client).is_ready() && poll_drain(cx, instance).is_ready();
                if life.goodbye.is_none() || gone {
                    return Poll::Ready(true);
                }
            }
            match life.poll(cx, moved) {
                Poll::Ready(Next::Part) => {
                    down.say_goodbye(&GOODBYE);
                    up.say_goodbye(&GOODBYE_MASKED);
                }
                Poll::Ready(Next::End) => return Poll::Ready(true),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    switched.exchange.bytes = down.passed;
    if whole {
        switched.exchange.outcome = Outcome::Answered;
    }
}

/// How long a tunnel may last.
struct Life {
    place: Place,
    alarm: Alarm,
    idle: Duration,
    /// When bytes last flowed.
    last: Instant,
    websocket: bool,
    /// Since when it is being ended.
    goodbye: Option<Instant>,
}

enum Next {
    Part,
    End,
}

impl Life {
    fn poll(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<Next> {
        let stage = self.place.stage(cx);
        if let Some(since) = self.goodbye {
            return self.alarm.poll(cx, since + LINGER).map(|()| Next::End);
        }
        if moved {
            self.last = Instant::now();
        }
        let idle = self.alarm.poll(cx, self.last + self.idle).is_ready();
        if !idle && stage < Stage::Parting {
            return Poll::Pending;
        }
        if !self.websocket {
            // Nobody knows how to say goodbye in it.
            return if idle {
                Poll::Ready(Next::End)
            } else {
                Poll::Pending
            };
        }
        self.goodbye = Some(Instant::now());
        Poll::Ready(Next::Part)
    }
}

/// Whether the instance agreed; its headers are passed on as they are.
pub(crate) fn agreed(response: &Response<InstanceBody>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS && response.headers().contains_key(header::UPGRADE)
}
