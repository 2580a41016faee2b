//! The matrix of faults: what a start finds, and what the sources say.

use std::net::{IpAddr, Ipv4Addr};

use super::{Clock, Decision, Found, Kind, SECOND_NS, Sample, Trust, Useless};

const BUILT: u64 = 1_700_000_000;
const DAY: u64 = 86_400;

fn found(now: u64, battery: u64, saved_sure: u64, saved: u64) -> Found {
    Found { built: BUILT, saved_sure, saved, battery, now }
}

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

/// NTP samples with these offsets, in seconds.
fn ntp(offsets: &[i64]) -> Vec<Sample> {
    let sample = |(number, offset): (u8, &i64)| Sample {
        source: ip(number),
        kind: Kind::Ntp,
        offset_ns: offset * SECOND_NS,
        delay_ns: SECOND_NS / 50,
    };
    (1..).zip(offsets).map(sample).collect()
}

fn https(offsets: &[i64]) -> Vec<Sample> {
    ntp(offsets).into_iter().map(|sample| Sample { kind: Kind::Https, ..sample }).collect()
}

fn nobody(_: IpAddr) -> bool {
    false
}

/// A clock at `BUILT`, without any confirmation.
fn floor() -> Clock {
    Clock::start(found(BUILT, 0, 0, 0)).0
}

/// A clock that time servers confirmed.
fn confirmed() -> Clock {
    let mut clock = floor();
    assert_eq!(clock.judge(&ntp(&[0, 0, 0]), nobody, BUILT, 0), Ok(Decision::Keep));
    clock
}

#[test]
fn what_a_start_finds() {
    for (what, found, trust, raised) in [
        ("1: no battery, 1970", found(0, 0, 0, 0), Trust::Floor, Some(BUILT)),
        ("2: no battery, saved", found(0, 0, BUILT + DAY, BUILT + DAY), Trust::Floor, Some(BUILT + DAY)),
        ("3: battery right", found(BUILT + 9, BUILT + 9, 0, 0), Trust::Battery, None),
        ("4: battery right, kernel not", found(0, BUILT + 9, 0, 0), Trust::Battery, Some(BUILT + 9)),
        ("5: battery flat, 1970", found(0, 5, 0, BUILT + DAY), Trust::Floor, Some(BUILT + DAY)),
        (
            "6: battery behind what was saved",
            found(BUILT + 9, BUILT + 9, 0, BUILT + DAY),
            Trust::Floor,
            Some(BUILT + DAY),
        ),
        ("7: battery decades ahead", found(BUILT * 3, BUILT * 3, 0, 0), Trust::Floor, Some(BUILT)),
        ("8: saved file decades ahead", found(0, 0, 0, BUILT * 3), Trust::Floor, Some(BUILT)),
        ("9: kernel ahead of battery", found(BUILT + DAY, BUILT + 9, 0, 0), Trust::Battery, Some(BUILT + 9)),
        ("10: nothing to do", found(BUILT + DAY, 0, 0, 0), Trust::Floor, None),
    ] {
        let (clock, to) = Clock::start(found);
        assert_eq!((clock.trust(), to), (trust, raised), "{what}");
    }
}

#[test]
fn what_the_sources_say() {
    let year = 365 * 86_400;
    for (what, mut clock, samples, expected, trust) in [
        (
            "11: three agree",
            floor(),
            ntp(&[year, year, year]),
            Ok(Decision::Step(year * SECOND_NS)),
            Trust::Network,
        ),
        (
            "12: one of four lies",
            floor(),
            ntp(&[60, 60, -year, 60]),
            Ok(Decision::Step(60 * SECOND_NS)),
            Trust::Network,
        ),
        ("13: all four differ", floor(), ntp(&[10, 400, 900, 5_000]), Err(Useless::Disagree), Trust::Floor),
        ("14: two of them only", floor(), ntp(&[60, 60]), Err(Useless::TooFew), Trust::Floor),
        ("15: below the floor", floor(), ntp(&[-year, -year, -year]), Err(Useless::BelowFloor), Trust::Floor),
        ("16: forty years ahead", floor(), ntp(&[40 * year; 3]), Err(Useless::BelowFloor), Trust::Floor),
        (
            "17: web servers instead",
            floor(),
            https(&[60, 61]),
            Ok(Decision::Step(60 * SECOND_NS)),
            Trust::Web,
        ),
        ("18: one web server", floor(), https(&[60]), Err(Useless::TooFew), Trust::Floor),
        (
            "19: web against time servers",
            confirmed(),
            https(&[60, 60, 60]),
            Err(Useless::Weaker),
            Trust::Network,
        ),
        (
            "20: back over a right clock",
            Clock { floor: BUILT - DAY, ..confirmed() },
            ntp(&[-60; 3]),
            Ok(Decision::Slew(-60 * SECOND_NS)),
            Trust::Network,
        ),
        (
            "21: back over a battery that is ahead",
            Clock { floor: BUILT - DAY, ..Clock::start(found(BUILT, BUILT, 0, 0)).0 },
            ntp(&[-60; 3]),
            Ok(Decision::Step(-60 * SECOND_NS)),
            Trust::Network,
        ),
        ("22: nobody answers", floor(), Vec::new(), Err(Useless::TooFew), Trust::Floor),
        (
            "23: lying time servers against web",
            floor(),
            [ntp(&[1, 999, 5_000]), https(&[60, 60])].concat(),
            Err(Useless::Disagree),
            Trust::Floor,
        ),
        (
            "24: two time servers, two web",
            floor(),
            [ntp(&[60, 60]), https(&[60, 60])].concat(),
            Ok(Decision::Step(60 * SECOND_NS)),
            Trust::Web,
        ),
    ] {
        assert_eq!(clock.judge(&samples, nobody, BUILT, 3_600), expected, "{what}");
        assert_eq!(clock.trust(), trust, "{what}");
    }
}

#[test]
fn a_local_server_counts_alone_after_a_minute() {
    let local = |source| source == ip(1);
    let mut clock = floor();
    assert_eq!(clock.judge(&ntp(&[60]), local, BUILT, 59), Err(Useless::TooFew));
    assert_eq!(clock.judge(&ntp(&[60]), local, BUILT, 60), Ok(Decision::Step(60 * SECOND_NS)));
    // One that the local network did not name does not.
    assert_eq!(floor().judge(&ntp(&[60]), nobody, BUILT, 3_600), Err(Useless::TooFew));
    // Two local ones that contradict each other say nothing.
    assert_eq!(floor().judge(&ntp(&[60, 900]), |_| true, BUILT, 60), Err(Useless::Disagree));
}

#[test]
fn small_errors_are_slewed() {
    let mut clock = confirmed();
    let samples =
        |offset_ns| ntp(&[0; 3]).into_iter().map(|sample| Sample { offset_ns, ..sample }).collect::<Vec<_>>();
    for (offset, expected) in [
        (10_000_000, Decision::Keep),
        (-19_000_000, Decision::Keep),
        (300_000_000, Decision::Slew(300_000_000)),
        (-300_000_000, Decision::Slew(-300_000_000)),
        (800_000_000, Decision::Step(800_000_000)),
    ] {
        assert_eq!(clock.judge(&samples(offset), nobody, BUILT + 10, 0), Ok(expected));
    }
}

#[test]
fn milestones_raise_the_floor() {
    let mut clock = floor();
    assert_eq!(clock.milestone(BUILT + DAY, BUILT), Some(BUILT + DAY));
    assert_eq!(clock.milestone(BUILT + 5, BUILT + DAY), None);
    assert_eq!(clock.judge(&ntp(&[-60; 3]), nobody, BUILT + DAY, 0), Err(Useless::BelowFloor));
    assert_eq!(confirmed().milestone(BUILT + 601, BUILT), None);
    assert_eq!(confirmed().milestone(BUILT, BUILT + 5), None);
    // A milestone of a far future is a mistake of its issuer.
    assert_eq!(clock.milestone(u64::MAX / 2, BUILT + DAY), None);
}

/// Step by step or at once: a node that somebody took over, or a coordinator that errs, moves no clock for good.
#[test]
fn milestones_lead_no_clock_astray() {
    let mut clock = confirmed();
    for step in 1..1_000 {
        assert_eq!(clock.milestone(BUILT + 599 * step, BUILT), None);
    }
    assert_eq!(clock.to_save(BUILT), (BUILT, BUILT));
    assert_eq!(clock.judge(&ntp(&[0; 3]), nobody, BUILT, 0), Ok(Decision::Keep));
    // Nothing confirmed the time yet: it holds for this run alone.
    let (mut clock, wrong) = (floor(), BUILT + 9_000 * DAY);
    assert_eq!(clock.milestone(wrong, BUILT), Some(wrong));
    let (sure, saved) = clock.to_save(wrong);
    assert_eq!((sure, saved), (BUILT, wrong));
    let (mut clock, raised) = Clock::start(found(0, 0, sure, saved));
    assert_eq!(raised, Some(wrong));
    let back = -9_000 * i64::try_from(DAY).unwrap();
    assert_eq!(clock.judge(&ntp(&[back; 3]), nobody, wrong, 0), Ok(Decision::Step(back * SECOND_NS)));
}

#[test]
fn only_a_confirmed_time_is_saved_as_sure() {
    assert_eq!(floor().to_save(BUILT + 50), (BUILT, BUILT + 50));
    assert_eq!(confirmed().to_save(BUILT + 50), (BUILT + 50, BUILT + 50));
}
