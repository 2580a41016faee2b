//! Protocol parameters as JSON (TIP-25); HORNET's files spell some names differently, and both are read.

use serde::{Deserialize, Serialize};

use super::params::{ProtocolParameters, RentStructure};
use super::{Error, PROTOCOL_VERSION};

/// `protocol` of the info route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParametersJson {
    /// 2 for Stardust.
    pub version: u8,
    /// Name of the network.
    pub network_name: String,
    /// Prefix of addresses.
    #[serde(alias = "bech32HRP")]
    pub bech32_hrp: String,
    /// Least proof-of-work score.
    #[serde(alias = "minPoWScore")]
    pub min_pow_score: u32,
    /// Milestones after which a block is too deep.
    pub below_max_depth: u8,
    /// Storage deposit.
    pub rent_structure: RentJson,
    /// Base tokens, a string.
    pub token_supply: String,
}

/// Storage deposit (TIP-19).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RentJson {
    /// Base tokens per virtual byte.
    pub v_byte_cost: u32,
    /// Weight of data.
    pub v_byte_factor_data: u8,
    /// Weight of keys.
    pub v_byte_factor_key: u8,
}

impl ParametersJson {
    /// The JSON form.
    pub fn from_params(params: &ProtocolParameters) -> Self {
        Self {
            version: params.version,
            network_name: params.network_name.clone(),
            bech32_hrp: params.bech32_hrp.clone(),
            min_pow_score: params.min_pow_score,
            below_max_depth: params.below_max_depth,
            rent_structure: RentJson {
                v_byte_cost: params.rent.v_byte_cost,
                v_byte_factor_data: params.rent.v_byte_factor_data,
                v_byte_factor_key: params.rent.v_byte_factor_key,
            },
            token_supply: params.token_supply.to_string(),
        }
    }

    /// The parameters.
    ///
    /// # Errors
    /// [`Error::UnknownKind`] for a version that is not known, [`Error::OutOfRange`] for names that are too long,
    /// [`Error::Malformed`] for a supply that is no number.
    pub fn to_params(&self) -> Result<ProtocolParameters, Error> {
        if self.version != PROTOCOL_VERSION {
            return Err(Error::UnknownKind { field: "version", kind: self.version.into() });
        }
        for (field, text) in [("networkName", &self.network_name), ("bech32Hrp", &self.bech32_hrp)] {
            super::pack::check_range(field, text.len() as u64, 1, 255)?;
        }
        let malformed =
            Error::Malformed { field: "tokenSupply", expected: "a 64-bit number in quotation marks" };
        Ok(ProtocolParameters {
            version: self.version,
            network_name: self.network_name.clone(),
            bech32_hrp: self.bech32_hrp.clone(),
            min_pow_score: self.min_pow_score,
            below_max_depth: self.below_max_depth,
            rent: RentStructure {
                v_byte_cost: self.rent_structure.v_byte_cost,
                v_byte_factor_data: self.rent_structure.v_byte_factor_data,
                v_byte_factor_key: self.rent_structure.v_byte_factor_key,
            },
            token_supply: self.token_supply.parse().map_err(|_| malformed)?,
        })
    }
}
