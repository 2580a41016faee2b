//! Peers that mean harm.

use std::sync::Arc;

use osmia::gossip::wire::{Heartbeat, Message};
use osmia::protocol::block::{Block, Parents, Payload};
use osmia::protocol::id::{BlockId, MilestoneIndex};
use osmia::protocol::tagged_data::TaggedData;

use crate::random::Random;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Frames that are none.
    Garbage,
    /// Good blocks whose parents nobody has.
    Orphans,
    /// Milestones that nobody signed.
    Forger,
    /// It has whatever is asked for, and never gives it.
    Liar,
    /// Requests, as many as it can.
    Flood,
    /// A frame of which a byte comes now and then.
    SlowLoris,
    /// Blocks of another protocol version.
    WrongVersion,
    /// Everything that it ever heard, again and again.
    Replay,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Garbage,
        Self::Orphans,
        Self::Forger,
        Self::Liar,
        Self::Flood,
        Self::SlowLoris,
        Self::WrongVersion,
        Self::Replay,
    ];
}

#[derive(Debug)]
pub(crate) struct Attacker {
    pub(crate) kind: Kind,
    heard: Vec<Arc<[u8]>>,
}

/// What an attacker remembers.
const MEMORY: usize = 500;

impl Attacker {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, heard: Vec::new() }
    }

    pub(crate) fn hear(&mut self, bytes: &Arc<[u8]>, random: &mut Random) {
        if self.heard.len() < MEMORY {
            self.heard.push(bytes.clone());
        } else {
            let at = random.below(MEMORY);
            self.heard[at] = bytes.clone();
        }
    }

    /// What it sends when it is connected.
    pub(crate) fn greet(&self, index: u32) -> Vec<u8> {
        heartbeat(if self.kind == Kind::Liar { index + 500 } else { index })
    }

    /// What it sends from time to time.
    pub(crate) fn act(&self, index: u32, random: &mut Random) -> Vec<u8> {
        match self.kind {
            Kind::Garbage => (0..random.below(40)).map(|_| random.next().to_le_bytes()[0]).collect(),
            Kind::Liar => heartbeat(index + 500),
            Kind::SlowLoris => vec![2],
            Kind::Orphans => (0..40).flat_map(|_| Message::Block(&block(random, 2)).pack()).collect(),
            Kind::WrongVersion => Message::Block(&block(random, 3)).pack(),
            Kind::Forger => {
                let mut bytes = self.heard.iter().map(|frame| frame.to_vec()).find(|frame| frame.len() > 400);
                if let Some(bytes) = &mut bytes {
                    let at = bytes.len() - 20;
                    bytes[at] ^= 1;
                }
                bytes.unwrap_or_default()
            }
            Kind::Flood => (0..200)
                .flat_map(|number| match number % 2 {
                    0 => Message::BlockRequest(some_id(random)).pack(),
                    _ => Message::MilestoneRequest(MilestoneIndex(number % (index + 2))).pack(),
                })
                .collect(),
            Kind::Replay if self.heard.is_empty() => Vec::new(),
            Kind::Replay => {
                (0..20).flat_map(|_| self.heard[random.below(self.heard.len())].to_vec()).collect()
            }
        }
    }
}

fn heartbeat(solid: u32) -> Vec<u8> {
    let index = MilestoneIndex(solid);
    let heartbeat =
        Heartbeat { solid: index, pruned: MilestoneIndex(0), latest: index, connected: 1, synced: 1 };
    Message::Heartbeat(heartbeat).pack()
}

fn some_id(random: &mut Random) -> BlockId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&random.next().to_le_bytes());
    BlockId(id)
}

fn block(random: &mut Random, protocol_version: u8) -> Vec<u8> {
    let data = TaggedData::new(b"x".to_vec(), random.next().to_le_bytes().to_vec()).expect("it is short");
    let parents = Parents::from_unsorted(vec![some_id(random)]).expect("one parent");
    Block { protocol_version, parents, payload: Some(Payload::TaggedData(data)), nonce: 0 }.pack()
}
