//! `[network]` and `[token]`: what all nodes of a network must agree on.

use super::{RawConfig, RawMilestoneKey, RawNetwork};
use crate::config::mistake::Checker;
use crate::config::{Error, Join, MilestoneKey, Network, PeerAddress};
use crate::protocol::PROTOCOL_VERSION;
use crate::protocol::address::Address;
use crate::protocol::params::{ProtocolParameters, RentStructure};

/// The network, valid by construction.
pub(super) fn network(checker: &Checker<'_>, raw: &RawConfig) -> Result<Network, Error> {
    let RawConfig { network, token, .. } = raw;
    let supply = &network.token_supply;
    let token_supply = supply.get_ref().parse().map_err(|_| {
        checker.error("network.token_supply", supply, "no number", "write up to 2^64-1 in quotation marks")
    })?;
    let depth = &network.below_max_depth;
    if *depth.get_ref() == 0 {
        return Err(checker.error(
            "network.below_max_depth",
            depth,
            "0 is not allowed",
            "write 1 or more, usually 15",
        ));
    }
    let hrp = &network.bech32_hrp;
    // TIP-31, BIP-173: > the human-readable part contains US-ASCII characters; lower case is written
    if !hrp.get_ref().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err(checker.error(
            "network.bech32_hrp",
            hrp,
            "not lower-case letters and digits",
            "write like \"tst\"",
        ));
    }
    let milestone_keys = milestone_keys(checker, network)?;
    let threshold = &network.milestone_threshold;
    let most = milestone_keys.len().max(1);
    if *threshold.get_ref() == 0 || *threshold.get_ref() > most {
        let fix = format!("write 1 to {most}: the number of keys that apply");
        let problem = format!("{} is out of range", threshold.get_ref());
        return Err(checker.error("network.milestone_threshold", threshold, problem, &fix));
    }
    Ok(Network {
        params: ProtocolParameters {
            version: PROTOCOL_VERSION,
            network_name: checker.short_text("network.name", &network.name)?,
            bech32_hrp: checker.short_text("network.bech32_hrp", hrp)?,
            min_pow_score: network.min_pow_score,
            below_max_depth: *depth.get_ref(),
            rent: RentStructure {
                v_byte_cost: network.v_byte_cost,
                v_byte_factor_data: network.v_byte_factor_data,
                v_byte_factor_key: network.v_byte_factor_key,
            },
            token_supply,
        },
        milestone_keys,
        milestone_threshold: *threshold.get_ref(),
        genesis_address: genesis_address(checker, network)?,
        base_token: token.clone(),
    })
}

/// Where a new node learns of it.
pub(super) fn join(checker: &Checker<'_>, network: &RawNetwork) -> Result<Option<Join>, Error> {
    let Some(text) = &network.join else { return Ok(None) };
    match text.get_ref().as_str() {
        "lan" => Ok(Some(Join::Lan)),
        address => PeerAddress::parse(address).map(|peer| Some(Join::Peer(peer))).map_err(|fix| {
            let problem = format!("{address:?} is neither \"lan\" nor the address of a node");
            checker.error("network.join", text, problem, fix)
        }),
    }
}

fn genesis_address(checker: &Checker<'_>, network: &RawNetwork) -> Result<Option<Address>, Error> {
    let Some(text) = &network.genesis_address else { return Ok(None) };
    let hrp = network.bech32_hrp.get_ref();
    let parsed = Address::from_bech32(hrp, text.get_ref()).map_err(|_| {
        let fix = format!("write a bech32 address that begins with {hrp}1, or leave the key out");
        checker.error("network.genesis_address", text, format!("{:?} is no address", text.get_ref()), &fix)
    });
    parsed.map(Some)
}

fn milestone_keys(checker: &Checker<'_>, network: &RawNetwork) -> Result<Vec<MilestoneKey>, Error> {
    let parse = |raw: &RawMilestoneKey| {
        let key = &raw.public_key;
        let public_key = checker.bytes_32("network.milestone_keys.public_key", key, "not a 32-byte key")?;
        if raw.end != 0 && raw.end < raw.start {
            let problem = format!("applies from {} to {}", raw.start, raw.end);
            let fix = "write an end that is not before the start, or 0 for ever";
            return Err(checker.error("network.milestone_keys.end", key, problem, fix));
        }
        Ok(MilestoneKey { public_key, start: raw.start, end: raw.end })
    };
    network.milestone_keys.get_ref().iter().map(parse).collect()
}
