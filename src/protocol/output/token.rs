//! Native tokens (TIP-18): amounts of what foundries mint.

use primitive_types::U256;

use crate::protocol::Error;
use crate::protocol::id::TokenId;
use crate::protocol::pack::{Reader, Writer, check_ascending, check_range};

/// Most kinds of tokens in an output.
pub const MAX_TOKENS: usize = 64;

/// An amount of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeToken {
    /// Which.
    pub id: TokenId,
    /// How many, more than none.
    pub amount: U256,
}

/// The tokens of an output, ascending by id, none twice, each more than none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NativeTokens(Vec<NativeToken>);

impl NativeTokens {
    /// Takes tokens in order.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for more than 64 or an amount of 0, [`Error::NotSorted`].
    pub fn new(list: Vec<NativeToken>) -> Result<Self, Error> {
        check_range("nativeTokens count", list.len() as u64, 0, MAX_TOKENS as u64)?;
        let ids = list.iter().map(|token| token.id).collect::<Vec<_>>();
        // TIP-18: > native tokens must be lexicographically sorted based on their id, each at most once
        check_ascending("nativeTokens", &ids)?;
        // TIP-18: > amount of any native token must not be 0
        if list.iter().any(|token| token.amount.is_zero()) {
            return Err(Error::OutOfRange { field: "nativeTokens amount", value: 0, min: 1, max: u64::MAX });
        }
        Ok(Self(list))
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let count = reader.u8("nativeTokens count")?;
        let list = (0..count).map(|_| {
            let id = TokenId(reader.array("nativeTokens id")?);
            Ok(NativeToken { id, amount: reader.u256("nativeTokens amount")? })
        });
        Self::new(list.collect::<Result<_, Error>>()?)
    }

    pub(super) fn pack(&self, writer: &mut Writer) {
        writer.count_u8(self.0.len());
        for token in &self.0 {
            writer.bytes(&token.id.0).u256(&token.amount);
        }
    }

    /// Ascending by id.
    pub fn as_slice(&self) -> &[NativeToken] {
        &self.0
    }
}
