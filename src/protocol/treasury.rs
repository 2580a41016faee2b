//! Receipts and the treasury (TIP-34): funds that came from the legacy network.

use super::address::Address;
use super::id::MilestoneId;
use super::pack::{Reader, Writer, check_ascending, check_range};
use super::{Error, address};

/// Payload type number of a treasury transaction.
pub const KIND: u32 = 4;

/// Most entries of a receipt.
const MAX_FUNDS: u64 = 127;

/// Least amount that was migrated at once.
pub const MIN_MIGRATED: u64 = 1_000_000;

/// What the treasury holds after a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreasuryTransaction {
    /// Milestone that made the treasury output it spends.
    pub input: MilestoneId,
    /// Base tokens that are left.
    pub amount: u64,
}

/// Funds that arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigratedFunds {
    /// Hash of the legacy bundle's tail, as 49 bytes (T5B1).
    pub tail_transaction_hash: [u8; 49],
    /// Hash of the public key that owns them.
    pub address: [u8; 32],
    /// Base tokens.
    pub amount: u64,
}

/// Milestone option of type 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Legacy milestone at which the funds were migrated.
    pub migrated_at: u32,
    /// Whether that milestone has no more of them.
    pub is_final: bool,
    // Invariant: 1 to 127, ascending by binary form, none twice.
    funds: Vec<MigratedFunds>,
    /// Where the funds come from.
    pub transaction: TreasuryTransaction,
}

impl TreasuryTransaction {
    /// Reads what follows the payload's type.
    ///
    /// # Errors
    /// [`Error::UnknownKind`], [`Error::UnexpectedEnd`].
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.expect_u8("treasury input type", 1)?;
        let input = MilestoneId(reader.array("treasury input milestoneId")?);
        reader.expect_u8("treasury output type", 2)?;
        Ok(Self { input, amount: reader.u64("treasury output amount")? })
    }

    /// Appends the payload with its type.
    pub fn pack(&self, writer: &mut Writer) {
        writer.u32(KIND).u8(1).bytes(&self.input.0).u8(2).u64(self.amount);
    }
}

impl MigratedFunds {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let tail_transaction_hash = reader.array("receipt funds tailTransactionHash")?;
        let address = match Address::parse(reader, "receipt funds address")? {
            Address::Ed25519(hash) => hash,
            Address::Alias(_) | Address::Nft(_) => {
                return Err(Error::Malformed {
                    field: "receipt funds address",
                    expected: "an Ed25519 address",
                });
            }
        };
        Ok(Self { tail_transaction_hash, address, amount: reader.u64("receipt funds deposit")? })
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.bytes(&self.tail_transaction_hash).u8(address::ED25519).bytes(&self.address).u64(self.amount);
        writer.into_bytes()
    }
}

impl Receipt {
    /// Joins its parts; `funds` in order.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for none or more than 127 entries, [`Error::NotSorted`].
    pub fn new(
        migrated_at: u32,
        is_final: bool,
        funds: Vec<MigratedFunds>,
        transaction: TreasuryTransaction,
    ) -> Result<Self, Error> {
        check_range("receipt funds count", funds.len() as u64, 1, MAX_FUNDS)?;
        let sorted = funds.iter().map(|entry| entry.to_bytes()).collect::<Vec<_>>();
        // TIP-34: > funds must be in lexicographical sort order of their serialized form, each once
        check_ascending("receipt funds", &sorted)?;
        Ok(Self { migrated_at, is_final, funds, transaction })
    }

    /// Ascending by binary form.
    pub fn funds(&self) -> &[MigratedFunds] {
        &self.funds
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let migrated_at = reader.u32("receipt migratedAt")?;
        let is_final = match reader.u8("receipt final")? {
            0 => false,
            1 => true,
            value => {
                return Err(Error::OutOfRange {
                    field: "receipt final",
                    value: value.into(),
                    min: 0,
                    max: 1,
                });
            }
        };
        let count = reader.u16("receipt funds count")?;
        check_range("receipt funds count", count.into(), 1, MAX_FUNDS)?;
        let funds = (0..count).map(|_| MigratedFunds::parse(reader)).collect::<Result<Vec<_>, _>>()?;
        let length = reader.u32("receipt transaction length")? as usize;
        let mut inner = Reader::new(reader.bytes("receipt transaction", length)?);
        let kind = inner.u32("receipt transaction type")?;
        if kind != KIND {
            return Err(Error::UnknownKind { field: "receipt transaction", kind });
        }
        let transaction = TreasuryTransaction::parse(&mut inner)?;
        inner.finish("receipt transaction")?;
        Self::new(migrated_at, is_final, funds, transaction)
    }

    pub(super) fn pack(&self, writer: &mut Writer) {
        writer.u32(self.migrated_at).u8(self.is_final.into()).count_u16(self.funds.len());
        for entry in &self.funds {
            writer.bytes(&entry.to_bytes());
        }
        let mut transaction = Writer::default();
        self.transaction.pack(&mut transaction);
        let transaction = transaction.into_bytes();
        writer.count_u32(transaction.len()).bytes(&transaction);
    }
}
