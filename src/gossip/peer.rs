//! One peer: what it says it has, how much is asked of it at a time, how much it may ask.

use super::wire::Heartbeat;
use crate::protocol::id::MilestoneIndex;

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Autopeering chose it.
    Autopeered,
    /// Named by the owner: a connection is kept up.
    Known,
    /// Anybody.
    Unknown,
}

/// How a connection ended, or why it has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// HORNET: > no heartbeat within 5 s of the stream's start
    #[error("it sent no heartbeat")]
    NoHeartbeat,
    /// HORNET: > the last heartbeat is older than 100 s
    #[error("its heartbeat stopped")]
    Silent,
    /// HORNET: > a peer that nobody named whose solid milestone is below what this node pruned is of no use, found by autopeering or not
    #[error("it is too far behind to be served")]
    Behind,
    /// It sent what can never be a block of this network.
    #[error("it sent an invalid block")]
    InvalidBlock,
    /// It asked for far more than it may, again and again.
    #[error("it asks for more than any node needs to")]
    Flood,
}

impl Reason {
    /// Whether it broke a rule, and did not just stop being of use.
    pub fn is_offence(self) -> bool {
        match self {
            Self::InvalidBlock | Self::Flood => true,
            Self::NoHeartbeat | Self::Silent | Self::Behind => false,
        }
    }
}

/// What passed between the two nodes, as `peers` of the API tells it (TIP-25).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Blocks that were new here.
    pub new_blocks: u32,
    /// Blocks that were known.
    pub known_blocks: u32,
    /// All blocks that came.
    pub received_blocks: u32,
    /// Requests for blocks that came.
    pub received_block_requests: u32,
    /// Requests for milestones that came.
    pub received_milestone_requests: u32,
    /// Heartbeats that came.
    pub received_heartbeats: u32,
    /// Blocks that were sent.
    pub sent_blocks: u32,
    /// Requests for blocks that were sent.
    pub sent_block_requests: u32,
    /// Requests for milestones that were sent.
    pub sent_milestone_requests: u32,
    /// Heartbeats that were sent.
    pub sent_heartbeats: u32,
    /// What was not sent or not looked at, because there was too much of it.
    pub dropped_packets: u32,
}

/// Milliseconds after which an unanswered request is asked of another peer (HORNET).
const ANSWER_WITHIN_MS: u64 = 5_000;

/// The same for a peer that was silent before: others may have what it only claims to have.
const DOUBTFUL_WITHIN_MS: u64 = 1_000;

/// Requests that a new peer gets at a time: one that lies about what it has gets no more than these.
const FIRST_WINDOW: u32 = 16;

/// Most requests at a time: HORNET drops answers beyond a thousand.
const LAST_WINDOW: u32 = 512;

/// Longest time that a peer is asked for nothing after it did not answer.
const MOST_QUIET_MS: u64 = 60_000;

/// How much is asked of a peer at a time: one more with each answer, half with each silence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    window: u32,
    in_flight: u32,
    silences: u32,
    quiet_until_ms: u64,
}

impl Default for Flow {
    fn default() -> Self {
        Self { window: FIRST_WINDOW, in_flight: 0, silences: 0, quiet_until_ms: 0 }
    }
}

impl Flow {
    /// How much more can be asked of it. What no milestone needs gets half of the window.
    pub(super) fn room(&self, firm: bool, now_ms: u64) -> u32 {
        let window = if firm { self.window } else { self.window.div_ceil(2) };
        if now_ms < self.quiet_until_ms { 0 } else { window.saturating_sub(self.in_flight) }
    }

    /// Whether it is time to ask for more: in bursts, as each frame by itself costs both sides more than what is in it.
    pub(super) fn is_hungry(&self) -> bool {
        self.in_flight <= self.window - self.window / 4
    }

    /// How long an answer is waited for before somebody else is asked.
    pub(super) fn patience_ms(&self) -> u64 {
        if self.is_doubtful() { DOUBTFUL_WITHIN_MS } else { ANSWER_WITHIN_MS }
    }

    /// It was silent, and did not answer since.
    pub(super) fn is_doubtful(&self) -> bool {
        self.silences > 0
    }

    pub(super) fn asked(&mut self) {
        self.in_flight += 1;
    }

    pub(super) fn answered(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.window = (self.window + 1).min(LAST_WINDOW);
        self.silences = 0;
    }

    /// Somebody else answered, or it may never have had what it was asked for.
    pub(super) fn relieved(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// It did not answer `count` requests in time. A few of many may have been dropped on the way; none at all is silence.
    pub(super) fn failed(&mut self, count: u32, now_ms: u64) {
        let all = count >= self.in_flight;
        self.in_flight = self.in_flight.saturating_sub(count);
        self.window = (self.window / 2).max(1);
        if all {
            self.silences = self.silences.saturating_add(1);
            let quiet = ANSWER_WITHIN_MS
                .checked_shl(self.silences - 1)
                .map_or(MOST_QUIET_MS, |ms| ms.min(MOST_QUIET_MS));
            self.quiet_until_ms = now_ms + quiet;
        }
    }
}

/// What may come in a second on average.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    per_1000_seconds: u64,
    most: u64,
    /// In millionths.
    level: u64,
    at_ms: u64,
}

impl Bucket {
    /// Full: `most` at once, `per_1000_seconds` in the long run.
    pub(super) fn new(per_1000_seconds: u64, most: u64, now_ms: u64) -> Self {
        Self { per_1000_seconds, most, level: most * 1_000_000, at_ms: now_ms }
    }

    pub(super) fn take(&mut self, now_ms: u64) -> bool {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = now_ms;
        let more = passed.saturating_mul(self.per_1000_seconds);
        self.level = self.level.saturating_add(more).min(self.most * 1_000_000);
        let enough = self.level >= 1_000_000;
        if enough {
            self.level -= 1_000_000;
        }
        enough
    }
}

/// Blocks that nobody asked for: twice what a busy network brings.
const BLOCKS_PER_SECOND: u64 = 4_000;

/// Requests: twice as fast as a node syncs; each takes some ten microseconds to answer.
const REQUESTS_PER_SECOND: u64 = 32_000;

/// Heartbeats: one for each milestone of a node that syncs, and more.
const HEARTBEATS_PER_SECOND: u64 = 1_000;

/// Milestones that nobody signed: 280 MB a day of the longest blocks.
const FORGED_PER_1000_SECONDS: u64 = 100;

/// As many of them at once.
const MOST_FORGED: u64 = 8;

/// Seconds in which it may send or ask for twice what it may: one a minute.
const EXCESSES_PER_1000_SECONDS: u64 = 16;

/// As many of them at once.
const MOST_EXCESSES: u64 = 10;

/// A second has so many milliseconds.
const SECOND_MS: u64 = 1_000;

/// Seconds in which a peer went beyond what it may by as much again.
#[derive(Debug, Clone)]
pub(super) struct Excesses {
    per_second: u64,
    /// When a second began, and how much was dropped in it.
    second: (u64, u64),
    seconds: Bucket,
}

impl Excesses {
    fn new(per_second: u64, now_ms: u64) -> Self {
        let seconds = Bucket::new(EXCESSES_PER_1000_SECONDS, MOST_EXCESSES, now_ms);
        Self { per_second, second: (now_ms, 0), seconds }
    }

    /// Something was dropped. Whether that goes on for too long: a fast node that syncs may exceed what it may ask for, but not
    /// by as much again, all the time.
    fn lasts_too_long(&mut self, now_ms: u64) -> bool {
        if now_ms >= self.second.0 + SECOND_MS {
            self.second = (now_ms, 0);
        }
        self.second.1 += 1;
        self.second.1 == self.per_second && !self.seconds.take(now_ms)
    }
}

/// It is more than a peer may.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beyond {
    /// For too long.
    pub(super) floods: bool,
}

/// A connected peer.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) relation: Relation,
    pub(super) since_ms: u64,
    /// The newest, and when it came.
    pub(super) heartbeat: Option<(Heartbeat, u64)>,
    pub(super) flow: Flow,
    blocks: Bucket,
    requests: Bucket,
    pub(super) heartbeats: Bucket,
    pub(super) forged: Bucket,
    excess_blocks: Excesses,
    excess_requests: Excesses,
    pub(super) counters: Counters,
    /// The last heartbeat that was sent to it.
    pub(super) told_ms: u64,
}

/// How sure it is that a peer has the data of a milestone. The greater the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Has {
    /// It has no more than it knows to exist.
    Unsure,
    /// It may: it knows the milestone.
    Perhaps,
    /// It says so.
    Yes,
}

impl Peer {
    pub(super) fn new(relation: Relation, now_ms: u64) -> Self {
        Self {
            relation,
            since_ms: now_ms,
            heartbeat: None,
            flow: Flow::default(),
            blocks: Bucket::new(1_000 * BLOCKS_PER_SECOND, BLOCKS_PER_SECOND, now_ms),
            requests: Bucket::new(1_000 * REQUESTS_PER_SECOND, 2 * REQUESTS_PER_SECOND, now_ms),
            heartbeats: Bucket::new(1_000 * HEARTBEATS_PER_SECOND, HEARTBEATS_PER_SECOND, now_ms),
            forged: Bucket::new(FORGED_PER_1000_SECONDS, MOST_FORGED, now_ms),
            excess_blocks: Excesses::new(BLOCKS_PER_SECOND, now_ms),
            excess_requests: Excesses::new(REQUESTS_PER_SECOND, now_ms),
            counters: Counters::default(),
            told_ms: now_ms,
        }
    }

    /// What came is more than it may send, and dropped.
    pub(super) fn dropped(&mut self) {
        self.counters.dropped_packets = self.counters.dropped_packets.saturating_add(1);
    }

    /// Whether it may ask; and if not, whether it floods.
    pub(super) fn may_ask(&mut self, now_ms: u64) -> Result<(), Beyond> {
        if self.requests.take(now_ms) {
            return Ok(());
        }
        self.dropped();
        Err(Beyond { floods: self.excess_requests.lasts_too_long(now_ms) })
    }

    /// Whether it may send a block that nobody asked for; and if not, whether it floods: no network has so many.
    pub(super) fn may_send(&mut self, now_ms: u64) -> Result<(), Beyond> {
        if self.blocks.take(now_ms) {
            return Ok(());
        }
        self.dropped();
        Err(Beyond { floods: self.excess_blocks.lasts_too_long(now_ms) })
    }

    /// Whether it has what belongs to a milestone; `None` when it has not, or has not said anything yet.
    pub(super) fn has(&self, index: MilestoneIndex) -> Option<Has> {
        let (heartbeat, _) = self.heartbeat?;
        if heartbeat.pruned >= index {
            None
        } else if index <= heartbeat.solid {
            Some(Has::Yes)
        } else if index <= heartbeat.latest {
            Some(Has::Perhaps)
        } else {
            Some(Has::Unsure)
        }
    }

    /// HORNET: > solid + 2 >= max(latest, our confirmed index)
    pub(super) fn is_synced(&self, confirmed: MilestoneIndex) -> bool {
        self.heartbeat.is_some_and(|(heartbeat, _)| {
            heartbeat.solid.0.saturating_add(2) >= heartbeat.latest.max(confirmed).0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, FIRST_WINDOW, Flow, LAST_WINDOW};

    #[test]
    fn the_window_opens_with_answers_and_closes_with_silence() {
        let mut flow = Flow::default();
        for _ in 0..2_000 {
            flow.asked();
            flow.answered();
        }
        assert_eq!(flow.room(true, 0), LAST_WINDOW);
        (0..10).for_each(|_| flow.asked());
        flow.failed(3, 0);
        assert_eq!(flow.room(true, 0), LAST_WINDOW / 2 - 7);
        flow.failed(7, 0);
        assert_eq!((flow.room(true, 4_999), flow.room(true, 5_000)), (0, LAST_WINDOW / 4));
        for _ in 0..20 {
            flow.asked();
            flow.failed(1, 100_000);
        }
        assert_eq!((flow.room(true, 159_999), flow.room(true, 160_000)), (0, 1));
        assert_eq!(Flow::default().room(false, 0), FIRST_WINDOW / 2);
        assert_eq!(Flow::default().room(true, 0), FIRST_WINDOW);
    }

    #[test]
    fn a_peer_is_asked_in_bursts() {
        let mut flow = Flow::default();
        (0..FIRST_WINDOW).for_each(|_| flow.asked());
        let answers = (0..).take_while(|_| {
            flow.relieved();
            !flow.is_hungry()
        });
        assert_eq!(answers.count() + 1, 4);
        // One at a time is a burst, too.
        flow.failed(FIRST_WINDOW, 0);
        (0..20).for_each(|_| flow.failed(0, 0));
        assert!(flow.is_hungry() && flow.room(true, u64::MAX) == 1);
        flow.asked();
        assert_eq!(flow.room(true, u64::MAX), 0);
    }

    #[test]
    fn a_bucket_holds_what_it_holds() {
        let mut bucket = Bucket::new(100_000, 200, 0);
        assert_eq!((0..500).filter(|_| bucket.take(0)).count(), 200);
        assert_eq!((0..500).filter(|_| bucket.take(1_000)).count(), 100);
        assert_eq!((0..500).filter(|_| bucket.take(u64::MAX)).count(), 200);
    }
}
