//! Rules of a transaction that need nothing but the protocol parameters (TIP-18, TIP-19, TIP-20 §Syntactic validation).

use std::collections::BTreeSet;

use super::chain::ChainId;
use super::treasury::plain;
use crate::protocol::address::Address;
use crate::protocol::id::{AliasId, NftId, OutputId, TokenId};
use crate::protocol::output::condition::Condition;
use crate::protocol::output::token::MAX_TOKENS;
use crate::protocol::output::{Alias, Foundry, Nft, Output};
use crate::protocol::params::ProtocolParameters;
use crate::protocol::rent::min_deposit;
use crate::protocol::transaction::{Transaction, Unlock};

/// Why a transaction can never be valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Made for another network.
    #[error("payload.essence.networkId: {found} is not this network's id {expected}")]
    Network {
        /// The transaction's.
        found: u64,
        /// This network's.
        expected: u64,
    },
    /// Spends an output twice.
    #[error("payload.essence.inputs: {0} stands twice")]
    InputTwice(OutputId),
    /// An output breaks a rule.
    #[error("payload.essence.outputs[{at}]: {problem}")]
    Output {
        /// Its place.
        at: usize,
        /// What is wrong.
        problem: OutputProblem,
    },
    /// An unlock breaks a rule.
    #[error("payload.unlocks[{at}]: {problem}")]
    Unlock {
        /// Its place.
        at: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Error {
    /// Whether an output holds less than the network's parameters ask for.
    pub fn is_deposit(&self) -> bool {
        matches!(self, Self::Output { problem: OutputProblem::Deposit { .. }, .. })
    }
}

/// What can be wrong with an output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputProblem {
    /// None, or more than there are.
    #[error("amount: {0} is not between 1 and the token supply")]
    Amount(u64),
    /// All outputs together.
    #[error("amount: together with the outputs before, more than the token supply")]
    Sum,
    /// Does not pay for its room.
    #[error("amount: {amount} is below the storage deposit {least}")]
    Deposit {
        /// What it holds.
        amount: u64,
        /// What it must hold.
        least: u64,
    },
    /// Returns too much or too little.
    #[error("storage deposit return: {amount} is not between {least} and the output's amount")]
    Return {
        /// What is to be returned.
        amount: u64,
        /// Storage deposit of the output that returns it.
        least: u64,
    },
    /// A time of 0.
    #[error("{0}: unixTime must not be 0")]
    Time(&'static str),
    /// Too many kinds of tokens.
    #[error("nativeTokens: more than {MAX_TOKENS} kinds in all outputs")]
    Tokens,
    /// The same alias, foundry or NFT twice.
    #[error("the same alias, foundry or NFT as in an output before")]
    Twice,
    /// A new alias with a past.
    #[error("stateIndex and foundryCounter of a new alias must be 0")]
    NewAlias,
    /// Owns itself.
    #[error("an alias or NFT must not own itself")]
    Cyclic,
    /// Counters that cannot be.
    #[error("tokenScheme: maximumSupply must be more than 0, and minted less melted tokens from 0 to that")]
    Scheme,
}

/// Checks everything that can be said without the ledger. O(inputs + outputs).
///
/// # Errors
/// [`Error`].
pub fn check(transaction: &Transaction, params: &ProtocolParameters) -> Result<(), Error> {
    let essence = &transaction.essence;
    let (found, expected) = (essence.network_id, params.network_id());
    if found != expected {
        return Err(Error::Network { found, expected });
    }
    let mut seen = BTreeSet::new();
    // TIP-20: > inputs must be unique
    if let Some(twice) = essence.inputs.iter().find(|input| !seen.insert(**input)) {
        return Err(Error::InputTwice(*twice));
    }
    let mut sofar = Outputs::default();
    for (at, output) in essence.outputs.iter().enumerate() {
        sofar.check(output, params).map_err(|problem| Error::Output { at, problem })?;
    }
    check_unlocks(&transaction.unlocks)
}

/// What the outputs before hold.
#[derive(Debug, Default)]
struct Outputs {
    sum: u64,
    tokens: BTreeSet<TokenId>,
    chains: BTreeSet<ChainId>,
}

impl Outputs {
    fn check(&mut self, output: &Output, params: &ProtocolParameters) -> Result<(), OutputProblem> {
        let amount = output.value().amount;
        // TIP-18: > amount must be greater than 0 and at most the total supply
        if amount == 0 || amount > params.token_supply {
            return Err(OutputProblem::Amount(amount));
        }
        let sum = self.sum.checked_add(amount).filter(|sum| *sum <= params.token_supply);
        self.sum = sum.ok_or(OutputProblem::Sum)?;
        let least = min_deposit(&params.rent, output);
        // TIP-19: > an output must hold at least its storage deposit
        if amount < least {
            return Err(OutputProblem::Deposit { amount, least });
        }
        check_conditions(output, params)?;
        self.tokens.extend(output.value().native_tokens.as_slice().iter().map(|token| token.id));
        if self.tokens.len() > MAX_TOKENS {
            return Err(OutputProblem::Tokens);
        }
        // TIP-18: > no chain may have two outputs in a transaction
        if ChainId::named(output).is_some_and(|id| !self.chains.insert(id)) {
            return Err(OutputProblem::Twice);
        }
        match output {
            Output::Basic(_) => Ok(()),
            Output::Alias(alias) => check_alias(alias),
            Output::Foundry(foundry) => check_scheme(foundry),
            Output::Nft(nft) => check_nft(nft),
        }
    }
}

fn check_conditions(output: &Output, params: &ProtocolParameters) -> Result<(), OutputProblem> {
    for condition in output.conditions().as_slice() {
        match condition {
            Condition::StorageDepositReturn { address, amount } => {
                let least = min_deposit(&params.rent, &plain(*address, 0));
                // TIP-18: > from the storage deposit of the output that returns it to this output's amount
                if *amount < least || *amount > output.value().amount {
                    return Err(OutputProblem::Return { amount: *amount, least });
                }
            }
            Condition::Timelock(0) => return Err(OutputProblem::Time("timelock")),
            Condition::Expiration { time: 0, .. } => return Err(OutputProblem::Time("expiration")),
            Condition::Address(_)
            | Condition::Timelock(_)
            | Condition::Expiration { .. }
            | Condition::StateController(_)
            | Condition::Governor(_)
            | Condition::ImmutableAlias(_) => {}
        }
    }
    Ok(())
}

fn check_alias(alias: &Alias) -> Result<(), OutputProblem> {
    if alias.id == AliasId::ZERO {
        // TIP-18: > when Alias ID is zeroed out, State Index and Foundry Counter must be 0
        let fresh = alias.state_index == 0 && alias.foundry_counter == 0;
        return if fresh { Ok(()) } else { Err(OutputProblem::NewAlias) };
    }
    let own = Address::Alias(alias.id);
    // TIP-18: > neither controller may be the alias itself
    if alias.state_controller() == own || alias.governor() == own {
        Err(OutputProblem::Cyclic)
    } else {
        Ok(())
    }
}

fn check_nft(nft: &Nft) -> Result<(), OutputProblem> {
    // TIP-18: > the address must not be that of the NFT itself
    let cyclic = nft.id != NftId::ZERO && nft.conditions.address() == Some(Address::Nft(nft.id));
    if cyclic { Err(OutputProblem::Cyclic) } else { Ok(()) }
}

fn check_scheme(foundry: &Foundry) -> Result<(), OutputProblem> {
    let scheme = &foundry.scheme;
    // TIP-18: > maximum supply > 0, melted tokens <= minted tokens, minted - melted <= maximum supply
    let circulating = scheme.minted.checked_sub(scheme.melted);
    let holds = !scheme.maximum.is_zero() && circulating.is_some_and(|count| count <= scheme.maximum);
    if holds { Ok(()) } else { Err(OutputProblem::Scheme) }
}

fn check_unlocks(unlocks: &[Unlock]) -> Result<(), Error> {
    let mut signatures = BTreeSet::new();
    for (at, unlock) in unlocks.iter().enumerate() {
        let before = |index: &u16| unlocks[..at].get(usize::from(*index));
        let problem = match unlock {
            // TIP-20: > a signature may stand only once
            Unlock::Signature { public_key, signature } => {
                (!signatures.insert((public_key, signature))).then_some("the signature of an unlock before")
            }
            // TIP-20: > a reference unlock must refer to a signature unlock before it
            Unlock::Reference(index) => match before(index) {
                Some(Unlock::Signature { .. }) => None,
                Some(Unlock::Reference(_) | Unlock::Alias(_) | Unlock::Nft(_)) | None => {
                    Some("refers to no signature before it")
                }
            },
            // TIP-20: > an alias or NFT unlock must refer to an unlock before it
            Unlock::Alias(index) | Unlock::Nft(index) => {
                before(index).is_none().then_some("refers to no unlock before it")
            }
        };
        if let Some(problem) = problem {
            return Err(Error::Unlock { at, problem });
        }
    }
    Ok(())
}
