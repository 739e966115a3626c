//! A request that the edge makes for another one: to a process's instances like any other, its whole answer in memory.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;

use banyan_upstream::retry::Effect;

use crate::exchange::Exchange;
use crate::forward;
use crate::forward::answer::InstanceBody;
use crate::forward::body::Source;
use crate::respond::Refusal;

pub(super) struct Got {
    pub head: Response<()>,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

/// In `limit`, and of at most `most` bytes.
pub(super) async fn ask(
    part: &mut Exchange,
    head: &Parts,
    source: Option<&Rc<Source>>,
    limit: Duration,
    most: u64,
) -> Result<Got, Refusal> {
    let got = Box::pin(whole(part, head, source, most));
    let got = tokio::time::timeout(limit, got).await;
    let got = got.unwrap_or(Err(Refusal::GatewayTimeout));
    part.ended(match &got {
        Ok(got) => got.head.status(),
        Err(refusal) => refusal.status(),
    });
    got
}

async fn whole(
    part: &mut Exchange,
    head: &Parts,
    source: Option<&Rc<Source>>,
    most: u64,
) -> Result<Got, Refusal> {
    let (head, mut body) = forward::send(part, head, source).await?.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Refusal::BadGateway(Effect::Unknown));
    }
    let (bytes, trailers) = collect(&mut body, most).await?;
    Ok(Got {
        head: Response::from_parts(head, ()),
        body: bytes,
        trailers,
    })
}

async fn collect(body: &mut InstanceBody, most: u64) -> Result<(Bytes, Option<HeaderMap>), Refusal> {
    if body.size_hint().lower() > most {
        return Err(Refusal::AnswerTooLarge);
    }
    let (mut all, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|_broke| Refusal::BadGateway(Effect::Unknown))?;
        match frame.into_data() {
            Ok(data) if (all.len() + data.len()) as u64 > most => return Err(Refusal::AnswerTooLarge),
            Ok(data) => all.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((all.freeze(), trailers))
}
