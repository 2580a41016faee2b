//! Block (TIP-24): parents, one optional payload, a nonce.

use super::id::{BlockId, MilestoneIndex};
use super::milestone::{self, Milestone};
use super::pack::{Reader, Writer, check_ascending, check_range};
use super::tagged_data::{self, TaggedData};
use super::transaction::{self, Transaction};
use super::{Error, MAX_BLOCK_BYTES, MAX_PARENTS, blake2b_256};

/// Bytes of the nonce at a block's end.
pub const NONCE_BYTES: usize = 8;

/// 1 to 8 block ids, strictly ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parents(Vec<BlockId>);

impl Parents {
    /// Most parents that a block may have.
    pub const MOST: usize = MAX_PARENTS;

    /// Takes ids that are already in order.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for none or more than 8, [`Error::NotSorted`].
    pub fn new(ids: Vec<BlockId>) -> Result<Self, Error> {
        check_range("parents count", ids.len() as u64, 1, MAX_PARENTS as u64)?;
        // TIP-24 §Syntactic validation: > parents MUST be in lexicographical order, no duplicates
        check_ascending("parents", &ids)?;
        Ok(Self(ids))
    }

    /// Sorts and removes duplicates first.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for none or more than 8 distinct ids.
    pub fn from_unsorted(mut ids: Vec<BlockId>) -> Result<Self, Error> {
        ids.sort_unstable();
        ids.dedup();
        Self::new(ids)
    }

    /// The ids, ascending.
    pub fn as_slice(&self) -> &[BlockId] {
        &self.0
    }

    /// Reads a count and as many ids.
    ///
    /// # Errors
    /// As [`Parents::new`], or [`Error::UnexpectedEnd`].
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let count = reader.u8("parents count")?;
        check_range("parents count", u64::from(count), 1, MAX_PARENTS as u64)?;
        let ids = (0..count).map(|_| reader.array("parents").map(BlockId)).collect::<Result<Vec<_>, _>>()?;
        Self::new(ids)
    }

    /// Appends count and ids.
    pub fn pack(&self, writer: &mut Writer) {
        writer.count_u8(self.0.len());
        for id in &self.0 {
            writer.bytes(&id.0);
        }
    }
}

/// What a block may carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// TIP-23.
    TaggedData(TaggedData),
    /// TIP-20.
    Transaction(Box<Transaction>),
    /// TIP-29.
    Milestone(Box<Milestone>),
}

impl Payload {
    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let payload = match reader.u32("payload.type")? {
            tagged_data::KIND => Self::TaggedData(TaggedData::parse(&mut reader)?),
            transaction::KIND => Self::Transaction(Box::new(Transaction::parse(&mut reader)?)),
            milestone::KIND => Self::Milestone(Box::new(Milestone::parse(&mut reader)?)),
            kind => return Err(Error::UnknownKind { field: "payload.type", kind }),
        };
        reader.finish("payload")?;
        Ok(payload)
    }

    /// The payload with its type number.
    pub fn pack(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::TaggedData(payload) => payload.pack(&mut writer),
            Self::Transaction(payload) => payload.pack(&mut writer),
            Self::Milestone(payload) => payload.pack(&mut writer),
        }
        writer.into_bytes()
    }
}

/// Index of the milestone that a block's payload claims to be, without a look at the rest; `None` for every other payload
/// and for what is no block. O(1).
pub fn peek_milestone(bytes: &[u8]) -> Option<MilestoneIndex> {
    let mut reader = Reader::new(bytes);
    reader.u8("protocolVersion").ok()?;
    let parents = usize::from(reader.u8("parents count").ok()?);
    reader.bytes("parents", parents * size_of::<BlockId>()).ok()?;
    reader.u32("payload length").ok()?;
    let kind = reader.u32("payload.type").ok()?;
    let index = reader.u32("payload.index").ok()?;
    (kind == milestone::KIND).then_some(MilestoneIndex(index))
}

/// Ids of the parents that a block names, without a look at the rest; none for what is no block. O(parents).
pub fn peek_parents(bytes: &[u8]) -> Vec<BlockId> {
    let mut reader = Reader::new(bytes);
    let parsed = reader.u8("protocolVersion").and_then(|_| Parents::parse(&mut reader));
    parsed.map_or_else(|_| Vec::new(), |parents| parents.0)
}

/// A vertex of the Tangle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Protocol version it was made for.
    pub protocol_version: u8,
    /// Blocks it approves.
    pub parents: Parents,
    /// What it carries.
    pub payload: Option<Payload>,
    /// Proof-of-work nonce, 0 in milestone blocks.
    pub nonce: u64,
}

/// A block as a client hands it in: it may leave the parents to the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Protocol version it was made for.
    pub protocol_version: u8,
    /// 0 to 8 ids; none asks the node to choose.
    pub parents: Vec<BlockId>,
    /// What it carries.
    pub payload: Option<Payload>,
    /// Proof-of-work nonce; 0 may ask the node to find one.
    pub nonce: u64,
}

impl Draft {
    /// Parses the whole of `bytes`. Costs O(bytes).
    ///
    /// # Errors
    /// Any [`Error`]; the field names are those of TIP-24's JSON form.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        // TIP-24 §Syntactic validation: > the total length of the block MUST NOT exceed 32768 bytes
        check_range("block length", bytes.len() as u64, 0, MAX_BLOCK_BYTES as u64)?;
        let mut reader = Reader::new(bytes);
        let protocol_version = reader.u8("protocolVersion")?;
        let parents_count = reader.u8("parents count")?;
        check_range("parents count", u64::from(parents_count), 0, MAX_PARENTS as u64)?;
        let parents =
            (0..parents_count).map(|_| reader.array("parents").map(BlockId)).collect::<Result<_, _>>()?;
        let payload = match reader.u32("payload length")? as usize {
            0 => None,
            length => Some(Payload::parse(reader.bytes("payload", length)?)?),
        };
        let nonce = reader.u64("nonce")?;
        reader.finish("block")?;
        Ok(Self { protocol_version, parents, payload, nonce })
    }

    /// The block, now that its parents are settled.
    ///
    /// # Errors
    /// As [`Parents::new`].
    pub fn into_block(self) -> Result<Block, Error> {
        let Self { protocol_version, parents, payload, nonce } = self;
        Ok(Block { protocol_version, parents: Parents::new(parents)?, payload, nonce })
    }
}

impl Block {
    /// Parses the whole of `bytes`. Costs O(bytes).
    ///
    /// # Errors
    /// Any [`Error`]; the field names are those of TIP-24's JSON form.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Draft::parse(bytes)?.into_block()
    }

    /// The binary form.
    pub fn pack(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(512);
        writer.u8(self.protocol_version);
        self.parents.pack(&mut writer);
        let payload = self.payload.as_ref().map(Payload::pack).unwrap_or_default();
        writer.count_u32(payload.len()).bytes(&payload);
        writer.u64(self.nonce);
        writer.into_bytes()
    }

    /// The block that a milestone is handed on in: under its own parents, without a nonce.
    pub fn of_milestone(milestone: Milestone) -> Self {
        let essence = &milestone.essence;
        Self {
            protocol_version: essence.protocol_version,
            parents: essence.parents.clone(),
            payload: Some(Payload::Milestone(Box::new(milestone))),
            nonce: 0,
        }
    }

    /// The milestone it carries, if it does.
    pub fn milestone(&self) -> Option<&Milestone> {
        match &self.payload {
            Some(Payload::Milestone(milestone)) => Some(milestone),
            Some(Payload::TaggedData(_) | Payload::Transaction(_)) | None => None,
        }
    }

    /// The transaction it carries, if it does.
    pub fn transaction(&self) -> Option<&Transaction> {
        match &self.payload {
            Some(Payload::Transaction(transaction)) => Some(transaction),
            Some(Payload::TaggedData(_) | Payload::Milestone(_)) | None => None,
        }
    }

    /// The same, taken out of it.
    pub fn into_transaction(self) -> Option<Transaction> {
        match self.payload {
            Some(Payload::Transaction(transaction)) => Some(*transaction),
            Some(Payload::TaggedData(_) | Payload::Milestone(_)) | None => None,
        }
    }
}

/// Id of the block with this binary form.
pub fn id_of(bytes: &[u8]) -> BlockId {
    BlockId(blake2b_256(bytes))
}
