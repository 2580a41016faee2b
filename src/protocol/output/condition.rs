//! Unlock conditions (TIP-18): what has to hold for an output to be spent.

use crate::protocol::Error;
use crate::protocol::address::Address;
use crate::protocol::id::AliasId;
use crate::protocol::pack::{Reader, Writer, check_ascending};

/// Where conditions stand in an output, in messages.
const FIELD: &str = "unlockConditions";

/// One condition; the variants stand in the order of their type numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Type 0: its owner.
    Address(Address),
    /// Type 1: whoever spends it returns so much to the address.
    StorageDepositReturn {
        /// To whom.
        address: Address,
        /// Base tokens.
        amount: u64,
    },
    /// Type 2: not before that time, in Unix seconds.
    Timelock(u32),
    /// Type 3: from that time on it belongs to the address.
    Expiration {
        /// Who owns it then.
        address: Address,
        /// Unix seconds.
        time: u32,
    },
    /// Type 4: who may change an alias' state.
    StateController(Address),
    /// Type 5: who may change an alias' controllers, or destroy it.
    Governor(Address),
    /// Type 6: the alias that a foundry belongs to for ever.
    ImmutableAlias(AliasId),
}

impl Condition {
    /// Its type number.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Address(_) => 0,
            Self::StorageDepositReturn { .. } => 1,
            Self::Timelock(_) => 2,
            Self::Expiration { .. } => 3,
            Self::StateController(_) => 4,
            Self::Governor(_) => 5,
            Self::ImmutableAlias(_) => 6,
        }
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(match reader.u8("unlockConditions type")? {
            0 => Self::Address(Address::parse(reader, "unlockConditions address")?),
            1 => Self::StorageDepositReturn {
                address: Address::parse(reader, "unlockConditions returnAddress")?,
                amount: reader.u64("unlockConditions amount")?,
            },
            2 => Self::Timelock(reader.u32("unlockConditions unixTime")?),
            3 => Self::Expiration {
                address: Address::parse(reader, "unlockConditions returnAddress")?,
                time: reader.u32("unlockConditions unixTime")?,
            },
            4 => Self::StateController(Address::parse(reader, "unlockConditions address")?),
            5 => Self::Governor(Address::parse(reader, "unlockConditions address")?),
            6 => match Address::parse(reader, "unlockConditions address")? {
                Address::Alias(id) => Self::ImmutableAlias(id),
                Address::Ed25519(_) | Address::Nft(_) => {
                    return Err(Error::Malformed { field: FIELD, expected: "the address of an alias" });
                }
            },
            kind => return Err(Error::UnknownKind { field: FIELD, kind: kind.into() }),
        })
    }

    fn pack(&self, writer: &mut Writer) {
        writer.u8(self.kind());
        match self {
            Self::Address(address) | Self::StateController(address) | Self::Governor(address) => {
                address.pack(writer);
            }
            Self::StorageDepositReturn { address, amount } => {
                address.pack(writer);
                writer.u64(*amount);
            }
            Self::Timelock(time) => {
                writer.u32(*time);
            }
            Self::Expiration { address, time } => {
                address.pack(writer);
                writer.u32(*time);
            }
            Self::ImmutableAlias(id) => Address::Alias(*id).pack(writer),
        }
    }
}

/// The conditions of an output, ascending by type, none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// Takes conditions in order; `required` and `allowed` are type numbers.
    ///
    /// # Errors
    /// [`Error::NotSorted`], [`Error::UnknownKind`] for one that this output may not have, [`Error::Malformed`] when one
    /// that it must have is missing.
    pub fn new(list: Vec<Condition>, required: &[u8], allowed: &[u8]) -> Result<Self, Error> {
        let kinds = list.iter().map(Condition::kind).collect::<Vec<_>>();
        // TIP-18: > unlock conditions must be sorted in ascending order based on their type, each at most once
        check_ascending(FIELD, &kinds)?;
        if let Some(kind) = kinds.iter().find(|kind| !allowed.contains(kind)) {
            return Err(Error::UnknownKind { field: FIELD, kind: u32::from(*kind) });
        }
        if required.iter().any(|kind| !kinds.contains(kind)) {
            return Err(Error::Malformed {
                field: FIELD,
                expected: "every condition that this output must have",
            });
        }
        Ok(Self(list))
    }

    pub(super) fn parse(reader: &mut Reader<'_>, required: &[u8], allowed: &[u8]) -> Result<Self, Error> {
        let count = reader.u8("unlockConditions count")?;
        let list = (0..count).map(|_| Condition::parse(reader)).collect::<Result<Vec<_>, _>>()?;
        Self::new(list, required, allowed)
    }

    pub(super) fn pack(&self, writer: &mut Writer) {
        writer.count_u8(self.0.len());
        self.0.iter().for_each(|condition| condition.pack(writer));
    }

    /// In ascending order.
    pub fn as_slice(&self) -> &[Condition] {
        &self.0
    }

    /// The owner of type 0, of an output that must have one.
    ///
    /// # Panics
    /// For those of an alias or a foundry.
    pub fn owner(&self) -> Address {
        self.address().expect("basic outputs and NFTs have an address")
    }

    /// The owner of type 0.
    pub fn address(&self) -> Option<Address> {
        self.0.iter().find_map(|condition| match condition {
            Condition::Address(address) => Some(*address),
            Condition::StorageDepositReturn { .. }
            | Condition::Timelock(_)
            | Condition::Expiration { .. }
            | Condition::StateController(_)
            | Condition::Governor(_)
            | Condition::ImmutableAlias(_) => None,
        })
    }
}
