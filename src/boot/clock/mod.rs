//! Whether the time is right, and what to do about it: ranks of evidence, floors, median of several sources.
//!
//! Times are Unix seconds; offsets are nanoseconds to add to the board's clock.

use std::net::IpAddr;

/// What the time rests on, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// The newest time known to have passed: it is at least as late as this.
    Floor,
    /// A clock with a battery.
    Battery,
    /// The date of several web servers with valid certificates.
    Web,
    /// Several time servers that agree, or those that the local network's DHCP server names.
    Network,
}

impl Trust {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Floor => "not confirmed by anything",
            Self::Battery => "battery-backed clock",
            Self::Web => "dates of web servers",
            Self::Network => "time servers",
        }
    }

    /// Whether clients may rely on the time.
    pub fn is_trusted(self) -> bool {
        self > Self::Floor
    }
}

/// What a source said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Who.
    pub source: IpAddr,
    /// By which protocol.
    pub kind: Kind,
    /// To be added to the board's clock.
    pub offset_ns: i64,
    /// How long the answer took: the error is at most half of it.
    pub delay_ns: i64,
}

/// How a sample was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SNTP.
    Ntp,
    /// `Date` of an HTTPS answer: whole seconds.
    Https,
}

/// What to do with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is right.
    Keep,
    /// Let it run faster or slower until this is made up for.
    Slew(i64),
    /// Set it.
    Step(i64),
}

/// Why nothing was learnt from a round of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Useless {
    /// Fewer than needed.
    #[error("no time source answers")]
    TooFew,
    /// They contradict each other.
    #[error("the time sources contradict each other")]
    Disagree,
    /// They say a time that has passed for certain.
    #[error("the time sources say a time that has passed for certain")]
    BelowFloor,
    /// What holds is better.
    #[error("the time sources are weaker than what the clock rests on")]
    Weaker,
}

const SECOND_NS: i64 = 1_000_000_000;

/// Time servers that must agree.
const QUORUM: usize = 3;

/// Web servers that must agree: the name in a certificate makes each worth more than a bare packet.
const WEB_QUORUM: usize = 2;

/// Two servers agree when they are at most this far apart, besides half of what their answers took.
const AGREE_NS: i64 = SECOND_NS;

/// Dates are whole seconds, and an answer takes time.
const AGREE_WEB_NS: i64 = 5 * SECOND_NS;

/// Below this the clock is right.
const RIGHT_NS: i64 = 20_000_000;

/// Up to this it is slewed.
const SLEW_NS: i64 = SECOND_NS / 2;

/// A time that lies this far behind the program's is a fault of the source: thirty years.
const CEILING_S: u64 = 30 * 365 * 86_400;

/// Clocks of honest nodes are no further apart, in seconds.
const AHEAD_S: u64 = 600;

/// After this long without a quorum, in seconds, the servers that DHCP named count alone.
const ALONE_AFTER_S: u64 = 60;

/// What the board's clock rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    trust: Trust,
    /// This time has passed for certain: that is what the next start may rest on.
    sure: u64,
    /// The same, or what a milestone says of it: whoever issues those, or the node that tells of them, may be wrong.
    floor: u64,
    /// This time is far in the future of the program.
    ceiling: u64,
}

/// What a start finds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    /// Build time of the running program.
    pub built: u64,
    /// Saved while a network confirmed the time.
    pub saved_sure: u64,
    /// Saved at any time.
    pub saved: u64,
    /// Battery-backed clock; 0 for none.
    pub battery: u64,
    /// The kernel's idea.
    pub now: u64,
}

impl Clock {
    /// The clock of a start, and the time to raise it to, when it is behind.
    ///
    /// A battery-backed clock that is behind what is certain, or thirty years before it, is a flat battery.
    pub fn start(found: Found) -> (Self, Option<u64>) {
        let ceiling = found.built.saturating_add(CEILING_S);
        let sure = if found.saved_sure < ceiling { found.saved_sure } else { 0 };
        let floor = found.built.max(sure);
        let plausible = |time: u64| time >= floor && time < ceiling;
        let battery = plausible(found.battery) && found.battery >= found.saved;
        let trust = if battery { Trust::Battery } else { Trust::Floor };
        let saved = if plausible(found.saved) { found.saved } else { 0 };
        let right = if battery { found.battery } else { floor.max(saved) };
        // Two clocks of whole seconds that agree may differ by one; a wild kernel clock is set back.
        let keep = found.now + 2 >= right && plausible(found.now) && !(battery && found.now > right + 2);
        (Self { trust, sure: floor, floor, ceiling }, (!keep).then_some(right))
    }

    /// What the time rests on.
    pub fn trust(self) -> Trust {
        self.trust
    }

    /// A signed milestone of others carries this time: it has passed. Gives the time to raise the clock to, when
    /// that is behind, and nothing better confirmed it.
    pub fn milestone(&mut self, timestamp: u64, now: u64) -> Option<u64> {
        // Once the time is confirmed, a milestone that is ahead of it is its issuer's mistake.
        let ahead = match self.trust {
            Trust::Floor => false,
            Trust::Battery => timestamp > now.saturating_add(AHEAD_S),
            Trust::Web | Trust::Network => timestamp > now,
        };
        if timestamp >= self.ceiling || ahead {
            return None;
        }
        self.floor = self.floor.max(timestamp);
        (now < self.floor).then_some(self.floor)
    }

    /// Judges a round of samples at `now` (Unix seconds), `waited_s` seconds after the first round. `local` tells
    /// which sources the local network named.
    ///
    /// # Errors
    /// [`Useless`]; the clock then stays as it is.
    pub fn judge(
        &mut self,
        samples: &[Sample],
        local: impl Fn(IpAddr) -> bool,
        now: u64,
        waited_s: u64,
    ) -> Result<Decision, Useless> {
        let of = |kind: Kind| samples.iter().filter(move |sample| sample.kind == kind).copied();
        let ntp = of(Kind::Ntp).collect::<Vec<_>>();
        let alone = ntp.iter().all(|sample| local(sample.source)) && waited_s >= ALONE_AFTER_S;
        let needed = if alone { 1 } else { QUORUM };
        let ntp = agreed(&ntp, needed, AGREE_NS).map(|offset| (offset, Trust::Network));
        let (offset, trust) = match ntp {
            Ok(found) => found,
            Err(Useless::Disagree) => return Err(Useless::Disagree),
            Err(_) => {
                let web = of(Kind::Https).collect::<Vec<_>>();
                (agreed(&web, WEB_QUORUM, AGREE_WEB_NS)?, Trust::Web)
            }
        };
        if trust < self.trust {
            return Err(Useless::Weaker);
        }
        let said = i128::from(now) + i128::from(offset / SECOND_NS);
        if said < i128::from(self.floor) || said >= i128::from(self.ceiling) {
            return Err(Useless::BelowFloor);
        }
        let decision = self.decide(offset, trust);
        self.trust = trust;
        Ok(decision)
    }

    fn decide(self, offset: i64, trust: Trust) -> Decision {
        let right = if trust == Trust::Web { 2 * SECOND_NS } else { RIGHT_NS };
        match offset.abs() {
            size if size <= right => Decision::Keep,
            size if size <= SLEW_NS => Decision::Slew(offset),
            // Never backwards over a clock that was as well confirmed.
            _ if offset < 0 && self.trust >= trust => Decision::Slew(offset),
            _ => Decision::Step(offset),
        }
    }

    /// The two times to save: sure and any.
    pub fn to_save(self, now: u64) -> (u64, u64) {
        let sure = if self.trust >= Trust::Web { self.sure.max(now) } else { self.sure };
        (sure, now.max(sure))
    }
}

/// The median offset, when at least `needed` samples are there and more than half agree with it.
fn agreed(samples: &[Sample], needed: usize, tolerance: i64) -> Result<i64, Useless> {
    if samples.len() < needed.max(1) {
        return Err(Useless::TooFew);
    }
    let mut offsets = samples.iter().map(|sample| sample.offset_ns).collect::<Vec<_>>();
    offsets.sort_unstable();
    let median = offsets[(offsets.len() - 1) / 2];
    let agrees = |sample: &&Sample| {
        sample.offset_ns.abs_diff(median) <= tolerance.saturating_add(sample.delay_ns / 2).unsigned_abs()
    };
    let agreeing = samples.iter().filter(agrees).count();
    if agreeing * 2 > samples.len() && agreeing >= needed { Ok(median) } else { Err(Useless::Disagree) }
}

#[cfg(test)]
mod tests;
