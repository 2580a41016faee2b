//! DHCPv4 wire format: the BOOTP message (RFC 2131, RFC 2132) and the
//! Ethernet/IPv4/UDP envelope a client needs before it owns an address.
//!
//! Everything here is a pure function over byte slices. Input comes from the
//! network, so every read is bounds-checked and a bad packet is just `None`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// An Ethernet hardware address.
pub type Mac = [u8; 6];

/// UDP port of DHCP servers.
pub const SERVER_PORT: u16 = 67;
/// UDP port of DHCP clients.
pub const CLIENT_PORT: u16 = 68;

/// Option codes used by this client (RFC 2132).
pub mod option {
    /// Filler.
    pub const PAD: u8 = 0;
    /// Subnet mask.
    pub const SUBNET_MASK: u8 = 1;
    /// Default gateways.
    pub const ROUTERS: u8 = 3;
    /// DNS servers.
    pub const DNS_SERVERS: u8 = 6;
    /// Host name.
    pub const HOST_NAME: u8 = 12;
    /// NTP servers.
    pub const NTP_SERVERS: u8 = 42;
    /// Address asked for.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// Seconds of the lease.
    pub const LEASE_TIME: u8 = 51;
    /// Options in the `file` and `sname` fields.
    pub const OVERLOAD: u8 = 52;
    /// Kind of message.
    pub const MESSAGE_TYPE: u8 = 53;
    /// Address of the server.
    pub const SERVER_ID: u8 = 54;
    /// Options asked for.
    pub const PARAMETER_LIST: u8 = 55;
    /// Longest answer.
    pub const MAX_MESSAGE_SIZE: u8 = 57;
    /// Seconds until T1.
    pub const RENEWAL_TIME: u8 = 58;
    /// Seconds until T2.
    pub const REBINDING_TIME: u8 = 59;
    /// Who asks.
    pub const CLIENT_ID: u8 = 61;
    /// No more options.
    pub const END: u8 = 255;
}

/// Message types a client sends (the value of option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Look for servers.
    Discover = 1,
    /// Ask for, or extend, a lease.
    Request = 3,
}

/// Message types a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// A server offers an address.
    Offer,
    /// A server grants the lease.
    Ack,
    /// A server refuses the lease.
    Nak,
}

/// A client message before encoding.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Discover or request.
    pub kind: RequestKind,
    /// Transaction id.
    pub xid: u32,
    /// Seconds since the client began this exchange.
    pub secs: u16,
    /// The address the client already uses, or 0.0.0.0.
    pub client_address: Ipv4Addr,
    /// Hardware address of the client.
    pub mac: Mac,
    /// Host name to register; left out when empty.
    pub host_name: &'a str,
    /// Option 50.
    pub requested_address: Option<Ipv4Addr>,
    /// Option 54.
    pub server_id: Option<Ipv4Addr>,
}

/// A decoded server message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Offer, acknowledgement or refusal.
    pub kind: ReplyKind,
    /// Transaction id.
    pub xid: u32,
    /// The address given to the client.
    pub your_address: Ipv4Addr,
    options: BTreeMap<u8, Vec<u8>>,
}

impl Reply {
    /// The first address of an option.
    #[must_use]
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.addresses(code).first().copied()
    }

    /// All addresses of an option; empty when it is absent.
    #[must_use]
    pub fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let bytes = self.options.get(&code).map_or(&[][..], Vec::as_slice);
        let quads = bytes.as_chunks::<4>().0;
        quads.iter().copied().map(Ipv4Addr::from).collect()
    }

    /// The value of a 32-bit option.
    #[must_use]
    pub fn number(&self, code: u8) -> Option<u32> {
        let bytes = self.options.get(&code)?.as_slice();
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
/// BOOTP header with the magic cookie; options follow.
const HEADER_LEN: usize = 240;
/// Some servers and relays drop anything shorter (RFC 1542 section 2.1).
const MIN_MESSAGE_LEN: usize = 300;
/// An untagged Ethernet payload less the IPv4 and UDP headers.
const MAX_MESSAGE_LEN: u16 = 1472;
const PARAMETERS: [u8; 7] = [
    option::SUBNET_MASK,
    option::ROUTERS,
    option::DNS_SERVERS,
    option::NTP_SERVERS,
    option::LEASE_TIME,
    option::RENEWAL_TIME,
    option::REBINDING_TIME,
];

/// Encodes a client message as a UDP payload.
#[must_use]
pub fn encode(request: &Request) -> Vec<u8> {
    let mut out = vec![BOOT_REQUEST, ETHERNET, 6, 0];
    out.extend(request.xid.to_be_bytes());
    out.extend(request.secs.to_be_bytes());
    // The broadcast flag stays clear: a packet socket also gets unicast replies.
    out.extend([0, 0]);
    out.extend(request.client_address.octets());
    out.resize(28, 0);
    out.extend(request.mac);
    out.resize(HEADER_LEN - MAGIC_COOKIE.len(), 0);
    out.extend(MAGIC_COOKIE);

    push_option(&mut out, option::MESSAGE_TYPE, &[request.kind as u8]);
    let [a, b, c, d, e, f] = request.mac;
    push_option(&mut out, option::CLIENT_ID, &[ETHERNET, a, b, c, d, e, f]);
    push_option(&mut out, option::MAX_MESSAGE_SIZE, &MAX_MESSAGE_LEN.to_be_bytes());
    push_option(&mut out, option::PARAMETER_LIST, &PARAMETERS);
    push_option(&mut out, option::HOST_NAME, request.host_name.as_bytes());
    if let Some(address) = request.requested_address {
        push_option(&mut out, option::REQUESTED_ADDRESS, &address.octets());
    }
    if let Some(server) = request.server_id {
        push_option(&mut out, option::SERVER_ID, &server.octets());
    }
    out.push(option::END);
    out.resize(out.len().max(MIN_MESSAGE_LEN), option::PAD);
    out
}

/// Appends one option; an empty or oversized value is left out.
fn push_option(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    if let Ok(len @ 1..) = u8::try_from(value.len()) {
        out.extend([code, len]);
        out.extend(value);
    }
}

/// Decodes a UDP payload addressed to `mac`; `None` if it is anything else.
#[must_use]
pub fn decode(payload: &[u8], mac: Mac) -> Option<Reply> {
    let (header, tail) = payload.split_first_chunk::<HEADER_LEN>()?;
    let for_us = header[..3] == [BOOT_REPLY, ETHERNET, 6] && header[28..34] == mac;
    if !for_us || header[236..] != MAGIC_COOKIE {
        return None;
    }
    let mut options = BTreeMap::new();
    read_options(tail, &mut options);
    // RFC 2131 section 4.1: the `file` and `sname` fields may hold more options.
    let overload = options.get(&option::OVERLOAD).and_then(|v| v.first().copied());
    let overload = overload.unwrap_or(0);
    if overload & 1 != 0 {
        read_options(&header[108..236], &mut options);
    }
    if overload & 2 != 0 {
        read_options(&header[44..108], &mut options);
    }
    let kind = match options.get(&option::MESSAGE_TYPE)?.as_slice() {
        [2] => ReplyKind::Offer,
        [5] => ReplyKind::Ack,
        [6] => ReplyKind::Nak,
        _ => return None,
    };
    Some(Reply {
        kind,
        xid: u32::from_be_bytes(header[4..8].try_into().ok()?),
        your_address: Ipv4Addr::new(header[16], header[17], header[18], header[19]),
        options,
    })
}

/// Collects options until the end marker or the first truncated one. Repeated
/// codes are concatenated (RFC 3396).
fn read_options(mut bytes: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) {
    while let Some((&code, rest)) = bytes.split_first() {
        bytes = rest;
        if code == option::PAD {
            continue;
        }
        let Some((&len, rest)) = rest.split_first() else { return };
        let Some((value, rest)) = rest.split_at_checked(len.into()) else { return };
        if code == option::END {
            return;
        }
        options.entry(code).or_default().extend(value);
        bytes = rest;
    }
}

const ETHERNET_LEN: usize = 14;
const IPV4_LEN: u16 = 20;
const UDP_LEN: u16 = 8;
const ETHERTYPE_IPV4: [u8; 2] = [8, 0];
const PROTOCOL_UDP: u8 = 17;

/// Wraps a client message in a broadcast Ethernet frame sent from `source`.
#[must_use]
pub fn frame(payload: &[u8], mac: Mac, source: Ipv4Addr) -> Vec<u8> {
    let udp_len = UDP_LEN + u16::try_from(payload.len()).unwrap_or(MAX_MESSAGE_LEN);
    let addresses = [source.octets(), [255; 4]].concat();

    let mut ip = vec![0x45, 0];
    ip.extend((IPV4_LEN + udp_len).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, PROTOCOL_UDP, 0, 0]);
    ip.extend(&addresses);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut udp = Vec::from(CLIENT_PORT.to_be_bytes());
    udp.extend(SERVER_PORT.to_be_bytes());
    udp.extend(udp_len.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    let pseudo = [&addresses[..], &[0, PROTOCOL_UDP], &udp_len.to_be_bytes()].concat();
    // Zero would mean "no checksum"; all ones is its equal (RFC 768).
    let sum = match checksum(&[pseudo, udp.clone()].concat()) {
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());

    [&[255; 6][..], &mac, &ETHERTYPE_IPV4, &ip, &udp].concat()
}

/// The payload of a DHCP server's Ethernet frame; `None` for other traffic.
///
/// The UDP checksum is not verified: with checksum offload a packet socket
/// sees frames from this host's own bridges and veth pairs before it is set.
#[must_use]
pub fn unframe(frame: &[u8]) -> Option<&[u8]> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET_LEN)?;
    let total = usize::from(be16(packet, 2)?);
    let header = usize::from(packet[0] & 15) * 4;
    let fragment = be16(packet, 6)? & 0x3fff != 0;
    let is_udp = packet[0] >> 4 == 4 && *packet.get(9)? == PROTOCOL_UDP && !fragment;
    if ethernet[12..] != ETHERTYPE_IPV4 || !is_udp || header < usize::from(IPV4_LEN) {
        return None;
    }
    let udp = packet.get(header..total)?;
    if (be16(udp, 0)?, be16(udp, 2)?) != (SERVER_PORT, CLIENT_PORT) {
        return None;
    }
    udp.get(UDP_LEN.into()..be16(udp, 4)?.into())
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2);
    let word = |c: &[u8]| u32::from(c[0]) << 8 | c.get(1).map_or(0, |&low| u32::from(low));
    let sum: u32 = words.map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
