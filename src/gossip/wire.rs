//! Frames between nodes, as HORNET writes them: `type u8 | length u16 LE | value`.
//!
//! | type | name | value |
//! | --- | --- | --- |
//! | 1 | milestone request | index u32; 0 asks for the newest |
//! | 2 | block | a block (TIP-24), 0 to 32,768 bytes |
//! | 3 | block request | block id, 32 bytes |
//! | 4 | heartbeat | solid u32, pruned u32, latest u32, connected u8, synced u8 |
//!
//! Numbers are little-endian. Whatever else comes ends the connection.

use crate::protocol::MAX_BLOCK_BYTES;
use crate::protocol::id::{BlockId, MilestoneIndex};

/// Bytes before a value.
pub const HEADER_BYTES: usize = 3;

/// Longest frame.
pub const MAX_FRAME_BYTES: usize = HEADER_BYTES + MAX_BLOCK_BYTES;

const MILESTONE_REQUEST: u8 = 1;
const BLOCK: u8 = 2;
const BLOCK_REQUEST: u8 = 3;
const HEARTBEAT: u8 = 4;

const HEARTBEAT_BYTES: usize = 14;

/// What a node says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Newest milestone whose past cone it has: its confirmed one.
    pub solid: MilestoneIndex,
    /// Newest milestone whose blocks it has no more.
    pub pruned: MilestoneIndex,
    /// Newest milestone that it knows.
    pub latest: MilestoneIndex,
    /// Its peers.
    pub connected: u8,
    /// Those of them that it takes for synced.
    pub synced: u8,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// Asks for the block of a milestone; index 0: of the newest.
    MilestoneRequest(MilestoneIndex),
    /// A block's bytes, not looked at; may be empty.
    Block(&'a [u8]),
    /// Asks for a block.
    BlockRequest(BlockId),
    /// What the other node has.
    Heartbeat(Heartbeat),
}

/// What no peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Type without a meaning.
    #[error("frame of unknown type {0}")]
    Kind(u8),
    /// Length that the type does not have.
    #[error("frame of type {kind} with {length} bytes")]
    Length {
        /// Type.
        kind: u8,
        /// Length as it stands in the header.
        length: usize,
    },
}

impl Message<'_> {
    /// The frame.
    pub fn pack(&self) -> Vec<u8> {
        match self {
            Self::MilestoneRequest(index) => frame(MILESTONE_REQUEST, &index.0.to_le_bytes()),
            Self::Block(bytes) => frame(BLOCK, bytes),
            Self::BlockRequest(id) => frame(BLOCK_REQUEST, &id.0),
            Self::Heartbeat(heartbeat) => {
                let mut value = Vec::with_capacity(HEARTBEAT_BYTES);
                for index in [heartbeat.solid, heartbeat.pruned, heartbeat.latest] {
                    value.extend(index.0.to_le_bytes());
                }
                value.extend([heartbeat.connected, heartbeat.synced]);
                frame(HEARTBEAT, &value)
            }
        }
    }
}

/// # Panics
/// Never: no value is longer than a block.
fn frame(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("no value is longer than a block");
    let mut frame = Vec::with_capacity(HEADER_BYTES + value.len());
    frame.push(kind);
    frame.extend(length.to_le_bytes());
    frame.extend(value);
    frame
}

/// Takes the first frame off a stream of bytes: what it says, and how many bytes it took; `None` when more must come. A
/// header that is wrong is told as soon as it is there. O(1).
///
/// # Errors
/// [`Error`]: there is no way on with this stream.
pub fn parse(bytes: &[u8]) -> Result<Option<(Message<'_>, usize)>, Error> {
    let Some(([kind, low, high], rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    let fits = match *kind {
        MILESTONE_REQUEST => length == 4,
        BLOCK => length <= MAX_BLOCK_BYTES,
        BLOCK_REQUEST => length == 32,
        HEARTBEAT => length == HEARTBEAT_BYTES,
        kind => return Err(Error::Kind(kind)),
    };
    if !fits {
        return Err(Error::Length { kind: *kind, length });
    }
    let Some(value) = rest.get(..length) else { return Ok(None) };
    let number = |at: usize| {
        let bytes = value.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        MilestoneIndex(u32::from_le_bytes(bytes))
    };
    let message = match (*kind, value) {
        (MILESTONE_REQUEST, _) => Message::MilestoneRequest(number(0)),
        (BLOCK, bytes) => Message::Block(bytes),
        (BLOCK_REQUEST, id) => Message::BlockRequest(BlockId(id.try_into().unwrap_or_default())),
        (_, value) => Message::Heartbeat(Heartbeat {
            solid: number(0),
            pruned: number(4),
            latest: number(8),
            connected: value.get(12).copied().unwrap_or_default(),
            synced: value.get(13).copied().unwrap_or_default(),
        }),
    };
    Ok(Some((message, HEADER_BYTES + length)))
}

#[cfg(test)]
mod tests {
    use super::{BlockId, Error, HEADER_BYTES, Heartbeat, Message, MilestoneIndex, parse};

    /// Bytes that a running HORNET sent.
    #[test]
    fn frames_are_hornets() {
        let heartbeat = Message::Heartbeat(Heartbeat {
            solid: MilestoneIndex(100),
            pruned: MilestoneIndex(50),
            latest: MilestoneIndex(101),
            connected: 3,
            synced: 2,
        });
        let bytes = [4, 14, 0, 100, 0, 0, 0, 50, 0, 0, 0, 101, 0, 0, 0, 3, 2];
        assert_eq!(heartbeat.pack(), bytes);
        assert_eq!(parse(&bytes), Ok(Some((heartbeat, bytes.len()))));
        let newest = Message::MilestoneRequest(MilestoneIndex(0));
        assert_eq!(newest.pack(), [1, 4, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn frames_come_in_pieces_and_in_rows() {
        let messages = [
            Message::BlockRequest(BlockId([7; 32])),
            Message::Block(&[1; 300]),
            Message::Block(&[]),
            Message::MilestoneRequest(MilestoneIndex(9)),
        ];
        let stream = messages.iter().flat_map(Message::pack).collect::<Vec<_>>();
        let (mut at, mut end, mut found) = (0, 0, 0);
        while found < messages.len() {
            match parse(&stream[at..end]).unwrap() {
                Some((message, length)) => {
                    assert_eq!(message, messages[found]);
                    (at, found) = (at + length, found + 1);
                }
                None => end += 1,
            }
        }
        assert_eq!(at, stream.len());
    }

    #[test]
    fn a_wrong_header_is_told_before_its_value_comes() {
        for kind in [0, 5, 9, 255] {
            assert_eq!(parse(&[kind, 0, 0]), Err(Error::Kind(kind)));
        }
        for (kind, length) in [(4_u8, 13_u16), (1, 5), (3, 31), (2, 32_769), (2, u16::MAX)] {
            let [low, high] = length.to_le_bytes();
            assert_eq!(parse(&[kind, low, high]), Err(Error::Length { kind, length: length.into() }));
        }
        assert_eq!(parse(&[2, 0, 128]), Ok(None));
        assert_eq!(parse(&[2, 0, 0]), Ok(Some((Message::Block(&[]), HEADER_BYTES))));
    }
}
