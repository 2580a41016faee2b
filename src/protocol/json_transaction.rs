//! Transactions and milestone options as TIP-25 JSON.

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::id::{MilestoneId, MilestoneIndex, OutputId, TransactionId};
use super::json::{SignatureJson, TaggedDataJson};
use super::json_output::{AddressJson, OutputJson, amount, at_most};
use super::milestone::MilestoneOption;
use super::output::MAX_OUTPUTS;
use super::pack::check_range;
use super::transaction::{self, Essence, Transaction, Unlock};
use super::treasury::{self, MigratedFunds, Receipt, TreasuryTransaction};
use super::{Error, hex};

/// Transaction (type 6).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TransactionJson {
    /// 6.
    #[serde(rename = "type")]
    pub kind: u32,
    /// What is signed.
    pub essence: EssenceJson,
    /// One for each input.
    pub unlocks: Vec<UnlockJson>,
}

/// Essence (type 1).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EssenceJson {
    /// 1.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Decimal string.
    pub network_id: String,
    /// What it spends.
    pub inputs: Vec<InputJson>,
    /// Hex, 32 bytes.
    pub inputs_commitment: String,
    /// What it makes.
    #[serde(deserialize_with = "at_most::<_, _, 129>")]
    pub outputs: Vec<OutputJson>,
    /// Left out when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<TaggedDataJson>,
}

/// Input (type 0).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputJson {
    /// 0.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Hex, 32 bytes.
    pub transaction_id: String,
    /// Place among its outputs.
    pub transaction_output_index: u16,
}

/// Unlock (types 0 to 3).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnlockJson {
    /// 0 to 3.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Of type 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureJson>,
    /// Of types 1 to 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<u16>,
}

/// Milestone option (types 0 and 1).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OptionJson {
    /// 0 or 1.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Of a receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrated_at: Option<u32>,
    /// Of a receipt.
    #[serde(rename = "final", skip_serializing_if = "Option::is_none")]
    pub is_final: Option<bool>,
    /// Of a receipt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub funds: Vec<FundsJson>,
    /// Of a receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TreasuryJson>,
    /// Of parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_milestone_index: Option<u32>,
    /// Of parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<u8>,
    /// Of parameters, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<String>,
}

/// Migrated funds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FundsJson {
    /// Hex, 49 bytes.
    pub tail_transaction_hash: String,
    /// Of type 0.
    pub address: AddressJson,
    /// Decimal string.
    pub deposit: String,
}

/// Treasury transaction (type 4).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TreasuryJson {
    /// 4.
    #[serde(rename = "type")]
    pub kind: u32,
    /// Treasury input (type 1).
    pub input: TreasuryInputJson,
    /// Treasury output (type 2).
    pub output: TreasuryOutputJson,
}

/// Treasury input.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TreasuryInputJson {
    /// 1.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Hex, 32 bytes.
    pub milestone_id: String,
}

/// Treasury output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TreasuryOutputJson {
    /// 2.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Decimal string.
    pub amount: String,
}

fn expect(field: &'static str, kind: u32, expected: u32) -> Result<(), Error> {
    if kind == expected { Ok(()) } else { Err(Error::UnknownKind { field, kind }) }
}

fn missing(field: &'static str) -> Error {
    Error::Malformed { field, expected: "a value for this type" }
}

impl TransactionJson {
    /// The JSON form of a transaction.
    pub fn from_transaction(transaction: &Transaction) -> Self {
        let essence = &transaction.essence;
        let input = |id: &OutputId| InputJson {
            kind: 0,
            transaction_id: id.transaction.to_string(),
            transaction_output_index: id.index,
        };
        Self {
            kind: transaction::KIND,
            essence: EssenceJson {
                kind: 1,
                network_id: essence.network_id.to_string(),
                inputs: essence.inputs.iter().map(input).collect(),
                inputs_commitment: hex::encode(&essence.inputs_commitment),
                outputs: essence.outputs.iter().map(OutputJson::from_output).collect(),
                payload: essence.payload.as_ref().map(TaggedDataJson::from_data),
            },
            unlocks: transaction.unlocks.iter().map(UnlockJson::from_unlock).collect(),
        }
    }

    /// The transaction.
    ///
    /// # Errors
    /// [`Error`] with the JSON field's name.
    pub fn to_transaction(&self) -> Result<Transaction, Error> {
        expect("payload.type", self.kind, transaction::KIND)?;
        let json = &self.essence;
        expect("payload.essence type", json.kind.into(), 1)?;
        let most = MAX_OUTPUTS as u64;
        check_range("payload.essence inputs count", json.inputs.len() as u64, 1, most)?;
        check_range("payload.essence outputs count", json.outputs.len() as u64, 1, most)?;
        let inputs = json.inputs.len() as u64;
        check_range("payload.unlocks count", self.unlocks.len() as u64, inputs, inputs)?;
        let input = |json: &InputJson| {
            expect("payload.essence inputs type", json.kind.into(), 0)?;
            let index = json.transaction_output_index;
            check_range("payload.essence inputs transactionOutputIndex", index.into(), 0, most - 1)?;
            Ok(OutputId { transaction: TransactionId::from_hex(&json.transaction_id)?, index })
        };
        Ok(Transaction {
            essence: Essence {
                network_id: amount("payload.essence networkId", &json.network_id)?,
                inputs: json.inputs.iter().map(input).collect::<Result<_, Error>>()?,
                inputs_commitment: hex::decode_array(
                    "payload.essence inputsCommitment",
                    &json.inputs_commitment,
                )?,
                outputs: json.outputs.iter().map(OutputJson::to_output).collect::<Result<_, _>>()?,
                payload: json.payload.as_ref().map(TaggedDataJson::to_data).transpose()?,
            },
            unlocks: self.unlocks.iter().map(UnlockJson::to_unlock).collect::<Result<_, _>>()?,
        })
    }
}

impl UnlockJson {
    fn from_unlock(unlock: &Unlock) -> Self {
        let reference = |kind, at: &u16| Self { kind, signature: None, reference: Some(*at) };
        match unlock {
            Unlock::Signature { public_key, signature } => Self {
                kind: 0,
                signature: Some(SignatureJson {
                    kind: 0,
                    public_key: hex::encode(public_key),
                    signature: hex::encode(signature),
                }),
                reference: None,
            },
            Unlock::Reference(at) => reference(1, at),
            Unlock::Alias(at) => reference(2, at),
            Unlock::Nft(at) => reference(3, at),
        }
    }

    fn to_unlock(&self) -> Result<Unlock, Error> {
        let reference = || self.reference.ok_or(missing("payload.unlocks reference"));
        Ok(match self.kind {
            0 => {
                let json = self.signature.as_ref().ok_or(missing("payload.unlocks signature"))?;
                expect("payload.unlocks signature type", json.kind, 0)?;
                Unlock::Signature {
                    public_key: hex::decode_array("payload.unlocks publicKey", &json.public_key)?,
                    signature: hex::decode_array("payload.unlocks signature", &json.signature)?,
                }
            }
            1 => Unlock::Reference(reference()?),
            2 => Unlock::Alias(reference()?),
            3 => Unlock::Nft(reference()?),
            kind => return Err(Error::UnknownKind { field: "payload.unlocks", kind: kind.into() }),
        })
    }
}

impl OptionJson {
    /// The JSON form of a milestone option.
    pub fn from_option(option: &MilestoneOption) -> Self {
        let base = Self { kind: option.kind(), ..Self::default() };
        match option {
            MilestoneOption::Receipt(receipt) => Self {
                migrated_at: Some(receipt.migrated_at),
                is_final: Some(receipt.is_final),
                funds: receipt.funds().iter().map(FundsJson::from_funds).collect(),
                transaction: Some(TreasuryJson::from_transaction(&receipt.transaction)),
                ..base
            },
            MilestoneOption::Parameters { target, protocol_version, params } => Self {
                target_milestone_index: Some(target.0),
                protocol_version: Some(*protocol_version),
                params: Some(hex::encode(params)),
                ..base
            },
        }
    }

    /// The option.
    ///
    /// # Errors
    /// [`Error`] with the JSON field's name.
    pub fn to_option(&self) -> Result<MilestoneOption, Error> {
        Ok(match self.kind {
            0 => MilestoneOption::Receipt(Receipt::new(
                self.migrated_at.ok_or(missing("payload.options migratedAt"))?,
                self.is_final.unwrap_or(false),
                self.funds.iter().map(FundsJson::to_funds).collect::<Result<_, _>>()?,
                self.transaction.as_ref().ok_or(missing("payload.options transaction"))?.to_transaction()?,
            )?),
            1 => MilestoneOption::Parameters {
                target: MilestoneIndex(
                    self.target_milestone_index.ok_or(missing("payload.options targetMilestoneIndex"))?,
                ),
                protocol_version: self.protocol_version.ok_or(missing("payload.options protocolVersion"))?,
                params: hex::decode("payload.options params", self.params.as_deref().unwrap_or("0x"))?,
            },
            kind => return Err(Error::UnknownKind { field: "payload.options", kind: kind.into() }),
        })
    }
}

impl FundsJson {
    fn from_funds(funds: &MigratedFunds) -> Self {
        Self {
            tail_transaction_hash: hex::encode(&funds.tail_transaction_hash),
            address: AddressJson::from_address(&Address::Ed25519(funds.address)),
            deposit: funds.amount.to_string(),
        }
    }

    fn to_funds(&self) -> Result<MigratedFunds, Error> {
        let hash = hex::decode_array("receipt funds tailTransactionHash", &self.tail_transaction_hash)?;
        match self.address.to_address()? {
            Address::Ed25519(address) => Ok(MigratedFunds {
                tail_transaction_hash: hash,
                address,
                amount: amount("receipt funds deposit", &self.deposit)?,
            }),
            Address::Alias(_) | Address::Nft(_) => {
                Err(Error::Malformed { field: "receipt funds address", expected: "an Ed25519 address" })
            }
        }
    }
}

impl TreasuryJson {
    fn from_transaction(transaction: &TreasuryTransaction) -> Self {
        Self {
            kind: treasury::KIND,
            input: TreasuryInputJson { kind: 1, milestone_id: transaction.input.to_string() },
            output: TreasuryOutputJson { kind: 2, amount: transaction.amount.to_string() },
        }
    }

    fn to_transaction(&self) -> Result<TreasuryTransaction, Error> {
        expect("treasury type", self.kind, treasury::KIND)?;
        expect("treasury input type", self.input.kind.into(), 1)?;
        expect("treasury output type", self.output.kind.into(), 2)?;
        Ok(TreasuryTransaction {
            input: MilestoneId::from_hex(&self.input.milestone_id)?,
            amount: amount("treasury output amount", &self.output.amount)?,
        })
    }
}
