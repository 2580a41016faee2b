//! Aliases, foundries and NFTs: what may become of them from one output to the next (TIP-18).

use std::collections::BTreeMap;

use primitive_types::U256;

use super::Conflict;
use super::tokens::Sums;
use crate::protocol::address::Address;
use crate::protocol::id::{AliasId, NftId, OutputId, TokenId};
use crate::protocol::output::feature::{Feature, Features};
use crate::protocol::output::{Alias, Foundry, Nft, Output, TokenScheme};

/// Something that lives on from output to output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChainId {
    /// An alias.
    Alias(AliasId),
    /// A foundry.
    Foundry(TokenId),
    /// An NFT.
    Nft(NftId),
}

impl ChainId {
    /// Of an output with that id.
    pub fn of(output: &Output, id: &OutputId) -> Option<Self> {
        match output {
            Output::Basic(_) => None,
            Output::Alias(alias) => Some(Self::Alias(alias.id_in(id))),
            Output::Foundry(foundry) => Some(Self::Foundry(foundry.id())),
            Output::Nft(nft) => Some(Self::Nft(nft.id_in(id))),
        }
    }

    /// As the output itself names it: none for one that is new.
    pub fn named(output: &Output) -> Option<Self> {
        match output {
            Output::Basic(_) => None,
            Output::Alias(alias) => Some(alias.id).filter(|id| *id != AliasId::ZERO).map(Self::Alias),
            Output::Foundry(foundry) => Some(Self::Foundry(foundry.id())),
            Output::Nft(nft) => Some(nft.id).filter(|id| *id != NftId::ZERO).map(Self::Nft),
        }
    }

    /// The address that it has.
    pub fn address(&self) -> Option<Address> {
        match self {
            Self::Alias(id) => Some(Address::Alias(*id)),
            Self::Nft(id) => Some(Address::Nft(*id)),
            Self::Foundry(_) => None,
        }
    }
}

/// Chains of one side of a transaction.
pub(super) type Chains<'a> = BTreeMap<ChainId, &'a Output>;

/// Of these outputs.
pub(super) fn chains<'a>(outputs: impl Iterator<Item = (OutputId, &'a Output)>) -> Chains<'a> {
    outputs.filter_map(|(id, output)| Some((ChainId::of(output, &id)?, output))).collect()
}

/// A transaction as its chains see it.
#[derive(Debug)]
pub(super) struct Transition<'a, F> {
    /// Chains that it spends.
    pub(super) before: &'a Chains<'a>,
    /// Chains that it makes.
    pub(super) after: &'a Chains<'a>,
    /// All outputs that it makes.
    pub(super) outputs: &'a [Output],
    pub(super) consumed: &'a Sums,
    pub(super) created: &'a Sums,
    /// Whether an input's unlock stands for an address.
    pub(super) is_unlocked: F,
}

impl<F: Fn(&Address) -> bool> Transition<'_, F> {
    /// Judges all chains.
    pub(super) fn check(&self) -> Result<(), Conflict> {
        let changed =
            self.before.iter().all(|(id, output)| self.goes_on(output, self.after.get(id).copied()));
        let begun = || self.after.iter().filter(|(id, _)| !self.before.contains_key(id));
        let all = changed && begun().all(|(_, output)| self.begins(output));
        if all { Ok(()) } else { Err(Conflict::ChainTransition) }
    }

    fn begins(&self, output: &Output) -> bool {
        match output {
            Output::Basic(_) => true,
            // TIP-18: > a new alias or NFT has an id of zeros, and its issuer must be unlocked
            Output::Alias(alias) => {
                alias.id == AliasId::ZERO && self.issuer_unlocked(&alias.immutable_features)
            }
            Output::Nft(nft) => nft.id == NftId::ZERO && self.issuer_unlocked(&nft.immutable_features),
            Output::Foundry(foundry) => self.foundry_begins(foundry),
        }
    }

    fn goes_on(&self, before: &Output, after: Option<&Output>) -> bool {
        match (before, after) {
            // Who unlocked it may also destroy it.
            (Output::Alias(_) | Output::Nft(_) | Output::Basic(_), None) => true,
            (Output::Foundry(foundry), None) => self.foundry_ends(foundry),
            (Output::Alias(before), Some(Output::Alias(after))) => self.alias_goes_on(before, after),
            (Output::Foundry(before), Some(Output::Foundry(after))) => self.foundry_goes_on(before, after),
            (Output::Nft(before), Some(Output::Nft(after))) => nft_goes_on(before, after),
            // Ids of different kinds are never the same.
            (_, Some(_)) => false,
        }
    }

    fn issuer_unlocked(&self, features: &Features) -> bool {
        features.issuer().is_none_or(|issuer| (self.is_unlocked)(&issuer))
    }

    fn alias_goes_on(&self, before: &Alias, after: &Alias) -> bool {
        if before.immutable_features != after.immutable_features {
            return false;
        }
        // TIP-18: > a governance transition keeps the state index
        if before.state_index == after.state_index {
            return before.value == after.value
                && before.state_metadata == after.state_metadata
                && before.foundry_counter == after.foundry_counter;
        }
        // TIP-18: > a state transition raises it by one, and changes neither controllers nor metadata
        before.conditions == after.conditions
            && after.foundry_counter.checked_sub(before.foundry_counter).is_some_and(|new| {
                // Counted only where it matters.
                new == 0 || u32::try_from(self.new_foundries(after.id).count()) == Ok(new)
            })
            && before.state_index.wrapping_add(1) == after.state_index
            && before.features.metadata() == after.features.metadata()
    }

    /// Foundries of an alias that this transaction founds, in the order of the outputs.
    fn new_foundries(&self, alias: AliasId) -> impl Iterator<Item = &Foundry> {
        self.outputs.iter().filter_map(move |output| match output {
            Output::Foundry(foundry) => {
                let is_new = !self.before.contains_key(&ChainId::Foundry(foundry.id()));
                Some(foundry).filter(|_| is_new && foundry.alias() == alias)
            }
            Output::Basic(_) | Output::Alias(_) | Output::Nft(_) => None,
        })
    }

    fn foundry_begins(&self, foundry: &Foundry) -> bool {
        let scheme = &foundry.scheme;
        // TIP-18: > a new foundry has melted nothing, and minted what the outputs hold
        if !scheme.melted.is_zero() || scheme.minted != self.created.get(&foundry.id()) {
            return false;
        }
        let alias = ChainId::Alias(foundry.alias());
        let (Some(Output::Alias(before)), Some(Output::Alias(after))) =
            (self.before.get(&alias), self.after.get(&alias))
        else {
            return false;
        };
        // TIP-18: > serial numbers continue the alias' count, ascending in the order of the outputs
        let counted = before.foundry_counter < foundry.serial && foundry.serial <= after.foundry_counter;
        let ahead = self.new_foundries(foundry.alias()).take_while(|other| other.id() != foundry.id());
        counted && ahead.into_iter().all(|other| other.serial < foundry.serial)
    }

    fn foundry_goes_on(&self, before: &Foundry, after: &Foundry) -> bool {
        let (old, new) = (&before.scheme, &after.scheme);
        let (Some(minted), Some(melted)) =
            (new.minted.checked_sub(old.minted), new.melted.checked_sub(old.melted))
        else {
            return false;
        };
        let (consumed, created) = (self.consumed.get(&before.id()), self.created.get(&before.id()));
        before.immutable_features == after.immutable_features
            && old.maximum == new.maximum
            && is_balanced(consumed, created, minted, melted)
    }

    fn foundry_ends(&self, foundry: &Foundry) -> bool {
        let TokenScheme { minted, melted, .. } = foundry.scheme;
        let (consumed, created) = (self.consumed.get(&foundry.id()), self.created.get(&foundry.id()));
        // TIP-18: > minted + (created - consumed) = melted; with both sides' carry, as the sums may need 257 bits
        minted.overflowing_add(created) == melted.overflowing_add(consumed)
    }
}

/// Whether tokens that appear were minted, and those that disappear melted, or burned.
fn is_balanced(consumed: U256, created: U256, minted: U256, melted: U256) -> bool {
    match created.checked_sub(consumed) {
        // TIP-18: > what appears was minted, and nothing melted meanwhile; HORNET: > nothing changes with equal sums
        Some(appeared) => minted == appeared && melted.is_zero(),
        // TIP-18: > of what disappears, some may be burned
        None => minted.is_zero() && melted <= consumed - created,
    }
}

fn nft_goes_on(before: &Nft, after: &Nft) -> bool {
    before.immutable_features == after.immutable_features
}

impl Features {
    fn issuer(&self) -> Option<Address> {
        self.as_slice().iter().find_map(|feature| match feature {
            Feature::Issuer(address) => Some(*address),
            Feature::Sender(_) | Feature::Metadata(_) | Feature::Tag(_) => None,
        })
    }

    fn metadata(&self) -> Option<&[u8]> {
        self.as_slice().iter().find_map(|feature| match feature {
            Feature::Metadata(bytes) => Some(bytes.as_slice()),
            Feature::Sender(_) | Feature::Issuer(_) | Feature::Tag(_) => None,
        })
    }
}
