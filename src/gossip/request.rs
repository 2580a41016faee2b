//! What this node asks its peers for: milestones by index, blocks by id; the oldest milestone's first.
//!
//! What a milestone's past cone needs stays until that milestone is confirmed. Whatever else is wanted is forgotten unless
//! it is spoken of again within [`FORGET_AFTER_MS`]. So nothing stays that nobody needs.

use std::collections::{BTreeSet, HashMap};

use super::peer::{Has, Peer};
use super::{Slot, Slots};
use crate::planted::{Bug, is_planted};
use crate::protocol::id::{BlockId, MilestoneIndex};

/// Milliseconds after which nobody wants a thing any more: as long as the engine keeps a block that waits for it. HORNET
/// discards requests after 15 s, but keeps the blocks: what is built on them is not solidified then.
const FORGET_AFTER_MS: u64 = 60_000;

/// Most things wanted at a time, about 200 bytes each. What does not fit is asked for when it is spoken of again.
const MOST_WANTED: usize = 32_768;

/// Most of those that no milestone needs: strangers can make up as many as they like.
const MOST_SOFT: usize = 2_048;

/// Peers that are asked for such a thing.
const MOST_TRIES: u8 = 6;

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
    /// Who has what was built on it.
    holders: Slots,
    asked: Option<Asked>,
    /// Who did not answer, since all were asked.
    silent: Slots,
    tries: u8,
}

/// Whether no milestone needs it; the milestone; the thing.
type Queued = (bool, MilestoneIndex, Want);

impl Entry {
    fn place(&self, want: Want) -> Queued {
        (!self.firm, self.index, want)
    }
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    of: Slot,
    until_ms: u64,
    /// It says that it has it: not to answer counts against it.
    promised: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Requests {
    entries: HashMap<Want, Entry>,
    /// Those that no milestone needs.
    soft: usize,
    /// Those that are asked of nobody: first what milestones need.
    queued: BTreeSet<Queued>,
    /// Those that are asked of somebody, by the time until which an answer is waited for.
    asked: BTreeSet<(u64, Want)>,
}

impl Requests {
    /// Something is needed, still or again; `firm` when it is so for that milestone, else for a block that `holders` have.
    pub(super) fn want(
        &mut self,
        want: Want,
        index: MilestoneIndex,
        firm: bool,
        holders: Slots,
        now_ms: u64,
    ) {
        if let Some(entry) = self.entries.get_mut(&want) {
            entry.spoken_of_ms = now_ms;
            entry.holders.add(holders);
            let before = entry.place(want);
            if firm && !entry.firm {
                // What was guessed before is no measure.
                (entry.firm, entry.index) = (true, index);
                self.soft -= 1;
            } else if firm == entry.firm {
                entry.index = entry.index.min(index);
            }
            let after = entry.place(want);
            if before != after && self.queued.remove(&before) {
                self.queued.insert(after);
            }
        } else if self.entries.len() < MOST_WANTED && (firm || self.soft < MOST_SOFT) {
            let (spoken_of_ms, asked, silent) = (now_ms, None, Slots::default());
            let entry = Entry { index, firm, spoken_of_ms, holders, asked, silent, tries: 0 };
            self.queued.insert(entry.place(want));
            self.entries.insert(want, entry);
            self.soft += usize::from(!firm);
        }
    }

    /// Whether something is wanted: `Some` of the milestone that needs it, if one does.
    pub(super) fn wanted(&self, want: &Want) -> Option<Option<MilestoneIndex>> {
        self.entries.get(want).map(|entry| entry.firm.then_some(entry.index))
    }

    /// It is here. `by` brought it, if that is known.
    pub(super) fn arrived(&mut self, want: &Want, by: Option<Slot>, peers: &mut [Option<Peer>]) {
        let Some(entry) = self.entries.remove(want) else { return };
        self.soft -= usize::from(!entry.firm);
        self.queued.remove(&entry.place(*want));
        if let Some(Asked { of, until_ms, .. }) = entry.asked {
            self.asked.remove(&(until_ms, *want));
            if let Some(Some(peer)) = peers.get_mut(of.place()) {
                if by == Some(of) { peer.flow.answered() } else { peer.flow.relieved() }
            }
        }
    }

    /// What can be asked for now, and of whom: every milestone, but past cones of those up to `last` alone.
    pub(super) fn dispatch(
        &mut self,
        peers: &mut [Option<Peer>],
        last: MilestoneIndex,
        now_ms: u64,
    ) -> Vec<(Slot, Want)> {
        let mut out = Vec::new();
        let (mut hungry, mut room) = (Slots::default(), 0);
        for (slot, peer) in Slot::all().zip(&*peers) {
            if let Some(peer) = peer.as_ref().filter(|peer| peer.flow.is_hungry()) {
                hungry.insert(slot);
                room += peer.flow.room(true, now_ms);
            }
        }
        if room == 0 {
            return out;
        }
        for (_, index, want) in self.queued.iter().take(MOST_LOOKED_AT) {
            if room == 0 {
                break;
            }
            if *index > last && !matches!(want, Want::Milestone(_)) {
                continue;
            }
            let Some(entry) = self.entries.get_mut(want) else { continue };
            let Some((of, promised)) = choose(peers, hungry, want, entry, now_ms) else { continue };
            let mut until_ms = now_ms;
            if let Some(Some(peer)) = peers.get_mut(of.place()) {
                peer.flow.asked();
                until_ms += peer.flow.patience_ms();
                match want {
                    Want::Milestone(_) => {
                        peer.counters.sent_milestone_requests =
                            peer.counters.sent_milestone_requests.saturating_add(1)
                    }
                    Want::Block(_) => {
                        peer.counters.sent_block_requests =
                            peer.counters.sent_block_requests.saturating_add(1)
                    }
                }
            }
            room -= 1;
            if entry.silent.contains(of) {
                entry.silent = Slots::default();
            }
            entry.asked = Some(Asked { of, until_ms, promised });
            self.asked.insert((until_ms, *want));
            entry.tries = entry.tries.saturating_add(1);
            out.push((of, *want));
        }
        for (_, want) in &out {
            if let Some(entry) = self.entries.get(want) {
                self.queued.remove(&entry.place(*want));
            }
        }
        out
    }

    /// What is not answered in time is asked of others; what nobody needs is forgotten.
    pub(super) fn expire(&mut self, peers: &mut [Option<Peer>], confirmed: MilestoneIndex, now_ms: u64) {
        let mut failed = vec![0; peers.len()];
        while let Some((until_ms, want)) = self.asked.first().copied() {
            if until_ms > now_ms || is_planted(Bug::WaitsForEver) {
                break;
            }
            self.asked.pop_first();
            if let Some(entry) = self.entries.get_mut(&want)
                && let Some(Asked { of, promised, .. }) = entry.asked.take()
            {
                entry.silent.insert(of);
                self.queued.insert(entry.place(want));
                if promised && let Some(count) = failed.get_mut(of.place()) {
                    *count += 1;
                } else if let Some(Some(peer)) = peers.get_mut(of.place()) {
                    peer.flow.relieved();
                }
            }
        }
        for (peer, count) in peers.iter_mut().zip(failed) {
            if let Some(peer) = peer.as_mut().filter(|_| count > 0) {
                peer.flow.failed(count, now_ms);
            }
        }
        let (queued, soft) = (&mut self.queued, &mut self.soft);
        self.entries.retain(|want, entry| {
            let needed = match entry.firm {
                true => entry.index > confirmed,
                false => entry.spoken_of_ms + FORGET_AFTER_MS > now_ms && entry.tries < MOST_TRIES,
            };
            let keep = needed || entry.asked.is_some();
            if !keep {
                queued.remove(&entry.place(*want));
                *soft -= usize::from(!entry.firm);
            }
            keep
        });
    }

    /// Whatever was asked of a peer that is gone is asked of others.
    pub(super) fn gone(&mut self, slot: Slot) {
        let lost = |want: &Want| {
            self.entries.get(want).is_some_and(|entry| entry.asked.is_some_and(|asked| asked.of == slot))
        };
        let lost = self.asked.iter().filter(|(_, want)| lost(want)).copied().collect::<Vec<_>>();
        for (until_ms, want) in lost {
            self.asked.remove(&(until_ms, want));
            if let Some(entry) = self.entries.get_mut(&want) {
                entry.asked = None;
                self.queued.insert(entry.place(want));
            }
        }
        // Its place may be given to another peer, who is innocent. Order is of no matter here.
        for entry in self.entries.values_mut() {
            entry.silent.remove(slot);
            entry.holders.remove(slot);
        }
    }

    /// Things wanted.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The peer that most surely has it, and whether it says so; of several, the one with the most room. Who was silent comes
/// last: whoever may have it is asked in turn.
fn choose(
    peers: &[Option<Peer>],
    hungry: Slots,
    want: &Want,
    entry: &Entry,
    now_ms: u64,
) -> Option<(Slot, bool)> {
    let least = match want {
        Want::Milestone(_) => Has::Perhaps,
        // Who has a child of it may have it, whatever its heartbeat said before.
        Want::Block(_) => Has::Unsure,
    };
    let fit = |(slot, peer): (Slot, &Option<Peer>)| {
        let peer = peer.as_ref()?;
        let room = peer.flow.room(entry.firm, now_ms);
        let has = peer.has(entry.index).filter(|has| *has >= least)?;
        let holder = entry.holders.contains(slot);
        // Who confirmed the milestone has its past cone; who has a child may still wait for this itself.
        let sure = if entry.firm { (has as u8, u8::from(holder)) } else { (u8::from(holder), has as u8) };
        // Who says that it has a milestone has its past cone, and its block.
        let promised = has == Has::Yes && (entry.firm || matches!(want, Want::Milestone(_)));
        let rank = (!entry.silent.contains(slot), !peer.flow.is_doubtful(), sure, room);
        (room > 0).then_some((rank, slot, promised))
    };
    let fitting = Slot::all().zip(peers).filter(|(slot, _)| hungry.contains(*slot)).filter_map(fit);
    let best = fitting.max_by_key(|(rank, slot, _)| (*rank, std::cmp::Reverse(*slot)));
    best.map(|(_, slot, promised)| (slot, promised))
}
