//! Addresses (TIP-31): who may unlock an output.

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};

use super::id::{AliasId, NftId};
use super::pack::{Reader, Writer};
use super::{Error, blake2b_256};

/// Type byte of an Ed25519 address.
pub const ED25519: u8 = 0;

/// Type byte of an alias address.
pub const ALIAS: u8 = 8;

/// Type byte of an NFT address.
pub const NFT: u8 = 16;

/// An address. 33 bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// BLAKE2b-256 of an Ed25519 public key.
    Ed25519([u8; 32]),
    /// An alias: whoever controls its state.
    Alias(AliasId),
    /// An NFT: whoever owns it.
    Nft(NftId),
}

impl Address {
    /// That of a public key.
    pub fn of_key(public_key: &[u8; 32]) -> Self {
        Self::Ed25519(blake2b_256(public_key))
    }

    /// Reads type and content.
    ///
    /// # Errors
    /// [`Error::UnknownKind`], [`Error::UnexpectedEnd`].
    pub fn parse(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, Error> {
        match reader.u8(field)? {
            ED25519 => Ok(Self::Ed25519(reader.array(field)?)),
            ALIAS => Ok(Self::Alias(AliasId(reader.array(field)?))),
            NFT => Ok(Self::Nft(NftId(reader.array(field)?))),
            kind => Err(Error::UnknownKind { field, kind: kind.into() }),
        }
    }

    /// The bech32 form for people (TIP-31); `hrp` is the network's.
    ///
    /// # Panics
    /// When `hrp` is no human-readable part; a configuration or snapshot with such a one is refused.
    pub fn to_bech32(&self, hrp: &str) -> String {
        let mut writer = Writer::default();
        self.pack(&mut writer);
        let hrp = Hrp::parse(hrp).expect("the network's human-readable part was checked");
        bech32::encode::<Bech32>(hrp, &writer.into_bytes()).expect("33 bytes are short enough")
    }

    /// The inverse of [`Address::to_bech32`].
    ///
    /// # Errors
    /// [`Error::Malformed`] for anything but an address of this network.
    pub fn from_bech32(hrp: &str, text: &str) -> Result<Self, Error> {
        let malformed = Error::Malformed { field: "address", expected: "a bech32 address of this network" };
        // TIP-31: > Bech32, not Bech32m
        let checked = CheckedHrpstring::new::<Bech32>(text).map_err(|_| malformed.clone())?;
        if checked.hrp().to_lowercase() != hrp {
            return Err(malformed);
        }
        let bytes = checked.byte_iter().collect::<Vec<_>>();
        let mut reader = Reader::new(&bytes);
        let address = Self::parse(&mut reader, "address")?;
        reader.finish("address")?;
        Ok(address)
    }

    /// Appends type and content.
    pub fn pack(&self, writer: &mut Writer) {
        let (kind, bytes) = match self {
            Self::Ed25519(hash) => (ED25519, hash),
            Self::Alias(id) => (ALIAS, &id.0),
            Self::Nft(id) => (NFT, &id.0),
        };
        writer.u8(kind).bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::Address;
    use crate::protocol::hex;

    /// TIP-31's examples.
    #[test]
    fn bech32_forms_are_those_of_the_tip() {
        let key =
            hex::decode_array("key", "0x6f1581709bb7b1ef030d210db18e3b0ba1c776fba65d8cdaad05415142d189f8");
        let address = Address::of_key(&key.unwrap());
        let iota = "iota1qrhacyfwlcnzkvzteumekfkrrwks98mpdm37cj4xx3drvmjvnep6xqgyzyx";
        let atoi = "atoi1qrhacyfwlcnzkvzteumekfkrrwks98mpdm37cj4xx3drvmjvnep6x8x4r7t";
        for (hrp, text) in [("iota", iota), ("atoi", atoi)] {
            assert_eq!(address.to_bech32(hrp), text);
            assert_eq!(Address::from_bech32(hrp, text), Ok(address));
            assert_eq!(Address::from_bech32(hrp, &text.to_uppercase()), Ok(address));
        }
        let mixed = format!("{}{}", &iota[..20].to_uppercase(), &iota[20..]);
        for wrong in ["", "iota1", &iota[..60], atoi, &iota.replace('q', "p"), &mixed] {
            Address::from_bech32("iota", wrong).unwrap_err();
        }
    }
}
