//! Outputs (TIP-18): what the ledger is made of.
//!
//! A value of these types satisfies what can be said of its bytes alone: order, types, lengths. What depends on the
//! network's parameters or on other outputs is not checked here.

pub mod condition;
pub mod feature;
pub mod token;

use primitive_types::U256;

use super::address::{self, Address};
use super::id::{AliasId, NftId, OutputId, TokenId};
use super::pack::{Reader, Writer, check_range};
use super::{Error, blake2b_256};
use condition::{Condition, Conditions};
use feature::{Features, MAX_METADATA_BYTES};
use token::NativeTokens;

/// Most outputs, and most inputs, of a transaction.
pub const MAX_OUTPUTS: usize = 128;

/// Fields that stand in front of every output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Base tokens.
    pub amount: u64,
    /// Native tokens.
    pub native_tokens: NativeTokens,
}

/// Type 3: value with conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic {
    /// What it holds.
    pub value: Value,
    /// Types 0 to 3; 0 is there.
    pub conditions: Conditions,
    /// Types 0, 2, 3.
    pub features: Features,
}

/// Type 4: an account with a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// What it holds.
    pub value: Value,
    /// Zero in the output that creates it.
    pub id: AliasId,
    /// Counts state transitions.
    pub state_index: u32,
    /// At most 8,192 bytes.
    pub state_metadata: Vec<u8>,
    /// Foundries that it ever had.
    pub foundry_counter: u32,
    /// Types 4 and 5.
    pub conditions: Conditions,
    /// Types 0, 2.
    pub features: Features,
    /// Types 1, 2.
    pub immutable_features: Features,
}

/// Type 5: controls a native token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foundry {
    /// What it holds.
    pub value: Value,
    /// Number among the foundries of its alias.
    pub serial: u32,
    /// Supply of the token.
    pub scheme: TokenScheme,
    /// Type 6.
    pub conditions: Conditions,
    /// Type 2.
    pub features: Features,
    /// Type 2.
    pub immutable_features: Features,
}

/// Simple token scheme, type 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenScheme {
    /// Minted ever.
    pub minted: U256,
    /// Melted ever.
    pub melted: U256,
    /// Most that may be in circulation.
    pub maximum: U256,
}

/// Type 6: something that exists once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nft {
    /// What it holds.
    pub value: Value,
    /// Zero in the output that creates it.
    pub id: NftId,
    /// Types 0 to 3; 0 is there.
    pub conditions: Conditions,
    /// Types 0, 2, 3.
    pub features: Features,
    /// Types 1, 2.
    pub immutable_features: Features,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Type 3.
    Basic(Basic),
    /// Type 4.
    Alias(Alias),
    /// Type 5.
    Foundry(Foundry),
    /// Type 6.
    Nft(Nft),
}

/// Type numbers that each part of each output must have or may have.
pub(super) mod kinds {
    pub(in crate::protocol) const OWNED: (&[u8], &[u8]) = (&[0], &[0, 1, 2, 3]);
    pub(in crate::protocol) const ALIAS: (&[u8], &[u8]) = (&[4, 5], &[4, 5]);
    pub(in crate::protocol) const FOUNDRY: (&[u8], &[u8]) = (&[6], &[6]);
    pub(in crate::protocol) const OWNED_FEATURES: &[u8] = &[0, 2, 3];
    pub(in crate::protocol) const ALIAS_FEATURES: &[u8] = &[0, 2];
    pub(in crate::protocol) const FOUNDRY_FEATURES: &[u8] = &[2];
    pub(in crate::protocol) const IMMUTABLE: &[u8] = &[1, 2];
}

impl Output {
    /// Type number on the wire and in JSON.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Basic(_) => 3,
            Self::Alias(_) => 4,
            Self::Foundry(_) => 5,
            Self::Nft(_) => 6,
        }
    }

    /// What it holds.
    pub fn value(&self) -> &Value {
        match self {
            Self::Basic(output) => &output.value,
            Self::Alias(output) => &output.value,
            Self::Foundry(output) => &output.value,
            Self::Nft(output) => &output.value,
        }
    }

    /// Its conditions.
    pub fn conditions(&self) -> &Conditions {
        match self {
            Self::Basic(output) => &output.conditions,
            Self::Alias(output) => &output.conditions,
            Self::Foundry(output) => &output.conditions,
            Self::Nft(output) => &output.conditions,
        }
    }

    /// Its features; not the immutable ones.
    pub fn features(&self) -> &Features {
        match self {
            Self::Basic(output) => &output.features,
            Self::Alias(output) => &output.features,
            Self::Foundry(output) => &output.features,
            Self::Nft(output) => &output.features,
        }
    }

    /// Reads type and content.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        match reader.u8("outputs type")? {
            3 => Ok(Self::Basic(Basic {
                value: Value::parse(reader)?,
                conditions: Conditions::parse(reader, kinds::OWNED.0, kinds::OWNED.1)?,
                features: Features::parse(reader, "features", kinds::OWNED_FEATURES)?,
            })),
            4 => Ok(Self::Alias(Alias {
                value: Value::parse(reader)?,
                id: AliasId(reader.array("aliasId")?),
                state_index: reader.u32("stateIndex")?,
                state_metadata: {
                    let length = reader.u16("stateMetadata length")?;
                    check_range("stateMetadata length", length.into(), 0, MAX_METADATA_BYTES as u64)?;
                    reader.bytes("stateMetadata", length.into())?.to_vec()
                },
                foundry_counter: reader.u32("foundryCounter")?,
                conditions: Conditions::parse(reader, kinds::ALIAS.0, kinds::ALIAS.1)?,
                features: Features::parse(reader, "features", kinds::ALIAS_FEATURES)?,
                immutable_features: Features::parse(reader, "immutableFeatures", kinds::IMMUTABLE)?,
            })),
            5 => Ok(Self::Foundry(Foundry {
                value: Value::parse(reader)?,
                serial: reader.u32("serialNumber")?,
                scheme: TokenScheme::parse(reader)?,
                conditions: Conditions::parse(reader, kinds::FOUNDRY.0, kinds::FOUNDRY.1)?,
                features: Features::parse(reader, "features", kinds::FOUNDRY_FEATURES)?,
                immutable_features: Features::parse(reader, "immutableFeatures", kinds::FOUNDRY_FEATURES)?,
            })),
            6 => Ok(Self::Nft(Nft {
                value: Value::parse(reader)?,
                id: NftId(reader.array("nftId")?),
                conditions: Conditions::parse(reader, kinds::OWNED.0, kinds::OWNED.1)?,
                features: Features::parse(reader, "features", kinds::OWNED_FEATURES)?,
                immutable_features: Features::parse(reader, "immutableFeatures", kinds::IMMUTABLE)?,
            })),
            kind => Err(Error::UnknownKind { field: "outputs type", kind: kind.into() }),
        }
    }

    /// Appends type and content.
    pub fn pack(&self, writer: &mut Writer) {
        writer.u8(self.kind());
        self.value().pack(writer);
        match self {
            Self::Basic(output) => {
                output.conditions.pack(writer);
                output.features.pack(writer);
            }
            Self::Alias(output) => {
                writer.bytes(&output.id.0).u32(output.state_index);
                writer.count_u16(output.state_metadata.len()).bytes(&output.state_metadata);
                writer.u32(output.foundry_counter);
                output.conditions.pack(writer);
                output.features.pack(writer);
                output.immutable_features.pack(writer);
            }
            Self::Foundry(output) => {
                writer.u32(output.serial);
                output.scheme.pack(writer);
                output.conditions.pack(writer);
                output.features.pack(writer);
                output.immutable_features.pack(writer);
            }
            Self::Nft(output) => {
                writer.bytes(&output.id.0);
                output.conditions.pack(writer);
                output.features.pack(writer);
                output.immutable_features.pack(writer);
            }
        }
    }

    /// The binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.pack(&mut writer);
        writer.into_bytes()
    }
}

impl Value {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self { amount: reader.u64("amount")?, native_tokens: NativeTokens::parse(reader)? })
    }

    fn pack(&self, writer: &mut Writer) {
        writer.u64(self.amount);
        self.native_tokens.pack(writer);
    }
}

impl TokenScheme {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.expect_u8("tokenScheme type", 0)?;
        Ok(Self {
            minted: reader.u256("mintedTokens")?,
            melted: reader.u256("meltedTokens")?,
            maximum: reader.u256("maximumSupply")?,
        })
    }

    fn pack(&self, writer: &mut Writer) {
        writer.u8(0).u256(&self.minted).u256(&self.melted).u256(&self.maximum);
    }
}

impl Alias {
    /// Who may change its state.
    ///
    /// # Panics
    /// Never: [`Conditions`] of an alias have it.
    pub fn state_controller(&self) -> Address {
        match self.conditions.as_slice() {
            [Condition::StateController(address), _] => *address,
            other => unreachable!("an alias with {other:?}"),
        }
    }

    /// Who may change its controllers, or destroy it.
    ///
    /// # Panics
    /// Never: [`Conditions`] of an alias have it.
    pub fn governor(&self) -> Address {
        match self.conditions.as_slice() {
            [_, Condition::Governor(address)] => *address,
            other => unreachable!("an alias with {other:?}"),
        }
    }

    /// Its id, also in the output that creates it.
    pub fn id_in(&self, output: &OutputId) -> AliasId {
        if self.id == AliasId::ZERO { AliasId(blake2b_256(&output.pack())) } else { self.id }
    }
}

impl Nft {
    /// Its id, also in the output that creates it.
    pub fn id_in(&self, output: &OutputId) -> NftId {
        if self.id == NftId::ZERO { NftId(blake2b_256(&output.pack())) } else { self.id }
    }
}

impl Foundry {
    /// The alias that it belongs to.
    ///
    /// # Panics
    /// Never: [`Conditions`] of a foundry have it.
    pub fn alias(&self) -> AliasId {
        match self.conditions.as_slice() {
            [Condition::ImmutableAlias(id)] => *id,
            other => unreachable!("a foundry with {other:?}"),
        }
    }

    /// Its id and that of its token.
    pub fn id(&self) -> TokenId {
        let mut bytes = [0; 38];
        bytes[0] = address::ALIAS;
        bytes[1..33].copy_from_slice(&self.alias().0);
        bytes[33..37].copy_from_slice(&self.serial.to_le_bytes());
        // The last byte is the kind of its token scheme, 0.
        TokenId(bytes)
    }
}
