//! The host firewall: which rules there are, and their atomic installation.

pub mod readback;
pub mod rule;

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_bindings::nftables::{Chained, Nfgenmsg, SetFlags};
use netlink_socket2::NetlinkSocket;

use crate::firmware::netlink::{During, NetError, Result};
use readback::read_back;
use rule::{FAMILY_IPV4, FAMILY_IPV6, Match, PerSource, Rule, Verdict, ct_state};

/// The table this program owns; nothing else may write to it.
pub const TABLE: &CStr = c"osmia";

/// `NFPROTO_INET`: one table for IPv4 and IPv6.
pub(crate) const NFPROTO_INET: u8 = 1;
/// `NFNL_SUBSYS_NFTABLES`, announced in the batch begin and end messages.
const NFTABLES_SUBSYSTEM: u16 = 10;
/// Sequence numbers set aside for one batch; more than any batch has messages.
const BATCH_SEQUENCES: u32 = 1 << 16;
/// Somewhere above 240 messages the acks overflow the default receive buffer:
/// the batch is then committed, but reported as `ENOBUFS`.
const MAX_RULES: usize = 150;
/// The loopback interface has this index in every network namespace.
const LOOPBACK_INDEX: u32 = 1;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const IGMP: u8 = 2;
/// destination-unreachable, echo-request, time-exceeded, parameter-problem.
const ICMP_TYPES: [u8; 4] = [3, 8, 11, 12];
/// destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request.
const ICMPV6_LIMITED_TYPES: [u8; 5] = [1, 2, 3, 4, 128];
/// router-advert, neighbour-solicit, neighbour-advert: never limited, or IPv6 stops.
const ICMPV6_NEIGHBOUR_TYPES: [u8; 3] = [134, 135, 136];
/// multicast-listener-query.
const ICMPV6_LISTENER_QUERY: u8 = 130;
const ICMP_LIMIT: Match = Match::RateLimit { per_second: 20, burst: 20 };

/// What one source may do with the opened TCP ports: a proxy in front of the node stays below that.
const PER_SOURCE: [PerSource; 2] =
    [PerSource::Rate { per_second: 100, burst: 200 }, PerSource::Connections(96)];
/// Sources remembered for that, of each IP version: 65,536 elements of some 100 bytes.
const SOURCES: u32 = 1 << 16;
/// A source that is silent for this long is forgotten, in milliseconds.
const FORGET_SOURCE_MS: u64 = 60_000;
/// `nft`'s numbers of the types of a set's key.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;

/// Transport protocol of an opened port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// Who may reach an opened port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Everybody.
    Any,
    /// Private, link-local and loopback addresses only.
    PrivateRanges,
}

/// One port opened to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowRule {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Destination port.
    pub port: u16,
    /// Who may reach it.
    pub from: Source,
    /// Only what is sent to this group; whatever else is sent there is dropped unanswered.
    pub group: Option<Ipv4Addr>,
}

/// A base chain of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseChain {
    /// Its name.
    pub name: &'static CStr,
    /// `NF_INET_*` hook number.
    pub hook: u32,
    /// What happens to a packet that no rule judges.
    pub policy: Verdict,
}

/// All base chains, in creation order.
pub const CHAINS: [BaseChain; 3] = [
    BaseChain { name: c"input", hook: 1, policy: Verdict::Drop },
    BaseChain { name: c"forward", hook: 2, policy: Verdict::Drop },
    BaseChain { name: c"output", hook: 3, policy: Verdict::Accept },
];

/// Replace the whole table in one transaction, then check what the kernel holds.
///
/// The kernel swaps tables at once, so no packet sees a state in between, and it
/// keeps the old table when it refuses the batch. An error from the final check
/// means that what is in force is not what was asked for.
pub fn apply_firewall(allow: &[AllowRule]) -> Result<()> {
    let rules = input_rules(allow);
    if rules.len() > MAX_RULES {
        return Err(NetError::new(format!("{} firewall rules, at most {MAX_RULES}", rules.len())));
    }
    let mut socket = NetlinkSocket::new();
    let mut batch = Chained::new(socket.reserve_seq(BATCH_SEQUENCES));
    let batch_header = header(0, NFTABLES_SUBSYSTEM);
    batch.request().op_batch_begin_do(&batch_header);
    replace_table(&mut batch, &rules);
    batch.request().op_batch_end_do(&batch_header);
    socket
        .request_chained(&batch.finalize())
        .during("sending the firewall")?
        .recv_all()
        .during("loading the firewall")?;
    verify(&rules)
}

/// Check that the kernel holds exactly the chains, policies and rules of `allow`.
pub fn verify_firewall(allow: &[AllowRule]) -> Result<()> {
    verify(&input_rules(allow))
}

fn verify(input: &[Rule]) -> Result<()> {
    let loaded = read_back()?;
    if loaded.len() != CHAINS.len() {
        return Err(NetError::new(format!("firewall has {} chains", loaded.len())));
    }
    for (expected, found) in CHAINS.iter().zip(&loaded) {
        let rules = if expected.name == c"input" { input } else { &[] };
        let same = found.name.as_c_str() == expected.name
            && found.hook == Some(expected.hook)
            && found.policy == Some(expected.policy)
            && found.rules.iter().map(|loaded| &loaded.rule).eq(rules);
        if !same {
            return Err(NetError::new(format!("firewall chain {:?} is not as written", expected.name)));
        }
    }
    Ok(())
}

/// The rules of the `input` chain, in order.
pub fn input_rules(allow: &[AllowRule]) -> Vec<Rule> {
    let mut rules = vec![
        Rule::accept(vec![Match::InputInterface(LOOPBACK_INDEX)]),
        Rule::accept(vec![Match::ConnectionState(ct_state::ESTABLISHED | ct_state::RELATED)]),
        Rule::drop(vec![Match::ConnectionState(ct_state::INVALID)]),
    ];
    rules.extend(ICMP_TYPES.map(|kind| icmp(FAMILY_IPV4, ICMP, kind, true)));
    rules.extend(ICMPV6_NEIGHBOUR_TYPES.map(|kind| icmp(FAMILY_IPV6, ICMPV6, kind, false)));
    rules.extend(ICMPV6_LIMITED_TYPES.map(|kind| icmp(FAMILY_IPV6, ICMPV6, kind, true)));
    // Multicast listener queries, of routers on the link only: without an answer a switch may stop sending us
    // neighbour solicitations.
    let link_local = Match::Source(IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10);
    let query = vec![
        Match::Family(FAMILY_IPV6),
        link_local,
        Match::Protocol(ICMPV6),
        Match::IcmpType(ICMPV6_LISTENER_QUERY),
        ICMP_LIMIT,
    ];
    rules.push(Rule::accept(query));
    // The same for IPv4, where nodes find each other by multicast.
    rules.push(Rule::accept(vec![Match::Family(FAMILY_IPV4), Match::Protocol(IGMP), ICMP_LIMIT]));
    rules.extend(allow.iter().copied().flat_map(port_rules));
    rules
}

fn icmp(family: u8, protocol: u8, kind: u8, limited: bool) -> Rule {
    let mut matches = vec![Match::Family(family), Match::Protocol(protocol), Match::IcmpType(kind)];
    if limited {
        matches.push(ICMP_LIMIT);
    }
    Rule::accept(matches)
}

/// A range of addresses that may come, and how many leading bits of such an address make a source.
struct Range {
    family: u8,
    network: Option<Match>,
    source_bits: u8,
}

impl Range {
    fn private((network, prefix): (IpAddr, u8)) -> Self {
        let (family, source_bits) = if network.is_ipv4() { (FAMILY_IPV4, 32) } else { (FAMILY_IPV6, 128) };
        Self { family, network: Some(Match::Source(network, prefix)), source_bits }
    }

    /// Of the rest of IPv6, whoever has one address has the 2^64 of its network: these are one source. On the local
    /// network all share their prefix, so each address is one: these ranges come first.
    fn everybody() -> Vec<Self> {
        let local = private_ranges().into_iter().filter(|(network, _)| network.is_ipv6()).map(Self::private);
        let v4 = Self { family: FAMILY_IPV4, network: None, source_bits: 32 };
        let v6 = Self { family: FAMILY_IPV6, network: None, source_bits: 64 };
        std::iter::once(v4).chain(local).chain([v6]).collect()
    }
}

/// For each range of addresses that may come: the limits, then the door. Others never enter a set.
fn port_rules(allow: AllowRule) -> Vec<Rule> {
    let ranges = match allow.from {
        Source::Any => Range::everybody(),
        Source::PrivateRanges => private_ranges().map(Range::private).into(),
    };
    let limits = if allow.protocol == Protocol::Tcp { &PER_SOURCE[..] } else { &[] };
    let mut rules = Vec::new();
    for Range { family, network, source_bits: prefix } in ranges {
        if allow.group.is_some() && family != FAMILY_IPV4 {
            continue;
        }
        let mut matches = vec![Match::Family(family)];
        matches.extend(network);
        matches.extend(allow.group.map(Match::Destination));
        matches.push(Match::Protocol(allow.protocol.number()));
        matches.push(Match::DestinationPort(allow.port));
        matches.push(Match::ConnectionState(ct_state::NEW));
        for limit in limits {
            let over = Match::OverLimit { family, prefix, limit: *limit };
            rules.push(Rule::drop([matches.clone(), vec![over]].concat()));
        }
        rules.push(Rule::accept(matches));
    }
    rules
}

fn private_ranges() -> [(IpAddr, u8); 7] {
    let v4 = |a, b| IpAddr::V4(Ipv4Addr::new(a, b, 0, 0));
    let v6 = |first| IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0));
    [
        (v4(10, 0), 8),
        (v4(172, 16), 12),
        (v4(192, 168), 16),
        (v4(169, 254), 16),
        (v4(127, 0), 8),
        (v6(0xfc00), 7),
        (v6(0xfe80), 10),
    ]
}

/// "add, delete, add" is the idiom that works whether or not the table exists.
fn replace_table(batch: &mut Chained<'_>, rules: &[Rule]) {
    add_table(batch);
    batch.request().op_deltable_do(&header(NFPROTO_INET, 0)).encode().push_name(TABLE);
    add_table(batch);
    // netlink-socket2 0.3.5 reports success without reading any ack when a
    // batch has a multiple of 64 messages: begin + end + 3 tables + chains + rules.
    let sets = 2 * PER_SOURCE.len();
    if (5 + sets + CHAINS.len() + rules.len()).is_multiple_of(64) {
        add_table(batch);
    }
    for limit in PER_SOURCE {
        add_set(batch, limit, FAMILY_IPV4);
        add_set(batch, limit, FAMILY_IPV6);
    }
    for chain in &CHAINS {
        add_chain(batch, chain);
    }
    for rule in rules {
        add_rule(batch, c"input", rule);
    }
}

fn add_table(batch: &mut Chained<'_>) {
    batch.request().set_create().op_newtable_do(&header(NFPROTO_INET, 0)).encode().push_name(TABLE);
}

/// A set that rules add addresses to. What counts connections forgets an address with its last one by itself.
fn add_set(batch: &mut Chained<'_>, limit: PerSource, family: u8) {
    let (name, id) = limit.set(family);
    let (kind, length) = if family == FAMILY_IPV4 { (TYPE_IPV4, 4) } else { (TYPE_IPV6, 16) };
    let forgets = matches!(limit, PerSource::Rate { .. });
    let flags = SetFlags::Eval as u32 | if forgets { SetFlags::Timeout as u32 } else { 0 };
    let header = header(NFPROTO_INET, 0);
    let mut request = batch.request().set_create().op_newset_do(&header);
    let set = request.encode().push_table(TABLE).push_name(name).push_flags(flags);
    let set = set.push_key_type(kind).push_key_len(length).push_id(id);
    // The crate writes the number as the host does, the kernel reads it big-endian.
    let set = if forgets { set.push_timeout(FORGET_SOURCE_MS.to_be()) } else { set };
    set.nested_desc().push_size(SOURCES);
}

fn add_chain(batch: &mut Chained<'_>, chain: &BaseChain) {
    batch
        .request()
        .set_create()
        .op_newchain_do(&header(NFPROTO_INET, 0))
        .encode()
        .push_table(TABLE)
        .push_name(chain.name)
        .push_type(c"filter")
        .push_policy(chain.policy.code())
        .nested_hook()
        .push_num(chain.hook)
        .push_priority(0);
}

fn add_rule(batch: &mut Chained<'_>, chain: &CStr, rule: &Rule) {
    use netlink_bindings::traits::Pusher;
    batch
        .request()
        .set_create()
        .set_append() // without it, the rule goes to the head of the chain
        .op_newrule_do(&header(NFPROTO_INET, 0))
        .encode()
        .push_table(TABLE)
        .push_chain(chain)
        .nested_expressions()
        .as_vec_mut()
        .extend_from_slice(&rule.encode());
}

pub(crate) fn header(family: u8, resource: u16) -> Nfgenmsg {
    let mut header = Nfgenmsg::new();
    header.nfgen_family = family;
    header.set_res_id(resource);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits of an address that make a source, for whoever is within `network`, at a port for everybody.
    fn source_bits(network: &str) -> u8 {
        let address = network.parse::<IpAddr>().unwrap();
        let allow = AllowRule { protocol: Protocol::Tcp, port: 1, from: Source::Any, group: None };
        let covers = |condition: &Match| match condition {
            Match::Family(family) => (*family == FAMILY_IPV4) == address.is_ipv4(),
            Match::Source(IpAddr::V6(network), prefix) => match address {
                IpAddr::V6(address) => {
                    let masked = address.octets().into_iter().zip(rule::prefix_mask(*prefix, 16));
                    masked.map(|(byte, mask)| byte & mask).eq(network.octets())
                }
                IpAddr::V4(_) => false,
            },
            Match::Source(IpAddr::V4(_), _)
            | Match::InputInterface(_)
            | Match::Protocol(_)
            | Match::DestinationPort(_)
            | Match::IcmpType(_)
            | Match::Destination(_)
            | Match::ConnectionState(_)
            | Match::RateLimit { .. }
            | Match::OverLimit { .. }
            | Match::Unknown(_) => true,
        };
        // The first rule that may judge it.
        let first = port_rules(allow).into_iter().find(|rule| rule.matches.iter().all(covers)).unwrap();
        match first.matches.last() {
            Some(Match::OverLimit { prefix, .. }) => *prefix,
            other => panic!("no limit comes first: {other:?}"),
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_but_a_local_address_is_one() {
        assert_eq!(source_bits("203.0.113.7"), 32);
        assert_eq!(source_bits("2001:db8::7"), 64);
        assert_eq!(source_bits("fd00::7"), 128);
        assert_eq!(source_bits("fe80::7"), 128);
    }
}
