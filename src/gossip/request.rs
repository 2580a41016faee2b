//! What this node asks its peers for: milestones by index, blocks by id; the oldest milestone's first.
//!
//! What a milestone's past cone needs stays until that milestone is confirmed. Whatever else is wanted is forgotten unless
//! it is spoken of again within [`FORGET_AFTER_MS`]. So nothing stays that nobody needs.

use std::collections::{BTreeSet, HashMap};

use super::Slot;
use super::peer::{ANSWER_WITHIN_MS, Has, Peer};
use crate::protocol::id::{BlockId, MilestoneIndex};

/// Milliseconds after which nobody wants a thing any more (HORNET: > requests older than 15 s are discarded).
const FORGET_AFTER_MS: u64 = 15_000;

/// Most things wanted at a time, about 200 bytes each. What does not fit is asked for when it is spoken of again.
const MOST_WANTED: usize = 32_768;

/// Things that are looked at to find one that a peer has.
const MOST_LOOKED_AT: usize = 1_024;

/// One thing to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Want {
    /// The block of the milestone under whose index it is queued.
    Milestone(MilestoneIndex),
    /// A block.
    Block(BlockId),
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    index: MilestoneIndex,
    /// Needed until that milestone is confirmed.
    firm: bool,
    spoken_of_ms: u64,
    /// Whom it is asked of, and since when.
    asked: Option<(Slot, u64)>,
    /// Who did not answer.
    silent: Option<Slot>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Requests {
    entries: HashMap<Want, Entry>,
    /// Those that are asked of nobody.
    queued: BTreeSet<(MilestoneIndex, Want)>,
    /// Those that are asked of somebody, by time.
    asked: BTreeSet<(u64, Want)>,
}

impl Requests {
    /// Something is needed, still or again; `firm` when it is so for that milestone.
    pub(super) fn want(&mut self, want: Want, index: MilestoneIndex, firm: bool, now_ms: u64) {
        if let Some(entry) = self.entries.get_mut(&want) {
            entry.spoken_of_ms = now_ms;
            entry.firm |= firm;
            if index < entry.index {
                if self.queued.remove(&(entry.index, want)) {
                    self.queued.insert((index, want));
                }
                entry.index = index;
            }
        } else if self.entries.len() < MOST_WANTED {
            self.entries.insert(want, Entry { index, firm, spoken_of_ms: now_ms, asked: None, silent: None });
            self.queued.insert((index, want));
        }
    }

    /// The milestone that something is needed for.
    pub(super) fn wanted(&self, want: &Want) -> Option<MilestoneIndex> {
        self.entries.get(want).map(|entry| entry.index)
    }

    /// It is here. `by` brought it.
    pub(super) fn arrived(&mut self, want: &Want, by: Slot, peers: &mut [Option<Peer>]) {
        let Some(entry) = self.entries.remove(want) else { return };
        self.queued.remove(&(entry.index, *want));
        if let Some((slot, since_ms)) = entry.asked {
            self.asked.remove(&(since_ms, *want));
            if let Some(Some(peer)) = peers.get_mut(slot.place()) {
                if by == slot { peer.flow.answered() } else { peer.flow.relieved() }
            }
        }
    }

    /// What can be asked for now, and of whom. With `limit`, nothing of later milestones.
    pub(super) fn dispatch(
        &mut self,
        peers: &mut [Option<Peer>],
        limit: Option<MilestoneIndex>,
        now_ms: u64,
    ) -> Vec<(Slot, Want)> {
        let mut out = Vec::new();
        let mut room = peers.iter().flatten().map(|peer| peer.flow.room(now_ms)).sum::<u32>();
        if room == 0 {
            return out;
        }
        let last = limit.unwrap_or(MilestoneIndex(u32::MAX));
        for (index, want) in self.queued.iter().take(MOST_LOOKED_AT) {
            if room == 0 || *index > last {
                break;
            }
            let Some(entry) = self.entries.get_mut(want) else { continue };
            let least = match want {
                Want::Milestone(_) => Has::Perhaps,
                // Who sent a child of it may have it, whatever its heartbeat said before.
                Want::Block(_) => Has::Unsure,
            };
            let Some(slot) = choose(peers, *index, least, entry.silent, now_ms) else { continue };
            if let Some(Some(peer)) = peers.get_mut(slot.place()) {
                peer.flow.asked();
                match want {
                    Want::Milestone(_) => peer.counters.sent_milestone_requests += 1,
                    Want::Block(_) => peer.counters.sent_block_requests += 1,
                }
            }
            room -= 1;
            entry.asked = Some((slot, now_ms));
            out.push((slot, *want));
        }
        for (_, want) in &out {
            if let Some(entry) = self.entries.get(want) {
                self.queued.remove(&(entry.index, *want));
                self.asked.insert((now_ms, *want));
            }
        }
        out
    }

    /// What is not answered in time is asked of others; what nobody needs is forgotten.
    pub(super) fn expire(&mut self, peers: &mut [Option<Peer>], confirmed: MilestoneIndex, now_ms: u64) {
        let mut failed = vec![0; peers.len()];
        while let Some((since_ms, want)) = self.asked.first().copied() {
            if since_ms + ANSWER_WITHIN_MS > now_ms {
                break;
            }
            self.asked.pop_first();
            if let Some(entry) = self.entries.get_mut(&want)
                && let Some((slot, _)) = entry.asked.take()
            {
                entry.silent = Some(slot);
                self.queued.insert((entry.index, want));
                if let Some(count) = failed.get_mut(slot.place()) {
                    *count += 1;
                }
            }
        }
        for (peer, count) in peers.iter_mut().zip(failed) {
            if let Some(peer) = peer.as_mut().filter(|_| count > 0) {
                peer.flow.failed(count, now_ms);
            }
        }
        let queued = &mut self.queued;
        self.entries.retain(|want, entry| {
            let needed = match entry.firm {
                true => entry.index > confirmed,
                false => entry.spoken_of_ms + FORGET_AFTER_MS > now_ms,
            };
            let keep = needed || entry.asked.is_some();
            if !keep {
                queued.remove(&(entry.index, *want));
            }
            keep
        });
    }

    /// Whatever was asked of a peer that is gone is asked of others.
    pub(super) fn gone(&mut self, slot: Slot) {
        let lost = |want: &Want| {
            self.entries.get(want).is_some_and(|entry| entry.asked.is_some_and(|(asked, _)| asked == slot))
        };
        let lost = self.asked.iter().filter(|(_, want)| lost(want)).copied().collect::<Vec<_>>();
        for (since_ms, want) in lost {
            self.asked.remove(&(since_ms, want));
            if let Some(entry) = self.entries.get_mut(&want) {
                entry.asked = None;
                self.queued.insert((entry.index, want));
            }
        }
        // Its place may be given to another peer, who is innocent. Order is of no matter here.
        for entry in self.entries.values_mut().filter(|entry| entry.silent == Some(slot)) {
            entry.silent = None;
        }
    }

    /// Things wanted.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The peer that most surely has it; of several, the one with the most room. Who was silent comes last.
fn choose(
    peers: &[Option<Peer>],
    index: MilestoneIndex,
    least: Has,
    silent: Option<Slot>,
    now_ms: u64,
) -> Option<Slot> {
    let fit = |(slot, peer): (Slot, &Option<Peer>)| {
        let peer = peer.as_ref()?;
        let room = peer.flow.room(now_ms);
        let has = peer.has(index).filter(|has| *has >= least)?;
        (room > 0).then_some(((silent != Some(slot), has, room), slot))
    };
    let fitting = Slot::all().zip(peers).filter_map(fit);
    fitting.max_by_key(|(rank, slot)| (*rank, std::cmp::Reverse(*slot))).map(|(_, slot)| slot)
}
