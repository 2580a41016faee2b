//! One peer's stream: frames in, frames out, until one side ends it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::swarm::Stream;

use super::check::{Checker, Item};
use super::hub::{Hub, Link};
use crate::gossip::wire::{self, MAX_FRAME_BYTES, Message};
use crate::gossip::{Arrival, Slot};
use crate::handle::NodeHandle;
use crate::protocol::block::{self, Block};
use crate::protocol::id::{BlockId, MilestoneIndex};
use crate::store;

/// HORNET: > a peer that sends not one byte for 60 s is let go
const READ_WITHIN: Duration = Duration::from_secs(60);

/// HORNET: > a peer that takes nothing for 10 s is let go
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Frames that follow each other sooner are sent together: a packet costs both sides more than the block in it. What comes after
/// a pause is sent at once.
const PACE: Duration = Duration::from_millis(2);

/// So much is worth a packet.
const ENOUGH_BYTES: usize = 16 << 10;

/// What is read at once.
const BUFFER_BYTES: usize = 2 * MAX_FRAME_BYTES;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("it closed the connection")]
    Closed,
    #[error("it sent nothing for a minute")]
    Silent,
    #[error("it takes nothing any more")]
    Stuck,
    #[error(transparent)]
    Wire(#[from] wire::Error),
    #[error("the node cannot serve it: {0}")]
    Store(#[from] store::Error),
    #[error("it was told to go")]
    Told,
}

/// What a stream needs of the node.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) hub: Hub,
    pub(super) node: NodeHandle,
    pub(super) checker: Checker,
}

/// Runs until the stream ends.
pub(super) async fn run(parts: Parts, slot: Slot, link: Arc<Link>, stream: Stream) {
    let (reader, writer) = stream.split();
    let end = tokio::select! {
        end = read(&parts, slot, &link, reader) => end,
        end = write(&link, writer) => end,
        () = link.end.notified() => Err(End::Told),
    };
    if let Err(end) = end {
        if matches!(end, End::Wire(_)) {
            parts.hub.offended(&link);
        }
        parts.hub.disconnect(slot, &link, &end);
    }
}

async fn write(link: &Link, mut to: impl AsyncWrite + Unpin) -> Result<(), End> {
    let (mut batch, mut last) = (Vec::new(), None::<Instant>);
    while link.outbox.take(&mut batch).await {
        let left = last.map_or(Duration::ZERO, |last| PACE.saturating_sub(last.elapsed()));
        if batch.len() < ENOUGH_BYTES && !left.is_zero() {
            tokio::time::sleep(left).await;
            if !link.outbox.take(&mut batch).await {
                break;
            }
        }
        last = Some(Instant::now());
        let write = async {
            to.write_all(&batch).await?;
            to.flush().await
        };
        tokio::time::timeout(WRITE_WITHIN, write).await.map_err(|_| End::Stuck)??;
        batch.clear();
    }
    Err(End::Told)
}

async fn read(
    parts: &Parts,
    slot: Slot,
    link: &Arc<Link>,
    mut from: impl AsyncRead + Unpin,
) -> Result<(), End> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut filled = 0;
    loop {
        let read = tokio::time::timeout(READ_WITHIN, from.read(&mut buffer[filled..]));
        let count = read.await.map_err(|_| End::Silent)??;
        if count == 0 {
            return Err(End::Closed);
        }
        filled += count;
        let mut at = 0;
        while let Some((message, length)) = wire::parse(&buffer[at..filled])? {
            take(parts, slot, link, message).await?;
            at += length;
        }
        // Less than a frame is left, so there is room for the rest of it.
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}

async fn take(parts: &Parts, slot: Slot, link: &Arc<Link>, message: Message<'_>) -> Result<(), End> {
    let hub = &parts.hub;
    match message {
        Message::Heartbeat(heartbeat) => {
            hub.of(slot, link, |gossip, now_ms| gossip.heartbeat(slot, heartbeat, now_ms))
                .ok_or(End::Told)?;
        }
        Message::MilestoneRequest(index) => {
            if hub.of(slot, link, |gossip, now_ms| gossip.may_ask(slot, true, now_ms)).ok_or(End::Told)?
                && let Some(bytes) = milestone(&parts.node, index)?
            {
                answer(hub, slot, link, block::id_of(&bytes), &bytes);
            }
        }
        Message::BlockRequest(id) => {
            if hub.of(slot, link, |gossip, now_ms| gossip.may_ask(slot, false, now_ms)).ok_or(End::Told)?
                && let Some(bytes) = parts.node.reader.block(&id)?
            {
                answer(hub, slot, link, id, &bytes);
            }
        }
        // HORNET: > an empty block is swallowed
        Message::Block([]) => {}
        Message::Block(bytes) => {
            let id = block::id_of(bytes);
            let arrival = hub.of(slot, link, |gossip, now_ms| gossip.block(slot, id, bytes, now_ms));
            let arrival = arrival.ok_or(End::Told)?;
            if let Arrival::Wanted(index) = arrival {
                ask_ahead(parts, id, bytes, index)?;
            }
            if arrival != Arrival::Ignore
                && !parts
                    .checker
                    .submit(Item { link: link.clone(), slot, id, bytes: bytes.into(), arrival })
                    .await
            {
                return Err(End::Told);
            }
        }
    }
    Ok(())
}

/// What a milestone needs needs its parents: they are asked for at once, before anybody has looked at the block. Its id is
/// that of what was asked for, so they are what the milestone's signature stands for.
fn ask_ahead(parts: &Parts, id: BlockId, bytes: &[u8], index: MilestoneIndex) -> Result<(), End> {
    let strange = parts.hub.with(|gossip, now_ms| gossip.strange(block::peek_parents(bytes), index, now_ms));
    let mut missing = Vec::new();
    for parent in strange {
        if !parts.node.reader.knows(&parent)? {
            missing.push(parent);
        }
    }
    if !missing.is_empty() {
        parts.hub.with(|gossip, now_ms| gossip.need(&missing, Some(index), Some(id), now_ms));
    }
    Ok(())
}

fn answer(hub: &Hub, slot: Slot, link: &Arc<Link>, id: BlockId, bytes: &[u8]) {
    let sent = link.outbox.push(Message::Block(bytes).pack().into());
    hub.of(slot, link, |gossip, _| if sent { gossip.answered(slot, id) } else { gossip.overrun(slot) });
}

/// HORNET: > the block of a milestone is made of its payload: its parents, no nonce. Index 0 asks for the newest one.
fn milestone(node: &NodeHandle, index: MilestoneIndex) -> Result<Option<Vec<u8>>, End> {
    let status = node.status_now();
    if (index.0 == 0 || index == status.latest.index)
        && let Some(block) = &status.latest_block
    {
        return Ok(Some(block.to_vec()));
    }
    let index = if index.0 == 0 { status.confirmed.index } else { index };
    let stored = node.reader.milestone(index)?;
    Ok(stored.map(|stored| Block::of_milestone(stored.milestone).pack()))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Poll};
    use std::time::{Duration, Instant};

    use libp2p::PeerId;
    use libp2p::futures::AsyncWrite;
    use libp2p::swarm::ConnectionId;
    use tokio::sync::Notify;

    use super::{End, Link, WRITE_WITHIN, write};

    /// A peer that takes nothing.
    struct Stuck;

    impl AsyncWrite for Stuck {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_is_let_go() {
        let link = Link {
            peer: PeerId::random(),
            address: None,
            connection: ConnectionId::new_unchecked(1),
            opened: true,
            since: Instant::now(),
            outbox: Default::default(),
            offence: AtomicBool::new(false),
            end: Notify::new(),
        };
        assert!(link.outbox.push([4, 0, 0].as_slice().into()));
        let end = tokio::time::timeout(WRITE_WITHIN + Duration::from_secs(50), write(&link, Stuck)).await;
        assert!(matches!(end, Ok(Err(End::Stuck))), "{end:?}");
    }
}
