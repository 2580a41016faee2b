//! Protocol parameters of a network (TIP-22, TIP-32): what all its nodes must agree on.

use super::id::MilestoneIndex;
use super::pack::{Reader, Writer};
use super::{Error, blake2b_256};

/// The parameters in force, in the order of their binary form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolParameters {
    /// Protocol version, 2 for Stardust.
    pub version: u8,
    /// Human-readable network name, at most 255 bytes of UTF-8.
    pub network_name: String,
    /// Human-readable part of bech32 addresses, at most 255 bytes of UTF-8.
    pub bech32_hrp: String,
    /// Least proof-of-work score of a block; 0 asks for none (TIP-12).
    pub min_pow_score: u32,
    /// Milestones after which an unreferenced block is too deep to be a parent (TIP-8).
    pub below_max_depth: u8,
    /// Storage deposit (TIP-19).
    pub rent: RentStructure,
    /// Base tokens in existence, in the smallest unit.
    pub token_supply: u64,
}

/// What storing an output costs (TIP-19).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RentStructure {
    /// Base tokens per virtual byte.
    pub v_byte_cost: u32,
    /// Weight of data bytes.
    pub v_byte_factor_data: u8,
    /// Weight of key bytes.
    pub v_byte_factor_key: u8,
}

/// Parameters that a milestone announced, for a milestone to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upcoming {
    /// The last milestone that is confirmed under the parameters before.
    pub target: MilestoneIndex,
    /// Version of the protocol from then on.
    pub protocol_version: u8,
    /// Binary form; that of a version not known here is opaque.
    pub params: Vec<u8>,
}

/// The parameters in force, and those to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// In force.
    pub active: ProtocolParameters,
    /// The milestone that brought them into force.
    pub since: MilestoneIndex,
    /// In the order in which they were announced.
    pub pending: Vec<Upcoming>,
}

impl Schedule {
    /// Parameters that nothing is going to change.
    pub fn new(active: ProtocolParameters, since: MilestoneIndex) -> Self {
        Self { active, since, pending: Vec::new() }
    }

    /// Takes over what a confirmed milestone announces, and brings into force what is due. Whether that changed anything.
    ///
    /// HORNET: > what was announced first comes into force when a milestone at or after its target is confirmed, one at a
    /// > time
    ///
    /// # Errors
    /// Any [`Error`]: the parameters that are due are not known here; nobody can go on under them.
    pub fn confirm(&mut self, index: MilestoneIndex, announced: Option<Upcoming>) -> Result<bool, Error> {
        let mut changed = announced.is_some();
        self.pending.extend(announced);
        if let Some(next) = self.pending.first().filter(|next| next.target <= index) {
            if next.protocol_version != super::PROTOCOL_VERSION {
                let kind = next.protocol_version.into();
                return Err(Error::UnknownKind { field: "protocolParameters.version", kind });
            }
            self.active = ProtocolParameters::parse(&next.params)?;
            self.since = next.target;
            self.pending.remove(0);
            changed = true;
        }
        Ok(changed)
    }

    /// Whether the next parameters to come into force are known here; true when there are none.
    pub fn is_supported(&self) -> bool {
        self.pending.first().is_none_or(|next| next.protocol_version == super::PROTOCOL_VERSION)
    }

    /// The binary form, for the store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let active = self.active.pack();
        writer.u32(self.since.0).count_u32(active.len()).bytes(&active).count_u32(self.pending.len());
        for next in &self.pending {
            writer.u32(next.target.0).u8(next.protocol_version);
            writer.count_u32(next.params.len()).bytes(&next.params);
        }
        writer.into_bytes()
    }

    /// The inverse of [`Schedule::to_bytes`].
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let since = MilestoneIndex(reader.u32("schedule.since")?);
        let length = reader.u32("schedule.active")? as usize;
        let active = ProtocolParameters::parse(reader.bytes("schedule.active", length)?)?;
        let count = reader.u32("schedule.pending")?;
        let pending = (0..count).map(|_| {
            let target = MilestoneIndex(reader.u32("schedule.target")?);
            let protocol_version = reader.u8("schedule.version")?;
            let length = reader.u32("schedule.params")? as usize;
            let params = reader.bytes("schedule.params", length)?.to_vec();
            Ok(Upcoming { target, protocol_version, params })
        });
        let pending = pending.collect::<Result<_, Error>>()?;
        reader.finish("schedule")?;
        Ok(Self { active, since, pending })
    }
}

impl ProtocolParameters {
    /// Parses the whole of `bytes`.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`], [`Error::TrailingBytes`], [`Error::Malformed`] for text that is not UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let params = Self {
            version: reader.u8("protocolParameters.version")?,
            network_name: text(&mut reader, "protocolParameters.networkName")?,
            bech32_hrp: text(&mut reader, "protocolParameters.bech32Hrp")?,
            min_pow_score: reader.u32("protocolParameters.minPowScore")?,
            below_max_depth: reader.u8("protocolParameters.belowMaxDepth")?,
            rent: RentStructure {
                v_byte_cost: reader.u32("protocolParameters.vByteCost")?,
                v_byte_factor_data: reader.u8("protocolParameters.vByteFactorData")?,
                v_byte_factor_key: reader.u8("protocolParameters.vByteFactorKey")?,
            },
            token_supply: reader.u64("protocolParameters.tokenSupply")?,
        };
        reader.finish("protocolParameters")?;
        Ok(params)
    }

    /// The binary form.
    ///
    /// # Panics
    /// When a name is longer than 255 bytes; a configuration with such names is refused.
    pub fn pack(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(self.version);
        writer.count_u8(self.network_name.len()).bytes(self.network_name.as_bytes());
        writer.count_u8(self.bech32_hrp.len()).bytes(self.bech32_hrp.as_bytes());
        writer.u32(self.min_pow_score).u8(self.below_max_depth);
        writer.u32(self.rent.v_byte_cost).u8(self.rent.v_byte_factor_data).u8(self.rent.v_byte_factor_key);
        writer.u64(self.token_supply);
        writer.into_bytes()
    }

    /// Network id: the first 8 bytes of BLAKE2b-256 of the name, little-endian (TIP-20).
    pub fn network_id(&self) -> u64 {
        let hash = blake2b_256(self.network_name.as_bytes());
        u64::from_le_bytes(hash[..8].try_into().expect("a hash has more than 8 bytes"))
    }
}

fn text(reader: &mut Reader<'_>, field: &'static str) -> Result<String, Error> {
    let length = usize::from(reader.u8(field)?);
    let bytes = reader.bytes(field, length)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::Malformed { field, expected: "UTF-8 text" })
}

#[cfg(test)]
mod tests {
    use super::{Error, MilestoneIndex, ProtocolParameters, RentStructure, Schedule, Upcoming};

    fn params(min_pow_score: u32) -> ProtocolParameters {
        ProtocolParameters {
            version: 2,
            network_name: "test".to_owned(),
            bech32_hrp: "tst".to_owned(),
            min_pow_score,
            below_max_depth: 15,
            rent: RentStructure { v_byte_cost: 100, v_byte_factor_data: 1, v_byte_factor_key: 10 },
            token_supply: 1_000,
        }
    }

    fn upcoming(target: u32, score: u32) -> Option<Upcoming> {
        let params = params(score).pack();
        Some(Upcoming { target: MilestoneIndex(target), protocol_version: 2, params })
    }

    #[test]
    fn parameters_come_into_force_after_their_target() {
        let mut schedule = Schedule::new(params(1), MilestoneIndex(0));
        let mut confirm = |index, announced| {
            let changed = schedule.confirm(MilestoneIndex(index), announced).unwrap();
            assert_eq!(Schedule::parse(&schedule.to_bytes()), Ok(schedule.clone()));
            (changed, schedule.active.min_pow_score, schedule.pending.len())
        };
        assert_eq!(confirm(5, upcoming(7, 2)), (true, 1, 1));
        assert_eq!(confirm(6, None), (false, 1, 1));
        assert_eq!(confirm(7, None), (true, 2, 0));
        // Two for the same milestone: one at a time.
        assert_eq!(confirm(8, upcoming(10, 3)), (true, 2, 1));
        assert_eq!(confirm(9, upcoming(10, 4)), (true, 2, 2));
        assert_eq!(confirm(10, None), (true, 3, 1));
        assert_eq!(confirm(11, None), (true, 4, 0));
        assert_eq!(confirm(12, None), (false, 4, 0));
    }

    #[test]
    fn nobody_goes_on_under_parameters_that_are_not_known() {
        let mut schedule = Schedule::new(params(1), MilestoneIndex(0));
        let next = Upcoming { protocol_version: 3, ..upcoming(2, 2).unwrap() };
        assert_eq!(schedule.confirm(MilestoneIndex(1), Some(next)), Ok(true));
        assert!(!schedule.is_supported());
        let error = schedule.confirm(MilestoneIndex(2), None).unwrap_err();
        assert!(matches!(error, Error::UnknownKind { kind: 3, .. }), "{error}");
        assert_eq!(schedule.active.min_pow_score, 1);
    }
}
