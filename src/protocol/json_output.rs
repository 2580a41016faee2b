//! Outputs as TIP-25 JSON: amounts of base tokens as decimal strings, of native tokens as hex without leading zeros.

use std::marker::PhantomData;

use primitive_types::U256;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::address::{self, Address};
use super::id::{AliasId, NftId, TokenId};
use super::output::condition::{Condition, Conditions};
use super::output::feature::{Feature, Features, MAX_METADATA_BYTES};
use super::output::token::{NativeToken, NativeTokens};
use super::output::{Alias, Basic, Foundry, Nft, Output, TokenScheme, Value, kinds};
use super::pack::check_range;
use super::{Error, hex};

/// An output: one flat object, told apart by `type`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutputJson {
    /// 3 to 6.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Decimal string.
    pub amount: String,
    /// Left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub native_tokens: Vec<NativeTokenJson>,
    /// Of an alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias_id: Option<String>,
    /// Of an alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_index: Option<u32>,
    /// Of an alias; left out when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state_metadata: String,
    /// Of an alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foundry_counter: Option<u32>,
    /// Of an NFT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nft_id: Option<String>,
    /// Of a foundry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<u32>,
    /// Of a foundry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_scheme: Option<TokenSchemeJson>,
    /// Every output has some.
    #[serde(deserialize_with = "at_most::<_, _, 8>")]
    pub unlock_conditions: Vec<ConditionJson>,
    /// Left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "at_most::<_, _, 5>")]
    pub features: Vec<FeatureJson>,
    /// Left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "at_most::<_, _, 5>")]
    pub immutable_features: Vec<FeatureJson>,
}

/// An amount of a native token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NativeTokenJson {
    /// Hex, 38 bytes.
    pub id: String,
    /// Hex number.
    pub amount: String,
}

/// Simple token scheme (type 0).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenSchemeJson {
    /// 0.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Hex number.
    pub minted_tokens: String,
    /// Hex number.
    pub melted_tokens: String,
    /// Hex number.
    pub maximum_supply: String,
}

/// An unlock condition.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConditionJson {
    /// 0 to 6.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Of types 0, 4, 5, 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<AddressJson>,
    /// Of types 1, 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_address: Option<AddressJson>,
    /// Of type 1, decimal string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Of types 2, 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix_time: Option<u32>,
}

/// A feature.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FeatureJson {
    /// 0 to 3.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Of types 0, 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<AddressJson>,
    /// Of type 2, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Of type 3, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// An address.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AddressJson {
    /// 0, 8 or 16.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Of type 0, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pub_key_hash: Option<String>,
    /// Of type 8, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias_id: Option<String>,
    /// Of type 16, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nft_id: Option<String>,
}

/// Reads a list of at most `MOST` entries, one more than are ever valid: entries may be left empty, and a short text must
/// not become a large value.
pub(super) fn at_most<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct List<T, const MOST: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for List<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(formatter, "a list of at most {MOST} entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(entry) = entries.next_element()? {
                if list.len() == MOST {
                    return Err(serde::de::Error::invalid_length(MOST + 1, &self));
                }
                list.push(entry);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(List::<T, MOST>(PhantomData))
}

fn missing(field: &'static str) -> Error {
    Error::Malformed { field, expected: "a value for this type" }
}

/// Base tokens: a decimal string.
pub(super) fn amount(field: &'static str, text: &str) -> Result<u64, Error> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or(Error::Malformed { field, expected: "a 64-bit number as decimal string" })
}

/// Native tokens: `0x` and up to 64 digits.
fn tokens(field: &'static str, text: &str) -> Result<U256, Error> {
    let malformed = Error::Malformed { field, expected: "a 256-bit number as hex with the prefix 0x" };
    let digits = text.strip_prefix("0x").filter(|digits| (1..=64).contains(&digits.len()));
    let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    digits.and_then(|digits| U256::from_str_radix(digits, 16).ok()).ok_or(malformed)
}

fn tokens_text(amount: &U256) -> String {
    format!("{amount:#x}")
}

impl AddressJson {
    /// The JSON form of an address.
    pub fn from_address(address: &Address) -> Self {
        match address {
            Address::Ed25519(hash) => {
                Self { kind: address::ED25519, pub_key_hash: Some(hex::encode(hash)), ..Self::default() }
            }
            Address::Alias(id) => {
                Self { kind: address::ALIAS, alias_id: Some(id.to_string()), ..Self::default() }
            }
            Address::Nft(id) => Self { kind: address::NFT, nft_id: Some(id.to_string()), ..Self::default() },
        }
    }

    /// The address.
    ///
    /// # Errors
    /// [`Error`] with the JSON field's name.
    pub fn to_address(&self) -> Result<Address, Error> {
        let text = |field, text: &Option<String>| match text {
            Some(text) => hex::decode_array(field, text),
            None => Err(missing(field)),
        };
        match self.kind {
            address::ED25519 => Ok(Address::Ed25519(text("address.pubKeyHash", &self.pub_key_hash)?)),
            address::ALIAS => Ok(Address::Alias(AliasId(text("address.aliasId", &self.alias_id)?))),
            address::NFT => Ok(Address::Nft(NftId(text("address.nftId", &self.nft_id)?))),
            kind => Err(Error::UnknownKind { field: "address.type", kind: kind.into() }),
        }
    }
}

impl ConditionJson {
    fn from_condition(condition: &Condition) -> Self {
        let base = Self { kind: condition.kind(), ..Self::default() };
        let json = |address: &Address| Some(AddressJson::from_address(address));
        match condition {
            Condition::Address(address)
            | Condition::StateController(address)
            | Condition::Governor(address) => Self { address: json(address), ..base },
            Condition::StorageDepositReturn { address, amount } => {
                Self { return_address: json(address), amount: Some(amount.to_string()), ..base }
            }
            Condition::Timelock(time) => Self { unix_time: Some(*time), ..base },
            Condition::Expiration { address, time } => {
                Self { return_address: json(address), unix_time: Some(*time), ..base }
            }
            Condition::ImmutableAlias(id) => Self { address: json(&Address::Alias(*id)), ..base },
        }
    }

    fn to_condition(&self) -> Result<Condition, Error> {
        let address = |json: &Option<AddressJson>| match json {
            Some(json) => json.to_address(),
            None => Err(missing("unlockConditions address")),
        };
        let time = || self.unix_time.ok_or(missing("unlockConditions unixTime"));
        Ok(match self.kind {
            0 => Condition::Address(address(&self.address)?),
            1 => Condition::StorageDepositReturn {
                address: address(&self.return_address)?,
                amount: amount("unlockConditions amount", self.amount.as_deref().unwrap_or_default())?,
            },
            2 => Condition::Timelock(time()?),
            3 => Condition::Expiration { address: address(&self.return_address)?, time: time()? },
            4 => Condition::StateController(address(&self.address)?),
            5 => Condition::Governor(address(&self.address)?),
            6 => match address(&self.address)? {
                Address::Alias(id) => Condition::ImmutableAlias(id),
                Address::Ed25519(_) | Address::Nft(_) => return Err(missing("unlockConditions aliasId")),
            },
            kind => return Err(Error::UnknownKind { field: "unlockConditions", kind: kind.into() }),
        })
    }
}

impl FeatureJson {
    fn from_feature(feature: &Feature) -> Self {
        let base = Self { kind: feature.kind(), ..Self::default() };
        match feature {
            Feature::Sender(address) | Feature::Issuer(address) => {
                Self { address: Some(AddressJson::from_address(address)), ..base }
            }
            Feature::Metadata(data) => Self { data: Some(hex::encode(data)), ..base },
            Feature::Tag(tag) => Self { tag: Some(hex::encode(tag)), ..base },
        }
    }

    fn to_feature(&self, field: &'static str) -> Result<Feature, Error> {
        let address = || self.address.as_ref().ok_or(missing(field))?.to_address();
        let bytes = |text: &Option<String>| hex::decode(field, text.as_ref().ok_or(missing(field))?);
        Ok(match self.kind {
            0 => Feature::Sender(address()?),
            1 => Feature::Issuer(address()?),
            2 => Feature::Metadata(bytes(&self.data)?),
            3 => Feature::Tag(bytes(&self.tag)?),
            kind => return Err(Error::UnknownKind { field, kind: kind.into() }),
        })
    }
}

fn features_json(features: &Features) -> Vec<FeatureJson> {
    features.as_slice().iter().map(FeatureJson::from_feature).collect()
}

fn features(field: &'static str, json: &[FeatureJson], allowed: &[u8]) -> Result<Features, Error> {
    let list = json.iter().map(|json| json.to_feature(field)).collect::<Result<_, _>>()?;
    Features::new(field, list, allowed)
}

impl OutputJson {
    /// The JSON form of an output.
    pub fn from_output(output: &Output) -> Self {
        let value = output.value();
        let token = |token: &NativeToken| NativeTokenJson {
            id: token.id.to_string(),
            amount: tokens_text(&token.amount),
        };
        let base = Self {
            kind: output.kind(),
            amount: value.amount.to_string(),
            native_tokens: value.native_tokens.as_slice().iter().map(token).collect(),
            unlock_conditions: output
                .conditions()
                .as_slice()
                .iter()
                .map(ConditionJson::from_condition)
                .collect(),
            ..Self::default()
        };
        match output {
            Output::Basic(output) => Self { features: features_json(&output.features), ..base },
            Output::Alias(output) => Self {
                alias_id: Some(output.id.to_string()),
                state_index: Some(output.state_index),
                state_metadata: match output.state_metadata.as_slice() {
                    [] => String::new(),
                    bytes => hex::encode(bytes),
                },
                foundry_counter: Some(output.foundry_counter),
                features: features_json(&output.features),
                immutable_features: features_json(&output.immutable_features),
                ..base
            },
            Output::Foundry(output) => Self {
                serial_number: Some(output.serial),
                token_scheme: Some(TokenSchemeJson {
                    kind: 0,
                    minted_tokens: tokens_text(&output.scheme.minted),
                    melted_tokens: tokens_text(&output.scheme.melted),
                    maximum_supply: tokens_text(&output.scheme.maximum),
                }),
                features: features_json(&output.features),
                immutable_features: features_json(&output.immutable_features),
                ..base
            },
            Output::Nft(output) => Self {
                nft_id: Some(output.id.to_string()),
                features: features_json(&output.features),
                immutable_features: features_json(&output.immutable_features),
                ..base
            },
        }
    }

    /// The output.
    ///
    /// # Errors
    /// [`Error`] with the JSON field's name.
    pub fn to_output(&self) -> Result<Output, Error> {
        let token = |json: &NativeTokenJson| {
            let id = TokenId::from_hex("nativeTokens id", &json.id)?;
            Ok(NativeToken { id, amount: tokens("nativeTokens amount", &json.amount)? })
        };
        let native_tokens = self.native_tokens.iter().map(token).collect::<Result<_, Error>>()?;
        let value = Value {
            amount: amount("amount", &self.amount)?,
            native_tokens: NativeTokens::new(native_tokens)?,
        };
        let conditions = |(required, allowed): (&[u8], &[u8])| {
            let list =
                self.unlock_conditions.iter().map(ConditionJson::to_condition).collect::<Result<_, _>>()?;
            Conditions::new(list, required, allowed)
        };
        let features_of = |allowed: &[u8]| features("features", &self.features, allowed);
        let immutable = |allowed: &[u8]| features("immutableFeatures", &self.immutable_features, allowed);
        Ok(match self.kind {
            3 => Output::Basic(Basic {
                value,
                conditions: conditions(kinds::OWNED)?,
                features: features_of(kinds::OWNED_FEATURES)?,
            }),
            4 => Output::Alias(Alias {
                value,
                id: AliasId::from_hex(self.alias_id.as_deref().ok_or(missing("aliasId"))?)?,
                state_index: self.state_index.ok_or(missing("stateIndex"))?,
                state_metadata: match self.state_metadata.as_str() {
                    "" => Vec::new(),
                    text => {
                        let bytes = hex::decode("stateMetadata", text)?;
                        check_range(
                            "stateMetadata length",
                            bytes.len() as u64,
                            0,
                            MAX_METADATA_BYTES as u64,
                        )?;
                        bytes
                    }
                },
                foundry_counter: self.foundry_counter.ok_or(missing("foundryCounter"))?,
                conditions: conditions(kinds::ALIAS)?,
                features: features_of(kinds::ALIAS_FEATURES)?,
                immutable_features: immutable(kinds::IMMUTABLE)?,
            }),
            5 => Output::Foundry(Foundry {
                value,
                serial: self.serial_number.ok_or(missing("serialNumber"))?,
                scheme: self.token_scheme.as_ref().ok_or(missing("tokenScheme"))?.to_scheme()?,
                conditions: conditions(kinds::FOUNDRY)?,
                features: features_of(kinds::FOUNDRY_FEATURES)?,
                immutable_features: immutable(kinds::FOUNDRY_FEATURES)?,
            }),
            6 => Output::Nft(Nft {
                value,
                id: NftId::from_hex(self.nft_id.as_deref().ok_or(missing("nftId"))?)?,
                conditions: conditions(kinds::OWNED)?,
                features: features_of(kinds::OWNED_FEATURES)?,
                immutable_features: immutable(kinds::IMMUTABLE)?,
            }),
            kind => return Err(Error::UnknownKind { field: "outputs type", kind: kind.into() }),
        })
    }
}

impl TokenSchemeJson {
    fn to_scheme(&self) -> Result<TokenScheme, Error> {
        if self.kind != 0 {
            return Err(Error::UnknownKind { field: "tokenScheme type", kind: self.kind.into() });
        }
        Ok(TokenScheme {
            minted: tokens("mintedTokens", &self.minted_tokens)?,
            melted: tokens("meltedTokens", &self.melted_tokens)?,
            maximum: tokens("maximumSupply", &self.maximum_supply)?,
        })
    }
}
