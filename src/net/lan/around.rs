//! Who is on the local network, by what nodes there say.

use std::collections::BTreeSet;
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
    /// A node said who it is. Whoever says so from another address is another one. Gives whether it may be dialled: it is
    /// remembered, and was not dialled of late.
    pub fn hear(&mut self, neighbour: Neighbour, now: Instant) -> bool {
        self.forget(now);
        let of = |other: &Neighbour| (other.address.ip(), other.card.id.clone());
        if let Some(seen) = self.seen.iter_mut().find(|seen| of(&seen.neighbour) == of(&neighbour)) {
            (seen.neighbour, seen.heard) = (neighbour, now);
            return seen.dialled.is_none_or(|at| now.duration_since(at) >= DIAL_EVERY);
        }
        let from = |ip: IpAddr| move |seen: &&Seen| seen.neighbour.address.ip() == ip;
        if self.seen.iter().filter(from(neighbour.address.ip())).count() >= MOST_OF_ONE {
            return false;
        }
        if self.seen.len() >= MOST {
            let oldest = self.seen.iter().enumerate().min_by_key(|(_, seen)| seen.heard);
            if let Some((at, _)) = oldest {
                self.seen.swap_remove(at);
            }
        }
        self.seen.push(Seen { neighbour, heard: now, dialled: None });
        true
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

    /// This one is being dialled.
    pub fn dialled(&mut self, neighbour: &Neighbour, now: Instant) {
        let seen = self.seen.iter_mut().filter(|seen| seen.neighbour == *neighbour);
        seen.for_each(|seen| seen.dialled = Some(now));
    }

    /// Whether a node is the next one, or the one before, in the circle of the identities of those that are there. When all
    /// let these two in, whoever else is connected, a network of many nodes is one. Who lets nobody in, or was dialled and is
    /// not `connected`, is not in it.
    pub fn is_beside(&self, own: &str, id: &str, connected: impl Fn(&str) -> bool) -> bool {
        let is_in = |seen: &&Seen| {
            let other = seen.neighbour.card.id.as_str();
            seen.neighbour.card.open && (other == id || seen.dialled.is_none() || connected(other))
        };
        let ids = self.seen.iter().filter(is_in).map(|seen| seen.neighbour.card.id.as_str());
        let others = ids.filter(|other| *other != own).collect::<BTreeSet<_>>();
        let next = others.range(own..).next().or_else(|| others.first());
        let before = others.range(..own).next_back().or_else(|| others.last());
        next == Some(&id) || before == Some(&id)
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
                assert_eq!(around.is_beside(own, id, |_| false), beside.contains(&id), "{id} of {own}");
            }
        }
        // One that does not answer, and one that lets nobody in, are passed over.
        around.dialled(&node("b", 0), now);
        assert!(around.is_beside("a", "c", |_| false) && !around.is_beside("a", "c", |id| id == "b"));
        assert!(around.is_beside("a", "b", |_| false), "it may come by itself");
        let mut closed = node("c", 4);
        closed.card.open = false;
        around.hear(closed, now);
        assert!(around.is_beside("a", "d", |_| false) && !around.is_beside("a", "c", |_| false));
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
        // Both places of the real one are tried, none of them all the time.
        for last in [1, 2] {
            assert!(around.hear(node("real", last), now));
            around.dialled(&node("real", last), now);
            assert!(!around.hear(node("real", last), now + Duration::from_secs(19)));
            assert!(around.hear(node("real", last), now + Duration::from_secs(20)));
        }
        assert!(!around.hear(node("one more", 2), now));
        for last in 3..=255 {
            around.hear(node("another", last), now);
        }
        assert_eq!(around.nodes().count(), MOST);
        around.forget(now + Duration::from_secs(20) + FORGET_AFTER);
        assert_eq!(around.nodes().count(), 0);
    }
}
