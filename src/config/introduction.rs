//! What a node tells another one that wants to join its network: `[network]` and `[token]` of a configuration, as text.

use std::fmt::Write;

use super::{Config, Error, MilestoneKey, Network};
use crate::protocol::hex;

/// Longest text that is taken from another node.
pub const MAX_BYTES: usize = 64 << 10;

impl Network {
    /// The text; `milestone_keys` are those that hold in truth, also on a founder, whose configuration names none.
    pub fn introduction(&self, milestone_keys: &[MilestoneKey]) -> String {
        let (params, token) = (&self.params, &self.base_token);
        let mut text = format!(
            "[network]\nname = {}\nbech32_hrp = {}\nmin_pow_score = {}\nbelow_max_depth = {}\nv_byte_cost = {}\n\
             v_byte_factor_data = {}\nv_byte_factor_key = {}\ntoken_supply = \"{}\"\nmilestone_threshold = {}\n",
            quoted(&params.network_name),
            quoted(&params.bech32_hrp),
            params.min_pow_score,
            params.below_max_depth,
            params.rent.v_byte_cost,
            params.rent.v_byte_factor_data,
            params.rent.v_byte_factor_key,
            params.token_supply,
            self.milestone_threshold,
        );
        let keys = milestone_keys.iter().map(|key| {
            let public_key = hex::encode(&key.public_key);
            format!("{{ public_key = \"{public_key}\", start = {}, end = {} }}", key.start, key.end)
        });
        // Text is written to memory: that cannot fail.
        let _ = writeln!(text, "milestone_keys = [{}]", keys.collect::<Vec<_>>().join(", "));
        if let Some(owner) = self.genesis_address {
            let _ = writeln!(text, "genesis_address = \"{}\"", owner.to_bech32(&params.bech32_hrp));
        }
        let _ = write!(
            text,
            "[token]\nname = {}\nticker_symbol = {}\nunit = {}\nsubunit = {}\ndecimals = {}\nuse_metric_prefix = {}\n",
            quoted(&token.name),
            quoted(&token.ticker_symbol),
            quoted(&token.unit),
            quoted(&token.subunit),
            token.decimals,
            token.use_metric_prefix,
        );
        text
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            // Text is written to memory: that cannot fail.
            letter if letter.is_control() => drop(write!(out, "\\u{:04X}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out + "\""
}

impl Config {
    /// The same in another node's network: it issues no milestones.
    ///
    /// # Errors
    /// The text is no introduction.
    pub fn introduced(mut self, text: &str) -> Result<Self, Error> {
        let other = Self::parse(text)?;
        self.network = other.network;
        self.coordinator.enabled = false;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, MilestoneKey};
    use crate::protocol::address::Address;

    #[test]
    fn what_is_told_of_a_network_is_what_is_understood() {
        let owner = Address::Ed25519([5; 32]).to_bech32("abc");
        let founder = Config::parse(&format!(
            "[coordinator]\nenabled = true\n[network]\nname = \"a \\\"b\\\" \\u007f \\\\ \\n ä\"\nbech32_hrp = \"abc\"\n\
             min_pow_score = 7\nbelow_max_depth = 9\nv_byte_cost = 3\ntoken_supply = \"12345\"\n\
             genesis_address = \"{owner}\"\n\
             [token]\nname = \"x\"\ndecimals = 3\n[storage]\nkeep_milestones = 200\n",
        ));
        let founder = match founder {
            Ok(founder) => founder,
            Err(error) => panic!("{error}"),
        };
        let keys = [MilestoneKey { public_key: [7; 32], start: 3, end: 0 }];
        let text = founder.network.introduction(&keys);
        let own = Config::parse("[coordinator]\nenabled = true\n[pow]\nenabled = true\n").unwrap();
        let joined = own.introduced(&text).unwrap();
        let mut expected = founder.network;
        expected.milestone_keys = keys.to_vec();
        assert_eq!(joined.network, expected);
        assert!(joined.pow.enabled && !joined.coordinator.enabled);
        assert!(joined.introduced("[network]\nname = \"keys are missing\"\n").is_err());
    }
}
