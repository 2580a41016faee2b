//! One nftables rule as plain data, and its encoding to netlink expressions.
//! Decoding is in `readback.rs`; both use [`Match`], so that what was loaded
//! can be compared with `==` to what was asked for.

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr};

use netlink_bindings::nftables::{
    CmpOps, CtKeys, MetaKeys, PayloadBase, PushExprAttrs, PushExprListAttrs, Registers, VerdictCode,
};
use netlink_bindings::utils::{Pusher, finalize_nested_header, push_header, push_nested_header};

/// `NFPROTO_IPV4`, value of `meta nfproto`.
pub const FAMILY_IPV4: u8 = 2;
/// `NFPROTO_IPV6`, value of `meta nfproto`.
pub const FAMILY_IPV6: u8 = 10;

/// Bits of the kernel's conntrack state register (host byte order).
pub mod ct_state {
    /// Packet that belongs to no valid connection.
    pub const INVALID: u32 = 1;
    /// Packet of a connection seen in both directions.
    pub const ESTABLISHED: u32 = 2;
    /// Packet related to a known connection (for example an ICMP error).
    pub const RELATED: u32 = 4;
    /// First packet of a connection.
    pub const NEW: u32 = 8;
}

/// Attribute numbers of the `limit` expression (`enum nft_limit_attributes`),
/// which netlink-bindings 0.3.5 does not know.
pub mod limit_attr {
    /// `NFTA_EXPR_DATA`: payload of any expression.
    pub const EXPR_DATA: u16 = 2;
    /// `NFTA_LIMIT_RATE`, be64.
    pub const RATE: u16 = 1;
    /// `NFTA_LIMIT_UNIT`, be64, in seconds.
    pub const UNIT: u16 = 2;
    /// `NFTA_LIMIT_BURST`, be32.
    pub const BURST: u16 = 3;
    /// `NFTA_LIMIT_TYPE`, be32: 0 is packets.
    pub const TYPE: u16 = 4;
    /// `NFTA_LIMIT_FLAGS`, be32: 1 inverts.
    pub const FLAGS: u16 = 5;
}

/// Attribute numbers of the `connlimit` expression (`enum nft_connlimit_attributes`).
pub mod connlimit_attr {
    /// `NFTA_CONNLIMIT_COUNT`, be32.
    pub const COUNT: u16 = 1;
    /// `NFTA_CONNLIMIT_FLAGS`, be32: 1 inverts.
    pub const FLAGS: u16 = 2;
}

/// Attribute numbers of the `dynset` expression (`enum nft_dynset_attributes`).
pub mod dynset_attr {
    /// `NFTA_DYNSET_SET_NAME`, text.
    pub const SET_NAME: u16 = 1;
    /// `NFTA_DYNSET_SET_ID`, be32: of a set made in the same batch.
    pub const SET_ID: u16 = 2;
    /// `NFTA_DYNSET_OP`, be32: 0 adds.
    pub const OP: u16 = 3;
    /// `NFTA_DYNSET_SREG_KEY`, be32.
    pub const SREG_KEY: u16 = 4;
    /// `NFTA_DYNSET_EXPR`: an expression that each element has of its own.
    pub const EXPR: u16 = 7;
    /// `NFTA_EXPR_NAME`, text.
    pub const EXPR_NAME: u16 = 1;
}

/// What is counted for each source, in a set of its own for each IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerSource {
    /// New connections: more than so many a second, after so many at once.
    Rate {
        /// Connections a second.
        per_second: u64,
        /// Connections at once.
        burst: u32,
    },
    /// Connections that are open: more than so many.
    Connections(u32),
}

impl PerSource {
    /// Name of the set, and its number within a batch.
    pub fn set(self, family: u8) -> (&'static CStr, u32) {
        match (self, family == FAMILY_IPV4) {
            (Self::Rate { .. }, true) => (c"rate4", 1),
            (Self::Rate { .. }, false) => (c"rate6", 2),
            (Self::Connections(_), true) => (c"open4", 3),
            (Self::Connections(_), false) => (c"open6", 4),
        }
    }
}

/// One condition of a rule. All conditions of a rule must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// `meta iif <index>`
    InputInterface(u32),
    /// `meta nfproto <family>`
    Family(u8),
    /// `meta l4proto <protocol>`
    Protocol(u8),
    /// Destination port of TCP or UDP.
    DestinationPort(u16),
    /// First byte of the ICMP header, of either version.
    IcmpType(u8),
    /// `ip saddr` or `ip6 saddr` within a prefix.
    Source(IpAddr, u8),
    /// `ip daddr`
    Destination(Ipv4Addr),
    /// Conntrack state has at least one of these [`ct_state`] bits.
    ConnectionState(u32),
    /// `limit rate <n>/second burst <m> packets`
    RateLimit {
        /// Packets a second.
        per_second: u64,
        /// Packets at once.
        burst: u32,
    },
    /// The source is over a limit of its own.
    OverLimit {
        /// IP version.
        family: u8,
        /// Leading bits of the address that make a source.
        prefix: u8,
        /// Which limit.
        limit: PerSource,
    },
    /// Only from read-back: an expression this program never writes.
    Unknown(String),
}

/// What happens to a packet that meets all conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let it pass.
    Accept,
    /// Discard it silently.
    Drop,
}

impl Verdict {
    /// Number the kernel uses, for a rule verdict and for a chain policy.
    pub fn code(self) -> u32 {
        match self {
            Self::Accept => VerdictCode::Accept as u32,
            Self::Drop => VerdictCode::Drop as u32,
        }
    }

    /// Inverse of [`Verdict::code`]; `None` for jumps, queues and others.
    pub fn from_code(code: u32) -> Option<Self> {
        [Self::Accept, Self::Drop].into_iter().find(|verdict| verdict.code() == code)
    }
}

/// Conditions and verdict of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Conditions, in evaluation order.
    pub matches: Vec<Match>,
    /// Verdict; `None` only from read-back, for a rule without one.
    pub verdict: Option<Verdict>,
}

impl Rule {
    /// A rule that accepts packets meeting all `matches`.
    pub fn accept(matches: Vec<Match>) -> Self {
        Self { matches, verdict: Some(Verdict::Accept) }
    }

    /// A rule that drops packets meeting all `matches`.
    pub fn drop(matches: Vec<Match>) -> Self {
        Self { matches, verdict: Some(Verdict::Drop) }
    }

    /// Expression list for `NFTA_RULE_EXPRESSIONS`: conditions, a counter, the verdict.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = ExpressionWriter { buffer: Vec::new() };
        for condition in &self.matches {
            writer.write_match(condition);
        }
        writer.counter();
        if let Some(verdict) = self.verdict {
            writer.verdict(verdict);
        }
        writer.buffer
    }
}

/// Bytes of the mask that has `prefix` leading ones in `width` bytes.
pub fn prefix_mask(prefix: u8, width: usize) -> Vec<u8> {
    (0..width)
        .map(|byte| match usize::from(prefix).saturating_sub(byte * 8) {
            ones @ 0..=7 => !(0xff_u8 >> ones),
            _ => 0xff,
        })
        .collect()
}

const REGISTER: u32 = Registers::Reg1 as u32;

/// Appends expressions to a buffer. Every `Push*` value of the crate closes
/// its nested attributes when dropped, at the end of the statement.
struct ExpressionWriter {
    buffer: Vec<u8>,
}

impl ExpressionWriter {
    fn element(&mut self) -> PushExprAttrs<PushExprListAttrs<&mut Vec<u8>>> {
        PushExprListAttrs::new(&mut self.buffer).nested_elem()
    }

    fn write_match(&mut self, condition: &Match) {
        match condition {
            Match::InputInterface(index) => self.meta(MetaKeys::Iif, &index.to_ne_bytes()),
            Match::Family(family) => self.meta(MetaKeys::Nfproto, &[*family]),
            Match::Protocol(protocol) => self.meta(MetaKeys::L4Proto, &[*protocol]),
            Match::DestinationPort(port) => {
                self.load_payload(PayloadBase::TransportHeader, 2, 2);
                self.compare(CmpOps::Eq, &port.to_be_bytes());
            }
            Match::IcmpType(kind) => {
                self.load_payload(PayloadBase::TransportHeader, 0, 1);
                self.compare(CmpOps::Eq, &[*kind]);
            }
            Match::Source(IpAddr::V4(network), prefix) => {
                self.load_payload(PayloadBase::NetworkHeader, 12, 4);
                self.mask(&prefix_mask(*prefix, 4), 4);
                self.compare(CmpOps::Eq, &network.octets());
            }
            Match::Source(IpAddr::V6(network), prefix) => {
                self.load_payload(PayloadBase::NetworkHeader, 8, 16);
                self.mask(&prefix_mask(*prefix, 16), 16);
                self.compare(CmpOps::Eq, &network.octets());
            }
            Match::Destination(address) => {
                self.load_payload(PayloadBase::NetworkHeader, 16, 4);
                self.compare(CmpOps::Eq, &address.octets());
            }
            Match::ConnectionState(bits) => {
                self.element().nested_data_ct().push_dreg(REGISTER).push_key(CtKeys::State as u32);
                self.mask(&bits.to_ne_bytes(), 4);
                self.compare(CmpOps::Neq, &[0; 4]);
            }
            Match::RateLimit { per_second, burst } => {
                let element = &mut self.element().push_name(c"limit");
                limit(element.as_vec_mut(), limit_attr::EXPR_DATA, *per_second, *burst, false);
            }
            Match::OverLimit { family, prefix, limit } => {
                let (offset, length) = if *family == FAMILY_IPV4 { (12, 4) } else { (8, 16) };
                self.load_payload(PayloadBase::NetworkHeader, offset, length);
                let mask = prefix_mask(*prefix, if *family == FAMILY_IPV4 { 4 } else { 16 });
                if mask.contains(&0) {
                    self.mask(&mask, length);
                }
                self.over_limit(limit.set(*family), *limit);
            }
            Match::Unknown(_) => {}
        }
    }

    fn meta(&mut self, key: MetaKeys, value: &[u8]) {
        self.element().nested_data_meta().push_dreg(REGISTER).push_key(key as u32);
        self.compare(CmpOps::Eq, value);
    }

    fn load_payload(&mut self, base: PayloadBase, offset: u32, length: u32) {
        self.element()
            .nested_data_payload()
            .push_dreg(REGISTER)
            .push_base(base as u32)
            .push_offset(offset)
            .push_len(length);
    }

    fn mask(&mut self, mask: &[u8], length: u32) {
        self.element()
            .nested_data_bitwise()
            .push_sreg(REGISTER)
            .push_dreg(REGISTER)
            .push_len(length)
            .nested_mask()
            .push_value(mask)
            .end_nested()
            .nested_xor()
            .push_value(&vec![0; mask.len()]);
    }

    fn compare(&mut self, operator: CmpOps, value: &[u8]) {
        self.element()
            .nested_data_cmp()
            .push_sreg(REGISTER)
            .push_op(operator as u32)
            .nested_data()
            .push_value(value);
    }

    /// Adds the source in the register to a set; goes on only when the limit of its own is passed.
    fn over_limit(&mut self, (name, id): (&CStr, u32), per_source: PerSource) {
        let mut element = self.element().push_name(c"dynset");
        let buffer = element.as_vec_mut();
        let data = push_nested_header(buffer, limit_attr::EXPR_DATA);
        text(buffer, dynset_attr::SET_NAME, name);
        for (attribute, value) in
            [(dynset_attr::SET_ID, id), (dynset_attr::OP, 0), (dynset_attr::SREG_KEY, REGISTER)]
        {
            push_header(buffer, attribute, 4);
            buffer.extend(value.to_be_bytes());
        }
        let own = push_nested_header(buffer, dynset_attr::EXPR);
        match per_source {
            PerSource::Rate { per_second, burst } => {
                text(buffer, dynset_attr::EXPR_NAME, c"limit");
                limit(buffer, limit_attr::EXPR_DATA, per_second, burst, true);
            }
            PerSource::Connections(count) => {
                text(buffer, dynset_attr::EXPR_NAME, c"connlimit");
                let data = push_nested_header(buffer, limit_attr::EXPR_DATA);
                for (attribute, value) in [(connlimit_attr::COUNT, count), (connlimit_attr::FLAGS, 1)] {
                    push_header(buffer, attribute, 4);
                    buffer.extend(value.to_be_bytes());
                }
                finalize_nested_header(buffer, data);
            }
        }
        finalize_nested_header(buffer, own);
        finalize_nested_header(buffer, data);
    }

    fn counter(&mut self) {
        self.element().nested_data_counter().push_bytes(0).push_packets(0);
    }

    fn verdict(&mut self, verdict: Verdict) {
        self.element()
            .nested_data_immediate()
            .push_dreg(Registers::RegVerdict as u32)
            .nested_data()
            .nested_verdict()
            .push_code(verdict.code());
    }
}

/// A text attribute: ended by a zero byte, filled up to four.
fn text(buffer: &mut Vec<u8>, attribute: u16, text: &CStr) {
    let bytes = text.to_bytes_with_nul();
    push_header(buffer, attribute, u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    buffer.extend_from_slice(bytes);
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

/// Data of a `limit` expression; `over` holds beyond the limit instead of within it.
fn limit(buffer: &mut Vec<u8>, attribute: u16, per_second: u64, burst: u32, over: bool) {
    let data = push_nested_header(buffer, attribute);
    push_header(buffer, limit_attr::RATE, 8);
    buffer.extend(per_second.to_be_bytes());
    push_header(buffer, limit_attr::UNIT, 8);
    buffer.extend(1_u64.to_be_bytes());
    for (attribute, value) in
        [(limit_attr::BURST, burst), (limit_attr::TYPE, 0), (limit_attr::FLAGS, u32::from(over))]
    {
        push_header(buffer, attribute, 4);
        buffer.extend(value.to_be_bytes());
    }
    finalize_nested_header(buffer, data);
}
