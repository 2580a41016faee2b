//! Who is on the local network, by what nodes there say.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::Neighbour;

/// A node that said nothing for so long is gone: twice the longest pause of those that are there.
const FORGET_AFTER: Duration = Duration::from_secs(130);

/// Nodes that are remembered.
const MOST: usize = 128;

/// Nodes that one address may tell of: somebody who makes identities up is not to hide those that are there.
const MOST_OF_ONE: usize = 4;

/// A node is dialled no more often, whatever it says.
const DIAL_EVERY: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Seen {
    neighbour: Neighbour,
    heard: Instant,
    dialled: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Around {
    seen: Vec<Seen>,
}

impl Around {
    /// A node said who it is. Whoever says so from another address is another one.
    pub fn hear(&mut self, neighbour: Neighbour, now: Instant) {
        self.forget(now);
        let of = |other: &Neighbour| (other.address.ip(), other.card.id.clone());
        if let Some(seen) = self.seen.iter_mut().find(|seen| of(&seen.neighbour) == of(&neighbour)) {
            (seen.neighbour, seen.heard) = (neighbour, now);
            return;
        }
        let from = |ip: IpAddr| move |seen: &&Seen| seen.neighbour.address.ip() == ip;
        if self.seen.iter().filter(from(neighbour.address.ip())).count() >= MOST_OF_ONE {
            return;
        }
        if self.seen.len() >= MOST {
            let oldest = self.seen.iter().enumerate().min_by_key(|(_, seen)| seen.heard);
            if let Some((at, _)) = oldest {
                self.seen.swap_remove(at);
            }
        }
        self.seen.push(Seen { neighbour, heard: now, dialled: None });
    }

    /// Forgets those that are gone.
    pub fn forget(&mut self, now: Instant) {
        self.seen.retain(|seen| now.duration_since(seen.heard) < FORGET_AFTER);
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.seen.clear();
    }

    /// Those that are there.
    pub fn nodes(&self) -> impl Iterator<Item = &Neighbour> {
        self.seen.iter().map(|seen| &seen.neighbour)
    }

    /// Those that were not dialled of late.
    pub fn rested(&self, now: Instant) -> Vec<Neighbour> {
        let rested = |seen: &&Seen| seen.dialled.is_none_or(|at| now.duration_since(at) >= DIAL_EVERY);
        self.seen.iter().filter(rested).map(|seen| seen.neighbour.clone()).collect()
    }

    /// This one is being dialled.
    pub fn dialled(&mut self, neighbour: &Neighbour, now: Instant) {
        let seen = self.seen.iter_mut().filter(|seen| seen.neighbour == *neighbour);
        seen.for_each(|seen| seen.dialled = Some(now));
    }

    /// Whether a node is the next one, or the one before, in the circle of the identities of those that are there. When all
    /// let these two in, whoever else is connected, a network of many nodes is one.
    pub fn is_beside(&self, own: &str, id: &str) -> bool {
        let others = || self.nodes().map(|node| node.card.id.as_str()).filter(|other| *other != own);
        let next = others().filter(|other| *other > own).min().or_else(|| others().min());
        let before = others().filter(|other| *other < own).max().or_else(|| others().max());
        next == Some(id) || before == Some(id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Around, FORGET_AFTER, MOST, MOST_OF_ONE};
    use crate::net::lan::{Card, Neighbour};

    fn node(id: &str, last: u8) -> Neighbour {
        let card = Card { id: id.to_owned(), port: 15_600, network: None, open: true };
        Neighbour { card, address: ([192, 0, 2, last], 15_600).into() }
    }

    #[test]
    fn each_has_two_beside_it_and_all_are_one_circle() {
        let (mut around, now) = (Around::default(), Instant::now());
        let ids = ["b", "d", "a", "e", "c"];
        for (at, id) in (0..).zip(ids) {
            around.hear(node(id, at), now);
        }
        for (own, beside) in [("a", ["e", "b"]), ("b", ["a", "c"]), ("e", ["d", "a"])] {
            for id in ids {
                assert_eq!(around.is_beside(own, id), beside.contains(&id), "{id} of {own}");
            }
        }
    }

    #[test]
    fn made_up_nodes_hide_nobody() {
        let (mut around, now) = (Around::default(), Instant::now());
        around.hear(node("real", 1), now);
        // The same identity from elsewhere, and many others.
        around.hear(node("real", 2), now);
        for number in 0..1_000 {
            around.hear(node(&format!("{number}"), 2), now);
        }
        assert_eq!(around.nodes().count(), 1 + MOST_OF_ONE);
        let real = around.rested(now).into_iter().filter(|node| node.card.id == "real").collect::<Vec<_>>();
        assert_eq!(real.len(), 2, "both places are tried");
        real.iter().for_each(|node| around.dialled(node, now));
        assert_eq!(around.rested(now + Duration::from_secs(19)).len(), MOST_OF_ONE - 1);
        assert_eq!(around.rested(now + Duration::from_secs(20)).len(), MOST_OF_ONE + 1);
        for last in 3..=255 {
            around.hear(node("another", last), now);
        }
        assert_eq!(around.nodes().count(), MOST);
        around.forget(now + FORGET_AFTER);
        assert_eq!(around.nodes().count(), 0);
    }
}
