//! Who broke a rule, and how long it stays out.
//!
//! A name costs nothing, so a stranger's address counts beside it, unless it may be that of many: of a private network, of a
//! provider's. Whom the owner named is told apart by name alone, and never stays out for long: the two nodes may be set up
//! differently, which only their owners can mend. While the network changes its rules, nobody is to blame.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::crowd;

/// After the first strike; each further one doubles it.
const FIRST: Duration = Duration::from_secs(60);

/// Who has not seen the milestone that changes the rules follows the old ones, for so long at most.
const RULES_SETTLE: Duration = Duration::from_secs(60);

/// The longest.
const LAST: Duration = Duration::from_secs(3_600);

/// Without another one for so long, strikes are forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2 * 3_600);

/// Offenders that are remembered, some 100 bytes each; beyond, whose strike is the oldest is forgotten.
const MOST: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Offender {
    Peer(PeerId),
    Place(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Record {
    strikes: u32,
    last: Instant,
}

impl Record {
    fn time(self) -> Duration {
        FIRST.saturating_mul(1_u32.checked_shl(self.strikes - 1).unwrap_or(u32::MAX)).min(LAST)
    }
}

/// The address, if it is likely to be one party's.
fn own_place(at: Option<IpAddr>) -> Option<Offender> {
    let public = match at?.to_canonical() {
        // RFC 1918, 3927, 6598.
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            !(ip.is_private() || ip.is_link_local() || a == 100 && b & 0xc0 == 64)
        }
        // RFC 4193, 4291.
        IpAddr::V6(ip) => !ip.is_unique_local() && !ip.is_unicast_link_local(),
    };
    at.filter(|_| public).and_then(crowd::place).map(Offender::Place)
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    records: BTreeMap<Offender, Record>,
    changed: Option<Instant>,
}

impl Strikes {
    /// What blocks are judged by changed: others may have known before this node.
    pub(super) fn rules_changed(&mut self, now: Instant) {
        self.changed = Some(now);
        self.records.retain(|_, record| now >= record.last + RULES_SETTLE);
    }

    /// A peer broke a rule, at this address.
    pub(super) fn strike(&mut self, peer: PeerId, at: Option<IpAddr>, now: Instant) {
        if self.changed.is_some_and(|changed| now < changed + RULES_SETTLE) {
            return;
        }
        self.records.retain(|_, record| now < record.last + FORGOTTEN_AFTER);
        for offender in [Some(Offender::Peer(peer)), own_place(at)].into_iter().flatten() {
            let record = self.records.entry(offender).or_insert(Record { strikes: 0, last: now });
            *record = Record { strikes: record.strikes.saturating_add(1), last: now };
        }
        let oldest = |records: &BTreeMap<Offender, Record>| {
            records.iter().min_by_key(|(_, record)| record.last).map(|(oldest, _)| *oldest)
        };
        while self.records.len() > MOST
            && let Some(oldest) = oldest(&self.records)
        {
            self.records.remove(&oldest);
        }
    }

    /// Whether a peer is to stay out. `named`: by the owner.
    pub(super) fn is_out(&self, peer: &PeerId, at: Option<IpAddr>, named: bool, now: Instant) -> bool {
        let record = |offender| self.records.get(&offender).copied();
        let within = |record: Record, time: Duration| now < record.last + time;
        match named {
            true => record(Offender::Peer(*peer)).is_some_and(|record| within(record, FIRST)),
            false => {
                let offenders = [Some(Offender::Peer(*peer)), own_place(at)].into_iter().flatten();
                offenders.filter_map(record).any(|record| within(record, record.time()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::{Duration, Instant};

    use libp2p::PeerId;

    use super::{FORGOTTEN_AFTER, MOST, Strikes};

    #[test]
    fn each_strike_doubles_the_time_and_a_good_while_forgives() {
        let (peer, here) = (PeerId::random(), Some("203.0.113.1".parse::<IpAddr>().unwrap()));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut strikes = Strikes::default();
        assert!(!strikes.is_out(&peer, here, false, start));
        strikes.strike(peer, here, start);
        assert!(
            strikes.is_out(&peer, None, false, after(59)) && !strikes.is_out(&peer, here, false, after(60))
        );
        strikes.strike(peer, here, after(60));
        assert!(
            strikes.is_out(&peer, here, false, after(179)) && !strikes.is_out(&peer, here, false, after(180))
        );
        // Whom the owner named stays out for a minute at most.
        assert!(
            strikes.is_out(&peer, here, true, after(119)) && !strikes.is_out(&peer, here, true, after(120))
        );
        (0..40).for_each(|_| strikes.strike(peer, here, after(200)));
        assert!(
            strikes.is_out(&peer, here, false, after(3_799))
                && !strikes.is_out(&peer, here, false, after(3_800))
        );
        let later = after(200) + FORGOTTEN_AFTER;
        strikes.strike(peer, here, later);
        assert!(!strikes.is_out(&peer, here, false, later + Duration::from_secs(60)));
    }

    #[test]
    fn a_new_name_does_not_help_but_others_on_this_machine_do_not_suffer() {
        let (one, other) = (PeerId::random(), PeerId::random());
        let at = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let now = Instant::now();
        let mut strikes = Strikes::default();
        strikes.strike(one, at("2001:db8::1"), now);
        assert!(strikes.is_out(&other, at("2001:db8::2"), false, now));
        assert!(!strikes.is_out(&other, at("2001:db8:0:1::1"), false, now));
        // Whom the owner named has done nothing.
        assert!(!strikes.is_out(&other, at("2001:db8::2"), true, now));
        // Many may be behind these.
        for shared in ["127.0.0.1", "192.168.1.2", "::ffff:10.0.0.1", "100.64.9.9", "fd00::1", "fe80::1"] {
            strikes.strike(one, at(shared), now);
            assert!(!strikes.is_out(&other, at(shared), false, now), "{shared}");
        }
    }

    #[test]
    fn nobody_is_to_blame_while_the_rules_change() {
        let (peer, start, mut strikes) = (PeerId::random(), Instant::now(), Strikes::default());
        strikes.strike(peer, None, start);
        strikes.rules_changed(start);
        assert!(!strikes.is_out(&peer, None, false, start));
        strikes.strike(peer, None, start + Duration::from_secs(59));
        assert!(!strikes.is_out(&peer, None, false, start + Duration::from_secs(59)));
        strikes.strike(peer, None, start + Duration::from_secs(60));
        assert!(strikes.is_out(&peer, None, false, start + Duration::from_secs(60)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (start, mut strikes) = (Instant::now(), Strikes::default());
        let first = PeerId::random();
        strikes.strike(first, None, start);
        for number in 1..4_000_u32 {
            let place = Some(Ipv4Addr::from_bits(0x0b00_0000 + number).into());
            strikes.strike(PeerId::random(), place, start + Duration::from_millis(number.into()));
        }
        assert_eq!(strikes.records.len(), MOST);
        assert!(!strikes.is_out(&first, None, false, start + Duration::from_secs(4)));
    }
}
