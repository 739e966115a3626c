//! A WebSocket that lasts more than a second: each word comes back, and it ends as both sides agree.

use std::time::Duration;

use banyan_testkit::upstream::Wire;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Visit;

const WORDS: u8 = 8;
const GAP: Duration = Duration::from_millis(150);
/// Of a client all frames are masked; this mask changes nothing.
const MASK: [u8; 4] = [0; 4];

pub(super) async fn over_http1<S: AsyncRead + AsyncWrite + Unpin>(mut wire: Wire<S>, name: &str) -> Visit {
    wire.send(format!(
        "GET /ws HTTP/1.1\r\nHost: {name}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ))
    .await;
    let head = wire.head().await.ok_or("no answer to an upgrade")?;
    if head.status() != 101 {
        return Err(format!("an upgrade was answered {}", head.start));
    }
    converse(&mut wire).await
}

pub(super) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Visit {
    for word in 0..WORDS {
        exchange(wire, 0x81, &[b'a' + word; 5]).await?;
        tokio::time::sleep(GAP).await;
    }
    // 1000: done.
    exchange(wire, 0x88, &[0x03, 0xe8]).await?;
    wire.finish().await;
    Ok(())
}

/// Sends a frame and wants the same one back.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, kind: u8, text: &[u8]) -> Visit {
    let length = u8::try_from(text.len()).expect("words are short");
    wire.send([&[kind, 0x80 | length][..], &MASK, text].concat())
        .await;
    let wanted = [&[kind, length][..], text].concat();
    let came = wire.bytes(wanted.len()).await.ok_or("a websocket broke off")?;
    if came == wanted {
        Ok(())
    } else {
        Err(format!("a websocket answered {came:?} to {wanted:?}"))
    }
}
