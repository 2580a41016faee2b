//! Reads the table back from the kernel. Anything that this program does not
//! write becomes [`Match::Unknown`], so a comparison with the plan fails closed.

use std::ffi::{CStr, CString};
use std::net::IpAddr;

use netlink_bindings::nftables::{
    self, BitwiseOps, CmpOps, CtKeys, ExprOps, IterableExprAttrs, IterableExprBitwiseAttrs,
    IterableExprCmpAttrs, IterableExprCounterAttrs, IterableExprImmediateAttrs, IterableRuleAttrs, MetaKeys,
    PayloadBase, Registers,
};
use netlink_bindings::utils::{ErrorContext, find_attr, parse_be_u32, parse_be_u64};
use netlink_socket2::NetlinkSocket;

use super::rule::{
    FAMILY_IPV4, FAMILY_IPV6, Match, PerSource, Rule, Verdict, connlimit_attr, dynset_attr, limit_attr,
};
use super::{NFPROTO_INET, TABLE, header};
use crate::firmware::netlink::{During, Result};

type Decoded<T> = std::result::Result<T, ErrorContext>;

/// A chain as the kernel holds it.
#[derive(Debug)]
pub struct LoadedChain {
    /// Its name.
    pub name: CString,
    /// `None` for a chain that is not attached to a hook.
    pub hook: Option<u32>,
    /// Order among the chains of a hook.
    pub priority: Option<i32>,
    /// What happens to a packet that no rule judges.
    pub policy: Option<Verdict>,
    /// Its rules, in order.
    pub rules: Vec<LoadedRule>,
}

/// A rule as the kernel holds it, with its counter.
#[derive(Debug)]
pub struct LoadedRule {
    /// Conditions and verdict.
    pub rule: Rule,
    /// Packets it judged.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// All chains of the table with their rules, in kernel order. Empty if there is no table.
pub fn read_back() -> Result<Vec<LoadedChain>> {
    let mut socket = NetlinkSocket::new();
    let mut chains = read_chains(&mut socket)?;
    for chain in &mut chains {
        read_rules(&mut socket, chain)?;
    }
    Ok(chains)
}

fn read_chains(socket: &mut NetlinkSocket) -> Result<Vec<LoadedChain>> {
    let request = nftables::Request::new().op_getchain_dump(&header(NFPROTO_INET, 0));
    let mut reply = socket.request(&request).during("asking for chains")?;
    let mut chains = Vec::new();
    while let Some((_, attributes)) = reply.recv().transpose().during("reading chains")? {
        // The kernel filters this dump by family only.
        if attributes.get_table().during("reading a chain's table")? != TABLE {
            continue;
        }
        let hook = attributes.get_hook().ok();
        chains.push(LoadedChain {
            name: attributes.get_name().during("reading a chain's name")?.to_owned(),
            hook: hook.and_then(|hook| hook.get_num().ok()),
            priority: hook.and_then(|hook| hook.get_priority().ok()),
            policy: attributes.get_policy().ok().and_then(Verdict::from_code),
            rules: Vec::new(),
        });
    }
    Ok(chains)
}

fn read_rules(socket: &mut NetlinkSocket, chain: &mut LoadedChain) -> Result<()> {
    let mut request = nftables::Request::new().op_getrule_dump(&header(NFPROTO_INET, 0));
    request.encode().push_table(TABLE).push_chain(&chain.name);
    let mut reply = socket.request(&request).during("asking for rules")?;
    while let Some((_, attributes)) = reply.recv().transpose().during("reading rules")? {
        chain.rules.push(decode_rule(&attributes).during("decoding a rule")?);
    }
    Ok(())
}

fn decode_rule(attributes: &IterableRuleAttrs<'_>) -> Decoded<LoadedRule> {
    let mut decoder = Decoder::default();
    for expression in attributes.get_expressions()?.get_elem() {
        decoder.expression(&expression)?;
    }
    Ok(LoadedRule {
        rule: Rule { matches: decoder.matches, verdict: decoder.verdict },
        packets: decoder.packets,
        bytes: decoder.bytes,
    })
}

/// What the last load put in register 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Loaded {
    #[default]
    Nothing,
    InputInterface,
    Family,
    Protocol,
    DestinationPort,
    IcmpType,
    Source,
    Destination,
    ConnectionState,
}

/// Follows register 1 through the expressions of one rule.
#[derive(Default)]
struct Decoder {
    loaded: Loaded,
    mask: Vec<u8>,
    matches: Vec<Match>,
    verdict: Option<Verdict>,
    packets: u64,
    bytes: u64,
}

impl Decoder {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not written here is unknown")]
    fn expression(&mut self, expression: &IterableExprAttrs<'_>) -> Decoded<()> {
        // `get_data` fails for an expression the crate does not know, like `limit`.
        let Ok(data) = expression.get_data() else {
            let name = expression.get_name()?;
            let data = find_attr(expression.get_buf(), limit_attr::EXPR_DATA).unwrap_or_default();
            let condition = match name.to_bytes() {
                b"limit" => decode_limit(data, false)
                    .map(|(per_second, burst)| Match::RateLimit { per_second, burst }),
                b"dynset" if self.loaded == Loaded::Source => decode_over_limit(data, &self.mask),
                _ => None,
            };
            self.matches
                .push(condition.unwrap_or_else(|| Match::Unknown(name.to_string_lossy().into_owned())));
            return Ok(());
        };
        match data {
            ExprOps::Meta(meta) => self.load(loaded_meta(meta.get_key()?), meta.get_dreg()?),
            ExprOps::Payload(payload) => {
                let place = (payload.get_base()?, payload.get_offset()?, payload.get_len()?);
                self.load(loaded_payload(place), payload.get_dreg()?);
            }
            ExprOps::Ct(ct) if ct.get_key()? == CtKeys::State as u32 => {
                self.load(Loaded::ConnectionState, ct.get_dreg()?);
            }
            ExprOps::Bitwise(bitwise) => self.bitwise(&bitwise)?,
            ExprOps::Cmp(compare) => self.compare(&compare)?,
            ExprOps::Counter(counter) => self.counter(&counter)?,
            ExprOps::Immediate(immediate) => self.immediate(&immediate)?,
            other => self.unknown(format!("{other:?}")),
        }
        Ok(())
    }

    fn load(&mut self, loaded: Loaded, register: u32) {
        self.mask.clear();
        self.loaded = if register == Registers::Reg1 as u32 { loaded } else { Loaded::Nothing };
    }

    fn bitwise(&mut self, bitwise: &IterableExprBitwiseAttrs<'_>) -> Decoded<()> {
        let plain = bitwise.get_sreg()? == Registers::Reg1 as u32
            && bitwise.get_dreg()? == Registers::Reg1 as u32
            && bitwise.get_op().unwrap_or(BitwiseOps::MaskXor as u32) == BitwiseOps::MaskXor as u32
            && self.mask.is_empty();
        if plain && bitwise.get_xor()?.get_value()?.iter().all(|byte| *byte == 0) {
            self.mask = bitwise.get_mask()?.get_value()?.to_vec();
        } else {
            self.unknown(format!("{bitwise:?}"));
        }
        Ok(())
    }

    fn compare(&mut self, compare: &IterableExprCmpAttrs<'_>) -> Decoded<()> {
        let value = compare.get_data()?.get_value()?;
        let operator = compare.get_op()?;
        let condition = if compare.get_sreg()? != Registers::Reg1 as u32 {
            None
        } else if self.loaded == Loaded::ConnectionState {
            (operator == CmpOps::Neq as u32 && value.iter().all(|byte| *byte == 0))
                .then(|| self.mask.as_slice().try_into().ok().map(u32::from_ne_bytes))
                .flatten()
                .map(Match::ConnectionState)
        } else if operator == CmpOps::Eq as u32 {
            self.equality(value)
        } else {
            None
        };
        match condition {
            Some(condition) => self.matches.push(condition),
            None => self.unknown(format!("{:?} {compare:?}", self.loaded)),
        }
        Ok(())
    }

    fn equality(&self, value: &[u8]) -> Option<Match> {
        if self.loaded != Loaded::Source && !self.mask.is_empty() {
            return None;
        }
        Some(match self.loaded {
            Loaded::InputInterface => Match::InputInterface(u32::from_ne_bytes(value.try_into().ok()?)),
            Loaded::Family => Match::Family(*value.first()?),
            Loaded::Protocol => Match::Protocol(*value.first()?),
            Loaded::IcmpType => Match::IcmpType(*value.first()?),
            Loaded::DestinationPort => Match::DestinationPort(u16::from_be_bytes(value.try_into().ok()?)),
            Loaded::Source => Match::Source(address(value)?, prefix_length(&self.mask)?),
            Loaded::Destination => Match::Destination(<[u8; 4]>::try_from(value).ok()?.into()),
            Loaded::ConnectionState | Loaded::Nothing => return None,
        })
    }

    fn counter(&mut self, counter: &IterableExprCounterAttrs<'_>) -> Decoded<()> {
        self.packets = counter.get_packets()?;
        self.bytes = counter.get_bytes()?;
        Ok(())
    }

    fn immediate(&mut self, immediate: &IterableExprImmediateAttrs<'_>) -> Decoded<()> {
        let code = immediate.get_data()?.get_verdict().and_then(|verdict| verdict.get_code());
        match code.ok().and_then(Verdict::from_code) {
            Some(verdict) => self.verdict = Some(verdict),
            None => self.unknown(format!("{immediate:?}")),
        }
        Ok(())
    }

    fn unknown(&mut self, what: String) {
        self.matches.push(Match::Unknown(what));
    }
}

fn loaded_meta(key: u32) -> Loaded {
    match MetaKeys::from_value(u64::from(key)) {
        Some(MetaKeys::Iif) => Loaded::InputInterface,
        Some(MetaKeys::Nfproto) => Loaded::Family,
        Some(MetaKeys::L4Proto) => Loaded::Protocol,
        _ => Loaded::Nothing,
    }
}

fn loaded_payload((base, offset, length): (u32, u32, u32)) -> Loaded {
    match (PayloadBase::from_value(u64::from(base)), offset, length) {
        (Some(PayloadBase::TransportHeader), 2, 2) => Loaded::DestinationPort,
        (Some(PayloadBase::TransportHeader), 0, 1) => Loaded::IcmpType,
        (Some(PayloadBase::NetworkHeader), 12, 4) | (Some(PayloadBase::NetworkHeader), 8, 16) => {
            Loaded::Source
        }
        (Some(PayloadBase::NetworkHeader), 16, 4) => Loaded::Destination,
        _ => Loaded::Nothing,
    }
}

/// Rate a second and burst of a `limit` expression.
fn decode_limit(data: &[u8], over: bool) -> Option<(u64, u32)> {
    let be32 = |kind| find_attr(data, kind).and_then(parse_be_u32);
    let be64 = |kind| find_attr(data, kind).and_then(parse_be_u64);
    let plain = be64(limit_attr::UNIT) == Some(1)
        && be32(limit_attr::TYPE) == Some(0)
        && be32(limit_attr::FLAGS).unwrap_or(0) == u32::from(over);
    plain.then_some((be64(limit_attr::RATE)?, be32(limit_attr::BURST)?))
}

/// A limit of each source's own; which IP version it is for, the set tells.
fn decode_over_limit(data: &[u8], mask: &[u8]) -> Option<Match> {
    let expression = find_attr(data, dynset_attr::EXPR)?;
    let own = find_attr(expression, limit_attr::EXPR_DATA)?;
    let name = |data, kind| find_attr(data, kind).and_then(|bytes| CStr::from_bytes_until_nul(bytes).ok());
    let be32 = |data, kind| find_attr(data, kind).and_then(parse_be_u32);
    let limit = match name(expression, dynset_attr::EXPR_NAME)?.to_bytes() {
        b"limit" => {
            decode_limit(own, true).map(|(per_second, burst)| PerSource::Rate { per_second, burst })?
        }
        b"connlimit" if be32(own, connlimit_attr::FLAGS) == Some(1) => {
            PerSource::Connections(be32(own, connlimit_attr::COUNT)?)
        }
        _ => return None,
    };
    let set = name(data, dynset_attr::SET_NAME)?;
    let family = [FAMILY_IPV4, FAMILY_IPV6].into_iter().find(|family| limit.set(*family).0 == set)?;
    let adds = be32(data, dynset_attr::OP) == Some(0);
    let prefix = match mask {
        [] if family == FAMILY_IPV4 => 32,
        [] => 128,
        mask => prefix_length(mask)?,
    };
    adds.then_some(Match::OverLimit { family, prefix, limit })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

fn prefix_length(mask: &[u8]) -> Option<u8> {
    let ones = mask.iter().map(|byte| byte.count_ones()).sum::<u32>();
    let prefix = u8::try_from(ones).ok()?;
    (super::rule::prefix_mask(prefix, mask.len()) == mask).then_some(prefix)
}
