//! Sums of native tokens, and what may become of them (TIP-18).

use std::collections::BTreeMap;

use primitive_types::U256;

use super::Conflict;
use crate::protocol::id::TokenId;
use crate::protocol::output::Output;
use crate::protocol::output::token::MAX_TOKENS;

/// Tokens of one side of a transaction.
#[derive(Debug, Default)]
pub(super) struct Sums(BTreeMap<TokenId, U256>);

impl Sums {
    /// Over all these outputs.
    pub(super) fn of<'a>(outputs: impl Iterator<Item = &'a Output>) -> Result<Self, Conflict> {
        let mut sums = BTreeMap::new();
        for token in outputs.flat_map(|output| output.value().native_tokens.as_slice()) {
            let sum = sums.entry(token.id).or_insert_with(U256::zero);
            // TIP-18: > the sum of an amount must fit into a uint256
            *sum = sum.checked_add(token.amount).ok_or(Conflict::NativeTokens)?;
        }
        Ok(Self(sums))
    }

    pub(super) fn get(&self, id: &TokenId) -> U256 {
        self.0.get(id).copied().unwrap_or_default()
    }
}

/// Rules that hold for tokens whose foundry is not among the new outputs (`has_foundry`); the foundry judges the others.
pub(super) fn check(
    consumed: &Sums,
    created: &Sums,
    has_foundry: impl Fn(&TokenId) -> bool,
) -> Result<(), Conflict> {
    let new = created.0.keys().filter(|id| !consumed.0.contains_key(id)).count();
    // TIP-20: > max. 64 distinct native tokens over inputs and outputs
    if consumed.0.len() + new > MAX_TOKENS {
        return Err(Conflict::NativeTokens);
    }
    // TIP-18: > without the foundry, tokens may be burned, and none may appear
    let appears = |(id, sum): (&TokenId, &U256)| *sum > consumed.get(id) && !has_foundry(id);
    if created.0.iter().any(appears) { Err(Conflict::NativeTokens) } else { Ok(()) }
}
