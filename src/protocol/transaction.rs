//! Transaction payload (TIP-20): inputs, outputs, and what unlocks the inputs.

use super::id::{OutputId, TransactionId};
use super::output::{MAX_OUTPUTS, Output};
use super::pack::{Reader, Writer, check_range};
use super::tagged_data::{self, TaggedData};
use super::{Error, blake2b_256};

/// Payload type number on the wire and in JSON.
pub const KIND: u32 = 6;

/// What the signatures cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Essence {
    /// Of the network it is made for, see [`network_id`](super::params::ProtocolParameters::network_id).
    pub network_id: u64,
    /// Outputs that it spends, 1 to 128.
    pub inputs: Vec<OutputId>,
    /// Hash over the hashes of the spent outputs, see [`inputs_commitment`].
    pub inputs_commitment: [u8; 32],
    /// Outputs that it makes, 1 to 128.
    pub outputs: Vec<Output>,
    /// Data for people.
    pub payload: Option<TaggedData>,
}

/// What unlocks an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlock {
    /// Type 0: an Ed25519 signature of the essence's hash.
    Signature {
        /// 32 bytes.
        public_key: [u8; 32],
        /// 64 bytes.
        signature: [u8; 64],
    },
    /// Type 1: as the signature at that place.
    Reference(u16),
    /// Type 2: as the alias of the input at that place.
    Alias(u16),
    /// Type 3: as the NFT of the input at that place.
    Nft(u16),
}

/// Essence and unlocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// What is signed.
    pub essence: Essence,
    /// One for each input.
    pub unlocks: Vec<Unlock>,
}

/// What [`Essence::inputs_commitment`] has to be for these spent outputs, in the order of the inputs.
pub fn inputs_commitment<'a>(outputs: impl Iterator<Item = &'a Output>) -> [u8; 32] {
    let hashes = outputs.flat_map(|output| blake2b_256(&output.to_bytes())).collect::<Vec<u8>>();
    blake2b_256(&hashes)
}

impl Essence {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.expect_u8("payload.essence type", 1)?;
        let network_id = reader.u64("payload.essence networkId")?;
        let count = reader.u16("payload.essence inputs count")?;
        check_range("payload.essence inputs count", count.into(), 1, MAX_OUTPUTS as u64)?;
        let inputs = (0..count).map(|_| {
            reader.expect_u8("payload.essence inputs type", 0)?;
            let id = OutputId::from_bytes(&reader.array("payload.essence inputs")?);
            // TIP-20: > transaction output index must be less than 128
            check_range(
                "payload.essence inputs transactionOutputIndex",
                id.index.into(),
                0,
                MAX_OUTPUTS as u64 - 1,
            )?;
            Ok(id)
        });
        let inputs = inputs.collect::<Result<Vec<_>, Error>>()?;
        let inputs_commitment = reader.array("payload.essence inputsCommitment")?;
        let count = reader.u16("payload.essence outputs count")?;
        check_range("payload.essence outputs count", count.into(), 1, MAX_OUTPUTS as u64)?;
        let outputs = (0..count).map(|_| Output::parse(reader)).collect::<Result<Vec<_>, _>>()?;
        let payload = match reader.u32("payload.essence payload length")? as usize {
            0 => None,
            length => {
                let mut inner = Reader::new(reader.bytes("payload.essence payload", length)?);
                let kind = inner.u32("payload.essence payload type")?;
                if kind != tagged_data::KIND {
                    return Err(Error::UnknownKind { field: "payload.essence payload", kind });
                }
                let payload = TaggedData::parse(&mut inner)?;
                inner.finish("payload.essence payload")?;
                Some(payload)
            }
        };
        Ok(Self { network_id, inputs, inputs_commitment, outputs, payload })
    }

    fn pack(&self, writer: &mut Writer) {
        writer.u8(1).u64(self.network_id).count_u16(self.inputs.len());
        for input in &self.inputs {
            writer.u8(0).bytes(&input.pack());
        }
        writer.bytes(&self.inputs_commitment).count_u16(self.outputs.len());
        self.outputs.iter().for_each(|output| output.pack(writer));
        let mut payload = Writer::default();
        if let Some(data) = &self.payload {
            data.pack(&mut payload);
        }
        let payload = payload.into_bytes();
        writer.count_u32(payload.len()).bytes(&payload);
    }

    /// What an Ed25519 signature signs: BLAKE2b-256 of the binary form.
    pub fn signing_hash(&self) -> [u8; 32] {
        let mut writer = Writer::default();
        self.pack(&mut writer);
        blake2b_256(&writer.into_bytes())
    }
}

impl Unlock {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        match reader.u8("payload.unlocks type")? {
            0 => {
                reader.expect_u8("payload.unlocks signature type", 0)?;
                Ok(Self::Signature {
                    public_key: reader.array("payload.unlocks publicKey")?,
                    signature: reader.array("payload.unlocks signature")?,
                })
            }
            1 => Ok(Self::Reference(reader.u16("payload.unlocks reference")?)),
            2 => Ok(Self::Alias(reader.u16("payload.unlocks reference")?)),
            3 => Ok(Self::Nft(reader.u16("payload.unlocks reference")?)),
            kind => Err(Error::UnknownKind { field: "payload.unlocks", kind: kind.into() }),
        }
    }

    fn pack(&self, writer: &mut Writer) {
        match self {
            Self::Signature { public_key, signature } => {
                writer.u8(0).u8(0).bytes(public_key).bytes(signature);
            }
            Self::Reference(at) => {
                writer.u8(1).u16(*at);
            }
            Self::Alias(at) => {
                writer.u8(2).u16(*at);
            }
            Self::Nft(at) => {
                writer.u8(3).u16(*at);
            }
        }
    }
}

impl Transaction {
    /// Reads what follows the payload's type.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let essence = Essence::parse(reader)?;
        let count = reader.u16("payload.unlocks count")?;
        // TIP-20: > unlocks count must match inputs count
        check_range(
            "payload.unlocks count",
            count.into(),
            essence.inputs.len() as u64,
            essence.inputs.len() as u64,
        )?;
        let unlocks = (0..count).map(|_| Unlock::parse(reader)).collect::<Result<_, _>>()?;
        Ok(Self { essence, unlocks })
    }

    /// Appends the payload with its type.
    pub fn pack(&self, writer: &mut Writer) {
        writer.u32(KIND);
        self.essence.pack(writer);
        writer.count_u16(self.unlocks.len());
        self.unlocks.iter().for_each(|unlock| unlock.pack(writer));
    }

    /// BLAKE2b-256 of the payload with its type.
    pub fn id(&self) -> TransactionId {
        let mut writer = Writer::default();
        self.pack(&mut writer);
        TransactionId(blake2b_256(&writer.into_bytes()))
    }
}
