//! A DHCPv4 client as a pure state machine (RFC 2131 section 4.4).
//!
//! The machine does no I/O and never reads a clock. Its driver passes received
//! payloads to [`Client::handle`], drains [`Client::poll`], and sleeps until
//! [`Client::next_deadline`] or the next packet.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod wire;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use wire::{Mac, Reply, ReplyKind, Request, RequestKind, option};

const FIRST_RETRY_SECS: u64 = 4;
const LAST_RETRY_SECS: u64 = 64;
/// How often a REQUEST for an offer is sent before starting over.
const REQUEST_ATTEMPTS: u32 = 4;
/// Lower bound between retries while a lease is still held.
const MIN_REFRESH_RETRY: Duration = Duration::from_secs(60);
/// A lease time that means "for ever".
const INFINITE: u32 = u32::MAX;

/// Who the client is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hardware address of the interface.
    pub mac: Mac,
    /// Host name to register with the server; may be empty.
    pub host_name: String,
}

/// Network settings granted by a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The interface address.
    pub address: Ipv4Addr,
    /// Prefix length of the subnet.
    pub prefix: u8,
    /// Default gateways, most preferred first.
    pub routers: Vec<Ipv4Addr>,
    /// DNS servers, most preferred first.
    pub dns: Vec<Ipv4Addr>,
    /// NTP servers, most preferred first.
    pub ntp: Vec<Ipv4Addr>,
    /// The server that granted the lease.
    pub server: Ipv4Addr,
    /// How long the lease is valid; `None` is for ever.
    pub lifetime: Option<Duration>,
}

/// A message for the driver to send to UDP port 67.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// 0.0.0.0 until a lease is held.
    pub source: Ipv4Addr,
    /// `None` is a broadcast.
    pub server: Option<Ipv4Addr>,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// Why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// No server extended it in time.
    Expired,
    /// A server refused to extend it.
    Refused,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this packet.
    Send(Packet),
    /// A lease was granted or extended: apply it.
    Acquired(Lease),
    /// The lease is gone: remove its address now.
    Lost(Loss),
}

/// The states of RFC 2131 figure 5, less the ones for rebooting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waiting to start over.
    Init,
    /// Waiting for an offer.
    Selecting,
    /// Waiting for the offer to be confirmed.
    Requesting,
    /// Holding a lease; nothing to do until it is half over.
    Bound,
    /// Asking the same server for more time.
    Renewing,
    /// Asking any server for more time.
    Rebinding,
}

/// A lease with its points in time; `None` is never.
#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    renew_at: Option<Instant>,
    rebind_at: Option<Instant>,
    expire_at: Option<Instant>,
}

/// The client state machine.
#[derive(Debug)]
pub struct Client {
    config: Config,
    random: SplitMix,
    state: State,
    deadline: Option<Instant>,
    outputs: VecDeque<Output>,
    xid: u32,
    /// When the current exchange began: a lease counts from here.
    started: Instant,
    attempt: u32,
    failures: u32,
    /// An address worth asking for: the offered or the last used one.
    wanted: Option<Ipv4Addr>,
    offered_by: Option<Ipv4Addr>,
    held: Option<Held>,
}

impl Client {
    /// A client that wants to send its first message right away.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        Self {
            config,
            random: SplitMix(seed),
            state: State::Init,
            deadline: Some(now),
            outputs: VecDeque::new(),
            xid: 0,
            started: now,
            attempt: 0,
            failures: 0,
            wanted: None,
            offered_by: None,
            held: None,
        }
    }

    /// The current state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a reply may arrive. The driver needs no socket otherwise.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        !matches!(self.state, State::Init | State::Bound)
    }

    /// When to call [`Client::poll`] again; `None` is never.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The next thing to do; call it until it returns `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        while self.outputs.is_empty() && self.deadline.is_some_and(|at| at <= now) {
            self.on_deadline(now);
        }
        self.outputs.pop_front()
    }

    /// Takes a UDP payload received on the interface. Anything that is not an
    /// answer to the current exchange is ignored.
    pub fn handle(&mut self, payload: &[u8], now: Instant) {
        let Some(reply) = wire::decode(payload, self.config.mac) else { return };
        if !self.is_listening() || reply.xid != self.xid {
            return;
        }
        match (self.state, reply.kind) {
            (State::Selecting, ReplyKind::Offer) => self.on_offer(&reply, now),
            (State::Selecting, _) | (_, ReplyKind::Offer) => {}
            (_, ReplyKind::Ack) if self.may_answer(&reply) => self.on_ack(&reply, now),
            (_, ReplyKind::Nak) if self.may_answer(&reply) => self.on_nak(now),
            (_, ReplyKind::Ack | ReplyKind::Nak) => {}
        }
    }

    /// Only the selected server may settle a request; any server a rebind.
    fn may_answer(&self, reply: &Reply) -> bool {
        let expected = match self.state {
            State::Requesting => self.offered_by,
            State::Renewing => self.held.as_ref().map(|held| held.lease.server),
            State::Init | State::Selecting | State::Bound | State::Rebinding => None,
        };
        expected.is_none() || reply.address(option::SERVER_ID) == expected
    }

    fn on_offer(&mut self, reply: &Reply, now: Instant) {
        let server = reply.address(option::SERVER_ID);
        if server.is_none() || !is_host(reply.your_address) {
            return;
        }
        self.offered_by = server;
        self.wanted = Some(reply.your_address);
        self.state = State::Requesting;
        self.started = now;
        self.attempt = 0;
        self.send(now);
    }

    fn on_ack(&mut self, reply: &Reply, now: Instant) {
        let Some(held) = self.read_lease(reply) else { return };
        self.outputs.push_back(Output::Acquired(held.lease.clone()));
        self.wanted = Some(held.lease.address);
        self.failures = 0;
        self.state = State::Bound;
        // A renewal time in the past must not turn into a tight loop.
        self.deadline = held.renew_at.map(|at| at.max(now + Duration::from_secs(1)));
        self.held = Some(held);
    }

    fn on_nak(&mut self, now: Instant) {
        self.wanted = None;
        self.restart(now, Loss::Refused);
    }

    fn on_deadline(&mut self, now: Instant) {
        match self.state {
            State::Init => self.begin(State::Selecting, now),
            State::Selecting | State::Requesting => self.attempt += 1,
            State::Bound | State::Renewing | State::Rebinding => return self.refresh(now),
        }
        if self.state == State::Requesting && self.attempt >= REQUEST_ATTEMPTS {
            self.restart(now, Loss::Expired);
        } else {
            self.send(now);
        }
    }

    /// Extends the lease with whatever time is left, or drops it.
    fn refresh(&mut self, now: Instant) {
        let Some(held) = &self.held else { return self.restart(now, Loss::Expired) };
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let next = match (passed(held.expire_at), passed(held.rebind_at)) {
            (true, _) => return self.restart(now, Loss::Expired),
            (false, true) => State::Rebinding,
            (false, false) => State::Renewing,
        };
        if self.state != next {
            self.begin(next, now);
        }
        self.send(now);
    }

    /// Enters a state that starts a new exchange.
    fn begin(&mut self, state: State, now: Instant) {
        self.state = state;
        self.xid = self.random.next_u32();
        self.started = now;
        self.attempt = 0;
    }

    /// Drops any lease and goes back to the start: at once the first time, later
    /// the longer the more exchanges failed in a row.
    fn restart(&mut self, now: Instant, loss: Loss) {
        if self.held.take().is_some() {
            self.outputs.push_back(Output::Lost(loss));
        }
        let delay = self.failures.checked_sub(1).map(|attempt| self.backoff(attempt));
        self.failures += 1;
        self.offered_by = None;
        self.state = State::Init;
        self.deadline = Some(now + delay.unwrap_or_default());
    }

    /// Sends the message of the current state and schedules its repetition.
    fn send(&mut self, now: Instant) {
        let held = self.held.as_ref();
        let retry_before = |limit: Option<Instant>| {
            let limit = limit?;
            let half = limit.saturating_duration_since(now) / 2;
            Some(limit.min(now + half.max(MIN_REFRESH_RETRY)))
        };
        let (server, deadline) = match self.state {
            State::Renewing => {
                (held.map(|held| held.lease.server), retry_before(held.and_then(|held| held.rebind_at)))
            }
            State::Rebinding => (None, retry_before(held.and_then(|held| held.expire_at))),
            State::Init | State::Selecting | State::Requesting | State::Bound => {
                (None, Some(now + self.backoff(self.attempt)))
            }
        };
        let packet = self.packet(server, now);
        self.deadline = deadline;
        self.outputs.push_back(Output::Send(packet));
    }

    fn packet(&self, server: Option<Ipv4Addr>, now: Instant) -> Packet {
        let address = self.held.as_ref().map(|held| held.lease.address);
        let elapsed = now.saturating_duration_since(self.started).as_secs();
        let request = Request {
            kind: match self.state {
                State::Init | State::Selecting => RequestKind::Discover,
                State::Requesting | State::Bound | State::Renewing | State::Rebinding => RequestKind::Request,
            },
            xid: self.xid,
            secs: u16::try_from(elapsed).unwrap_or(u16::MAX),
            client_address: address.unwrap_or(Ipv4Addr::UNSPECIFIED),
            mac: self.config.mac,
            host_name: &self.config.host_name,
            // Forbidden while extending a lease (RFC 2131 table 5).
            requested_address: self.wanted.filter(|_| address.is_none()),
            server_id: self.offered_by.filter(|_| self.state == State::Requesting),
        };
        Packet { source: request.client_address, server, payload: wire::encode(&request) }
    }

    /// The lease in an acknowledgement; `None` if it lacks what we need.
    fn read_lease(&self, reply: &Reply) -> Option<Held> {
        let address = Some(reply.your_address).filter(|&address| is_host(address))?;
        let seconds = reply.number(option::LEASE_TIME).filter(|&seconds| seconds > 0)?;
        let lifetime = (seconds != INFINITE).then(|| Duration::from_secs(seconds.into()));
        let given = |code| reply.number(code).map(|seconds| Duration::from_secs(seconds.into()));
        // RFC 2131 section 4.4.5: T1 < T2 < lease, by default 1/2 and 7/8 of it.
        let rebind = lifetime.map(|total| {
            let usable = |&t2: &Duration| t2 > Duration::ZERO && t2 < total;
            given(option::REBINDING_TIME).filter(usable).unwrap_or(total * 7 / 8)
        });
        let renew = lifetime.zip(rebind).map(|(total, t2)| {
            let usable = |&t1: &Duration| t1 > Duration::ZERO && t1 < t2;
            given(option::RENEWAL_TIME).filter(usable).unwrap_or((total / 2).min(t2))
        });
        let at = |after: Option<Duration>| after.map(|after| self.started + after);
        Some(Held {
            renew_at: at(renew),
            rebind_at: at(rebind),
            expire_at: at(lifetime),
            lease: Lease {
                address,
                prefix: prefix(reply.address(option::SUBNET_MASK), address),
                routers: reply.addresses(option::ROUTERS),
                dns: reply.addresses(option::DNS_SERVERS),
                ntp: reply.addresses(option::NTP_SERVERS),
                server: reply.address(option::SERVER_ID)?,
                lifetime,
            },
        })
    }

    /// 4, 8, 16, 32, 64, 64, ... seconds, each give or take one.
    fn backoff(&mut self, attempt: u32) -> Duration {
        let seconds = (FIRST_RETRY_SECS << attempt.min(8)).min(LAST_RETRY_SECS);
        Duration::from_millis(seconds * 1000 - 1000 + self.random.next() % 2001)
    }
}

/// Whether an interface can have this address.
fn is_host(address: Ipv4Addr) -> bool {
    let other = address.is_multicast() || address.is_loopback() || address.is_broadcast();
    !address.is_unspecified() && !other
}

/// The length of a subnet mask; the class of the address if it makes no sense.
fn prefix(mask: Option<Ipv4Addr>, address: Ipv4Addr) -> u8 {
    let given = mask.map(u32::from).filter(|bits| bits.leading_ones() + bits.trailing_zeros() == 32);
    match given.and_then(|bits| u8::try_from(bits.leading_ones()).ok()) {
        Some(length @ 1..=32) => length,
        _ => match address.octets()[0] {
            0..128 => 8,
            128..192 => 16,
            192.. => 24,
        },
    }
}

/// A small generator (SplitMix64): for spreading load and telling exchanges
/// apart, not for secrets.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next_u32(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).expect("half of 64 bits")
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests;
