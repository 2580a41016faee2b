//! Blocks and payloads as TIP-25 JSON: bytes and ids as `0x` hex, 64-bit numbers as decimal strings.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::block::{Block, Draft, Parents, Payload};
use super::id::{BlockId, MilestoneId, MilestoneIndex};
use super::json_output::at_most;
use super::json_transaction::{OptionJson, TransactionJson};
use super::milestone::{self, Essence, Milestone, Options, Signature};
use super::tagged_data::{self, TaggedData};
use super::transaction;
use super::{Error, hex};

/// JSON form of a block. What is left out on input is empty or 0, as in HORNET.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockJson {
    /// TIP-24 version byte.
    #[serde(default)]
    pub protocol_version: u8,
    /// Block ids.
    #[serde(default, deserialize_with = "at_most::<_, _, 9>")]
    pub parents: Vec<String>,
    /// Left out or null when the block carries none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<PayloadJson>,
    /// Decimal string.
    #[serde(default)]
    pub nonce: String,
}

/// JSON form of a payload: one flat object, told apart by `type`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum PayloadJson {
    /// Type 7.
    Milestone(Box<MilestoneJson>),
    /// Type 6.
    Transaction(Box<TransactionJson>),
    /// Type 5.
    TaggedData(TaggedDataJson),
}

impl<'de> Deserialize<'de> for PayloadJson {
    /// Looks at the type first, so that a mistake is told in the words of that type, and takes no memory for anything else.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn read<T: serde::de::DeserializeOwned, E: serde::de::Error>(text: &str) -> Result<T, E> {
            serde_json::from_str(text).map_err(|error| {
                // Lines and columns are told of the whole text, not of this part.
                let error = error.to_string();
                E::custom(format_args!("payload: {}", error.split(" at line ").next().unwrap_or_default()))
            })
        }
        #[derive(Deserialize)]
        struct Typed {
            #[serde(rename = "type")]
            kind: Option<u64>,
        }
        let raw = <Box<RawValue>>::deserialize(deserializer)?;
        let text = raw.get();
        match serde_json::from_str::<Typed>(text).ok().and_then(|typed| typed.kind) {
            Some(kind) if kind == u64::from(milestone::KIND) => Ok(Self::Milestone(read(text)?)),
            Some(kind) if kind == u64::from(transaction::KIND) => Ok(Self::Transaction(read(text)?)),
            Some(kind) if kind == u64::from(tagged_data::KIND) => Ok(Self::TaggedData(read(text)?)),
            Some(kind) => {
                Err(serde::de::Error::custom(format_args!("payload.type: type {kind} is not supported")))
            }
            None => Err(serde::de::Error::custom("payload.type: a number expected")),
        }
    }
}

/// Tagged data (type 5).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaggedDataJson {
    /// 5.
    #[serde(rename = "type")]
    pub kind: u32,
    /// Hex; left out when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
    /// Hex; left out when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data: String,
}

/// Milestone (type 7).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MilestoneJson {
    /// 7.
    #[serde(rename = "type")]
    pub kind: u32,
    /// Milestone index.
    pub index: u32,
    /// Unix seconds.
    pub timestamp: u32,
    /// Version byte.
    pub protocol_version: u8,
    /// Hex, 32 bytes.
    pub previous_milestone_id: String,
    /// Block ids.
    #[serde(deserialize_with = "at_most::<_, _, 9>")]
    pub parents: Vec<String>,
    /// Hex, 32 bytes.
    pub inclusion_merkle_root: String,
    /// Hex, 32 bytes.
    pub applied_merkle_root: String,
    /// Hex; left out when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// Left out when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "at_most::<_, _, 3>")]
    pub options: Vec<OptionJson>,
    /// One for each key.
    pub signatures: Vec<SignatureJson>,
}

/// Ed25519 signature (type 0).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignatureJson {
    /// 0.
    #[serde(rename = "type")]
    pub kind: u32,
    /// Hex, 32 bytes.
    pub public_key: String,
    /// Hex, 64 bytes.
    pub signature: String,
}

impl BlockJson {
    /// The JSON form of a block.
    pub fn from_block(block: &Block) -> Self {
        Self {
            protocol_version: block.protocol_version,
            parents: ids(&block.parents),
            payload: block.payload.as_ref().map(PayloadJson::from_payload),
            nonce: block.nonce.to_string(),
        }
    }

    /// Reads it as a client's draft.
    ///
    /// # Errors
    /// [`Error`] with the JSON field's name.
    pub fn to_draft(&self) -> Result<Draft, Error> {
        let nonce = match self.nonce.as_str() {
            "" => 0,
            text => text.parse().map_err(|_| Error::Malformed {
                field: "nonce",
                expected: "a 64-bit number as decimal string",
            })?,
        };
        Ok(Draft {
            protocol_version: self.protocol_version,
            parents: block_ids("parents", &self.parents)?,
            payload: self.payload.as_ref().map(PayloadJson::to_payload).transpose()?,
            nonce,
        })
    }
}

impl TaggedDataJson {
    /// The JSON form of tagged data.
    pub(super) fn from_data(payload: &TaggedData) -> Self {
        Self { kind: tagged_data::KIND, tag: hex_or_empty(payload.tag()), data: hex_or_empty(payload.data()) }
    }

    /// The data.
    ///
    /// # Errors
    /// [`Error`] with the JSON field's name.
    pub(super) fn to_data(&self) -> Result<TaggedData, Error> {
        if self.kind != tagged_data::KIND {
            return Err(Error::UnknownKind { field: "payload.type", kind: self.kind });
        }
        TaggedData::new(
            bytes_or_empty("payload.tag", &self.tag)?,
            bytes_or_empty("payload.data", &self.data)?,
        )
    }
}

impl PayloadJson {
    fn from_payload(payload: &Payload) -> Self {
        match payload {
            Payload::TaggedData(payload) => Self::TaggedData(TaggedDataJson::from_data(payload)),
            Payload::Transaction(payload) => {
                Self::Transaction(Box::new(TransactionJson::from_transaction(payload)))
            }
            Payload::Milestone(payload) => Self::Milestone(Box::new(MilestoneJson::from_milestone(payload))),
        }
    }

    fn to_payload(&self) -> Result<Payload, Error> {
        match self {
            Self::TaggedData(json) => Ok(Payload::TaggedData(json.to_data()?)),
            Self::Transaction(json) => Ok(Payload::Transaction(Box::new(json.to_transaction()?))),
            Self::Milestone(json) => Ok(Payload::Milestone(Box::new(json.to_milestone()?))),
        }
    }
}

impl MilestoneJson {
    /// The JSON form of a milestone payload.
    pub fn from_milestone(milestone: &Milestone) -> Self {
        let essence = &milestone.essence;
        Self {
            kind: milestone::KIND,
            index: essence.index.0,
            timestamp: essence.timestamp,
            protocol_version: essence.protocol_version,
            previous_milestone_id: essence.previous.to_string(),
            parents: ids(&essence.parents),
            inclusion_merkle_root: hex::encode(&essence.inclusion_merkle_root),
            applied_merkle_root: hex::encode(&essence.applied_merkle_root),
            metadata: hex_or_empty(&essence.metadata),
            options: essence.options.as_slice().iter().map(OptionJson::from_option).collect(),
            signatures: milestone
                .signatures()
                .iter()
                .map(|signature| SignatureJson {
                    kind: 0,
                    public_key: hex::encode(&signature.public_key),
                    signature: hex::encode(&signature.signature),
                })
                .collect(),
        }
    }

    fn to_milestone(&self) -> Result<Milestone, Error> {
        if self.kind != milestone::KIND {
            return Err(Error::UnknownKind { field: "payload.type", kind: self.kind });
        }
        let metadata = bytes_or_empty("payload.metadata", &self.metadata)?;
        super::pack::check_range(
            "payload.metadata length",
            metadata.len() as u64,
            0,
            milestone::MAX_METADATA_BYTES as u64,
        )?;
        let essence = Essence {
            index: MilestoneIndex(self.index),
            timestamp: self.timestamp,
            protocol_version: self.protocol_version,
            previous: MilestoneId::from_hex(&self.previous_milestone_id)?,
            parents: Parents::new(block_ids("payload.parents", &self.parents)?)?,
            inclusion_merkle_root: hex::decode_array(
                "payload.inclusionMerkleRoot",
                &self.inclusion_merkle_root,
            )?,
            applied_merkle_root: hex::decode_array("payload.appliedMerkleRoot", &self.applied_merkle_root)?,
            metadata,
            options: Options::new(self.options.iter().map(OptionJson::to_option).collect::<Result<_, _>>()?)?,
        };
        let signatures = self
            .signatures
            .iter()
            .map(|json| {
                if json.kind != 0 {
                    return Err(Error::UnknownKind { field: "payload.signatures type", kind: json.kind });
                }
                Ok(Signature {
                    public_key: hex::decode_array("payload.signatures publicKey", &json.public_key)?,
                    signature: hex::decode_array("payload.signatures signature", &json.signature)?,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Milestone::new(essence, signatures)
    }
}

fn ids(parents: &Parents) -> Vec<String> {
    parents.as_slice().iter().map(BlockId::to_string).collect()
}

fn block_ids(field: &'static str, texts: &[String]) -> Result<Vec<BlockId>, Error> {
    texts.iter().map(|text| hex::decode_array(field, text).map(BlockId)).collect()
}

fn hex_or_empty(bytes: &[u8]) -> String {
    if bytes.is_empty() { String::new() } else { hex::encode(bytes) }
}

fn bytes_or_empty(field: &'static str, text: &str) -> Result<Vec<u8>, Error> {
    if text.is_empty() { Ok(Vec::new()) } else { hex::decode(field, text) }
}
