//! Datagrams that are looked at in a second: each costs a signature check. From where nobody is known there may be so many that
//! those of known nodes find their time.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Of known nodes, and of those who were asked: together, and of one address.
const MOST: u32 = 200;
pub(super) const MOST_OF_ONE: u32 = 20;

/// Of all others together.
const MOST_OF_STRANGERS: u32 = 100;

/// What was looked at in one second of the clock.
#[derive(Debug, Default)]
pub(super) struct Budget {
    second: u64,
    /// Of each address where somebody is known or was asked.
    known: BTreeMap<IpAddr, u32>,
    all_known: u32,
    strangers: u32,
}

impl Budget {
    /// Whether there is time for one more.
    pub(super) fn take(&mut self, from: IpAddr, known: bool, second: u64) -> bool {
        if self.second != second {
            *self = Self { second, ..Self::default() };
        }
        if !known {
            self.strangers += 1;
            return self.strangers <= MOST_OF_STRANGERS;
        }
        let count = self.known.entry(from).or_default();
        if *count >= MOST_OF_ONE || self.all_known >= MOST {
            return false;
        }
        (*count, self.all_known) = (*count + 1, self.all_known + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Budget, MOST, MOST_OF_ONE, MOST_OF_STRANGERS};

    #[test]
    fn strangers_leave_time_for_known_nodes_and_none_takes_that_of_all() {
        let mut budget = Budget::default();
        let ip = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut looked = |from, known, second| {
            (0..1_000).map(|_| u32::from(budget.take(from, known, second))).sum::<u32>()
        };
        assert_eq!(looked(ip(1), false, 7), MOST_OF_STRANGERS);
        assert_eq!(looked(ip(2), true, 7), MOST_OF_ONE);
        assert_eq!((3..=255).map(|last| looked(ip(last), true, 7)).sum::<u32>(), MOST - MOST_OF_ONE);
        assert_eq!(looked(ip(1), false, 8), MOST_OF_STRANGERS);
    }
}
