//! Milestone payload (TIP-29): the essence that coordinators sign, and their signatures.

use super::block::Parents;
use super::id::{MilestoneId, MilestoneIndex};
use super::pack::{Reader, Writer, check_ascending, check_range};
use super::params::Upcoming;
use super::treasury::Receipt;
use super::{Error, blake2b_256};

/// Payload type number on the wire and in JSON.
pub const KIND: u32 = 7;

/// Longest metadata, in bytes.
pub const MAX_METADATA_BYTES: usize = 8_192;

/// Most options of a milestone.
const MAX_OPTIONS: u64 = 2;

/// What the signatures cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Essence {
    /// Place in the chain of milestones.
    pub index: MilestoneIndex,
    /// Unix time of issue, in seconds.
    pub timestamp: u32,
    /// Protocol version it was made for.
    pub protocol_version: u8,
    /// The milestone before; all zero for the first.
    pub previous: MilestoneId,
    /// Blocks whose past cone it references.
    pub parents: Parents,
    /// TIP-4 root over all newly referenced blocks, in white-flag order.
    pub inclusion_merkle_root: [u8; 32],
    /// TIP-4 root over those of them that changed the ledger.
    pub applied_merkle_root: [u8; 32],
    /// Free bytes, at most 8,192.
    pub metadata: Vec<u8>,
    /// What it changes beside the ledger.
    pub options: Options,
}

/// What a milestone may bring beside blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MilestoneOption {
    /// Type 0 (TIP-34).
    Receipt(Receipt),
    /// Type 1 (TIP-29): other protocol parameters from a milestone on.
    Parameters {
        /// First milestone with these.
        target: MilestoneIndex,
        /// Version of the protocol from then on.
        protocol_version: u8,
        /// Binary form, at most 8,192 bytes; that of a version not known here is opaque.
        params: Vec<u8>,
    },
}

/// Options of a milestone: at most 2, ascending by binary form, none twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(Vec<MilestoneOption>);

impl Options {
    /// Takes options in order.
    ///
    /// # Errors
    /// [`Error::NotSorted`], [`Error::OutOfRange`] for more than 2 or for parameters that are too long.
    pub fn new(list: Vec<MilestoneOption>) -> Result<Self, Error> {
        check_range("payload.options count", list.len() as u64, 0, MAX_OPTIONS)?;
        for option in &list {
            if let MilestoneOption::Parameters { params, .. } = option {
                check_range(
                    "payload.options params length",
                    params.len() as u64,
                    0,
                    MAX_METADATA_BYTES as u64,
                )?;
            }
        }
        // TIP-29: > options must be sorted in ascending order based on their type, each at most once
        // HORNET compares their bytes and reads a block with two of one type, so that others may build on it.
        check_ascending("payload.options", &list.iter().map(MilestoneOption::to_bytes).collect::<Vec<_>>())?;
        Ok(Self(list))
    }

    /// In ascending order.
    pub fn as_slice(&self) -> &[MilestoneOption] {
        &self.0
    }

    /// The receipt, if there is one; the first.
    pub fn receipt(&self) -> Option<&Receipt> {
        self.0.iter().find_map(|option| match option {
            MilestoneOption::Receipt(receipt) => Some(receipt),
            MilestoneOption::Parameters { .. } => None,
        })
    }

    /// The parameters that it announces, if it does; the first.
    pub fn parameters(&self) -> Option<Upcoming> {
        self.0.iter().find_map(|option| match option {
            MilestoneOption::Parameters { target, protocol_version, params } => Some(Upcoming {
                target: *target,
                protocol_version: *protocol_version,
                params: params.clone(),
            }),
            MilestoneOption::Receipt(_) => None,
        })
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let count = reader.u8("payload.options count")?;
        check_range("payload.options count", count.into(), 0, MAX_OPTIONS)?;
        Self::new((0..count).map(|_| MilestoneOption::parse(reader)).collect::<Result<_, _>>()?)
    }
}

impl MilestoneOption {
    /// Its type number.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Receipt(_) => 0,
            Self::Parameters { .. } => 1,
        }
    }

    /// Reads type and content.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        match reader.u8("payload.options type")? {
            0 => Ok(Self::Receipt(Receipt::parse(reader)?)),
            1 => Ok(Self::Parameters {
                target: MilestoneIndex(reader.u32("payload.options targetMilestoneIndex")?),
                protocol_version: reader.u8("payload.options protocolVersion")?,
                params: {
                    let length = reader.u16("payload.options params length")?;
                    reader.bytes("payload.options params", length.into())?.to_vec()
                },
            }),
            kind => Err(Error::UnknownKind { field: "payload.options", kind: kind.into() }),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.pack(&mut writer);
        writer.into_bytes()
    }

    /// Appends type and content.
    pub fn pack(&self, writer: &mut Writer) {
        writer.u8(self.kind());
        match self {
            Self::Receipt(receipt) => receipt.pack(writer),
            Self::Parameters { target, protocol_version, params } => {
                writer.u32(target.0).u8(*protocol_version).count_u16(params.len()).bytes(params);
            }
        }
    }
}

impl Essence {
    /// Identifier of the milestone: what its signatures sign.
    pub fn id(&self) -> MilestoneId {
        MilestoneId(blake2b_256(&self.pack()))
    }

    /// Id, index and time.
    pub fn stamp(&self) -> MilestoneStamp {
        MilestoneStamp { id: self.id(), index: self.index, timestamp: self.timestamp }
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            index: MilestoneIndex(reader.u32("payload.index")?),
            timestamp: reader.u32("payload.timestamp")?,
            protocol_version: reader.u8("payload.protocolVersion")?,
            previous: MilestoneId(reader.array("payload.previousMilestoneId")?),
            parents: Parents::parse(reader)?,
            inclusion_merkle_root: reader.array("payload.inclusionMerkleRoot")?,
            applied_merkle_root: reader.array("payload.appliedMerkleRoot")?,
            metadata: {
                let length = reader.u16("payload.metadata length")?;
                check_range("payload.metadata length", u64::from(length), 0, MAX_METADATA_BYTES as u64)?;
                reader.bytes("payload.metadata", usize::from(length))?.to_vec()
            },
            options: Options::parse(reader)?,
        })
    }

    /// The binary form, without the payload's type.
    pub fn pack(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256);
        writer.u32(self.index.0).u32(self.timestamp).u8(self.protocol_version).bytes(&self.previous.0);
        self.parents.pack(&mut writer);
        writer.bytes(&self.inclusion_merkle_root).bytes(&self.applied_merkle_root);
        writer.count_u16(self.metadata.len()).bytes(&self.metadata);
        writer.count_u8(self.options.0.len());
        self.options.0.iter().for_each(|option| option.pack(&mut writer));
        writer.into_bytes()
    }
}

/// What identifies a milestone and what the next one is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MilestoneStamp {
    /// Identifier.
    pub id: MilestoneId,
    /// Index.
    pub index: MilestoneIndex,
    /// Unix seconds.
    pub timestamp: u32,
}

/// Ed25519 signature over the milestone id, with the key that made it (TIP-29).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    /// 32 bytes.
    pub public_key: [u8; 32],
    /// 64 bytes.
    pub signature: [u8; 64],
}

/// Essence and its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    /// What was signed.
    pub essence: Essence,
    // Invariant: 1 to 255, ascending by public key, no key twice.
    signatures: Vec<Signature>,
}

impl Milestone {
    /// Joins an essence and signatures in any order.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for none or more than 255; [`Error::NotSorted`] when a key signs twice.
    pub fn new(essence: Essence, mut signatures: Vec<Signature>) -> Result<Self, Error> {
        signatures.sort_unstable();
        Self::from_sorted(essence, signatures)
    }

    fn from_sorted(essence: Essence, signatures: Vec<Signature>) -> Result<Self, Error> {
        check_range("payload.signatures count", signatures.len() as u64, 1, 255)?;
        // HORNET compares the first 32 bytes of a serialized signature: its type and 31 bytes of the key.
        let keys = signatures.iter().map(|signature| &signature.public_key[..31]).collect::<Vec<_>>();
        check_ascending("payload.signatures", &keys)?;
        Ok(Self { essence, signatures })
    }

    /// Ascending by public key.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Reads what follows the payload's type.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::UnknownKind`] for signatures that are not Ed25519.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let essence = Essence::parse(reader)?;
        let count = reader.u8("payload.signatures count")?;
        let signatures = (0..count)
            .map(|_| {
                reader.expect_u8("payload.signatures type", 0)?;
                Ok(Signature {
                    public_key: reader.array("payload.signatures publicKey")?,
                    signature: reader.array("payload.signatures signature")?,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Self::from_sorted(essence, signatures)
    }

    /// Appends the payload with its type.
    pub fn pack(&self, writer: &mut Writer) {
        writer.u32(KIND).bytes(&self.essence.pack());
        writer.count_u8(self.signatures.len());
        for signature in &self.signatures {
            writer.u8(0).bytes(&signature.public_key).bytes(&signature.signature);
        }
    }
}
