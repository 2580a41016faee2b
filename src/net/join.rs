//! How a node learns of the network that it is to join: it asks one of its nodes, over a connection by which that one
//! proves its identity.
//!
//! The answer: 4 bytes length (little-endian), so many bytes of text ([`crate::config::introduction`]), 8 bytes length, so
//! many bytes of a full snapshot. Nodes that let no strangers in do not answer.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use libp2p::futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{self, Stream, StreamProtocol, SwarmEvent};
use libp2p::{PeerId, Swarm};

use super::behaviour::{self, Event, Opens};
use super::tcp::{self, Tcp};
use crate::config::introduction::MAX_BYTES;
use crate::keeper::Keeper;
use crate::keeper::progress::Progress;
use crate::store::Reader;

/// What is spoken.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/osmia/join/1.0.0");

/// Nodes that are answered at a time.
pub(super) const MOST_ASKING: usize = 2;

/// Each has its answer by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(1_800);

/// The other side is to go on within that time.
const STEP_WITHIN: Duration = Duration::from_secs(60);

/// What is read and written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Longest snapshot that is taken from another node.
const MAX_SNAPSHOT_BYTES: u64 = 64 << 30;

/// What a node tells those that want to join.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// Of the network.
    pub text: Arc<str>,
    /// Who takes snapshots.
    pub keeper: Keeper,
    /// Milestones between the newest and the one that a snapshot is of.
    pub depth: u32,
}

/// The side that answers: opens nothing by itself.
pub(super) fn answering() -> behaviour::Behaviour {
    behaviour::Behaviour::new(PROTOCOL, Opens::Never)
}

/// Answers one node.
pub(super) async fn answer(stream: Stream, introduction: Introduction, reader: Reader) {
    match tokio::time::timeout(ANSWER_WITHIN, tell(stream, introduction, reader)).await {
        Ok(Ok(bytes)) => tracing::info!(snapshot_bytes = bytes, "a node was told how to join"),
        Ok(Err(error)) => tracing::warn!("a node that wants to join was not told how: {error:#}"),
        Err(_) => tracing::warn!("a node that wants to join is too slow"),
    }
}

async fn tell(
    mut to: impl AsyncWrite + Unpin,
    introduction: Introduction,
    reader: Reader,
) -> anyhow::Result<u64> {
    let Introduction { text, keeper, depth } = introduction;
    let file = tokio::task::spawn_blocking(move || keeper.for_joiners(&reader, depth)).await?;
    let file = file.context("taking a snapshot")?;
    let length = file.metadata()?.len();
    let head = [&u32::try_from(text.len())?.to_le_bytes(), text.as_bytes(), &length.to_le_bytes()].concat();
    step(to.write_all(&head)).await?;
    let (mut file, mut left) = (file, length);
    while left > 0 {
        let reading = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = (&file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
            read.map(|_| (file, chunk))
        });
        let chunk;
        (file, chunk) = reading.await??;
        ensure!(!chunk.is_empty(), "the snapshot became shorter");
        left = left.saturating_sub(chunk.len() as u64);
        step(to.write_all(&chunk)).await?;
    }
    step(to.close()).await?;
    Ok(length)
}

async fn step<T>(doing: impl Future<Output = std::io::Result<T>>) -> anyhow::Result<T> {
    Ok(tokio::time::timeout(STEP_WITHIN, doing).await.context("the other node does nothing any more")??)
}

/// Asks a node about its network, and writes its snapshot to a file. Gives the text.
///
/// # Errors
/// It is not reached, is another one, or does not answer as it should; the file cannot be written.
pub async fn ask(
    key: &Keypair,
    peer: PeerId,
    addresses: &[SocketAddr],
    into: &Path,
    progress: &Progress,
) -> anyhow::Result<String> {
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(STEP_WITHIN);
    let asking = behaviour::Behaviour::new(PROTOCOL, Opens::Dialler);
    let mut swarm =
        Swarm::new(super::transport(key, Tcp::default())?, asking, key.public().to_peer_id(), config);
    let addresses = addresses.iter().map(|address| tcp::multiaddr(*address)).collect();
    swarm.dial(DialOpts::peer_id(peer).addresses(addresses).build())?;
    let stream = tokio::time::timeout(STEP_WITHIN, opened(&mut swarm, progress));
    let stream = stream.await.context("the node does not answer")??;
    let taken = take(stream, into, progress);
    tokio::select! {
        taken = taken => taken,
        ended = run(&mut swarm, progress) => ended,
    }
}

async fn opened(swarm: &mut Swarm<behaviour::Behaviour>, progress: &Progress) -> anyhow::Result<Stream> {
    loop {
        progress.step();
        #[allow(clippy::wildcard_enum_match_arm, reason = "the enum is not exhaustive: nothing else matters")]
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour((_, _, Event::Open { stream, .. })) => return Ok(stream),
            SwarmEvent::Behaviour((_, _, Event::Failed)) => {
                bail!("the node does not tell strangers about its network (peering.unknown_peers = 0?)")
            }
            SwarmEvent::OutgoingConnectionError { error, .. } => bail!("the node is not reached: {error}"),
            SwarmEvent::ConnectionClosed { .. } => bail!("the node closed the connection"),
            _ => {}
        }
    }
}

/// Keeps the connection alive; ends when that does.
async fn run(swarm: &mut Swarm<behaviour::Behaviour>, progress: &Progress) -> anyhow::Result<String> {
    loop {
        progress.step();
        if let SwarmEvent::ConnectionClosed { cause, .. } = swarm.select_next_some().await {
            bail!("the connection ended: {cause:?}");
        }
    }
}

async fn take(mut from: impl AsyncRead + Unpin, into: &Path, progress: &Progress) -> anyhow::Result<String> {
    let mut length = [0; 4];
    step(from.read_exact(&mut length)).await?;
    let length = usize::try_from(u32::from_le_bytes(length))?;
    ensure!(length <= MAX_BYTES, "{length} bytes about a network are too many");
    let mut text = vec![0; length];
    step(from.read_exact(&mut text)).await?;
    let text = String::from_utf8(text).context("what the node says of its network is no text")?;
    let mut length = [0; 8];
    step(from.read_exact(&mut length)).await?;
    let length = u64::from_le_bytes(length);
    ensure!(length <= MAX_SNAPSHOT_BYTES, "a snapshot of {length} bytes is too long");
    let spare =
        into.parent().map(crate::files::Room::of).transpose()?.map_or(u64::MAX, crate::files::Room::spare);
    ensure!(length < spare, "no room for a snapshot of {length} bytes: {spare} are spare on the disk");
    let mut file = std::fs::File::create(into)?;
    let (mut buffer, mut done) = (vec![0; CHUNK_BYTES], 0);
    while done < length {
        let most = usize::try_from(length - done).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let count = step(from.read(&mut buffer[..most])).await?;
        ensure!(count > 0, "the snapshot ends after {done} of {length} bytes");
        file.write_all(&buffer[..count])?;
        done += count as u64;
        progress.step();
        progress.say(format!("taking a snapshot from another node: {done} of {length} bytes"));
    }
    tokio::task::spawn_blocking(move || file.sync_all()).await??;
    Ok(text)
}
