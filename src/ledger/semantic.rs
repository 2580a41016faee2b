//! Rules of a transaction that need the outputs it spends (TIP-20 §Semantic validation), in HORNET's order.

use std::collections::BTreeMap;

use super::chain::{self, ChainId, Chains, Transition};
use super::tokens::{self, Sums};
use super::{Booked, Conflict};
use crate::protocol::address::Address;
use crate::protocol::id::{OutputId, TransactionId};
use crate::protocol::output::condition::Condition;
use crate::protocol::output::feature::Feature;
use crate::protocol::output::{Basic, Output};
use crate::protocol::signature;
use crate::protocol::transaction::{Transaction, Unlock, inputs_commitment};

/// What is known of a transaction's signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// Nothing, or that not all are right.
    Unknown,
    /// All are right; whether they are those of the owners is still open.
    Right,
}

/// Looks at all signatures, which needs no ledger. One Ed25519 check for each.
pub fn signatures(transaction: &Transaction) -> Signatures {
    let message = transaction.essence.signing_hash();
    let right = transaction.unlocks.iter().all(|unlock| match unlock {
        Unlock::Signature { public_key, signature } => signature::is_valid(public_key, signature, &message),
        Unlock::Reference(_) | Unlock::Alias(_) | Unlock::Nft(_) => true,
    });
    if right { Signatures::Right } else { Signatures::Unknown }
}

/// Whether a transaction may spend these outputs, which are in the order of its inputs, at `time`, the Unix time of the
/// milestone. One Ed25519 check for each signature that is not known to be right; else O((inputs + outputs) log).
///
/// # Errors
/// [`Conflict`]: the first rule that is broken.
pub fn check(
    transaction: &Transaction,
    id: TransactionId,
    inputs: &[Booked],
    time: u32,
    signatures: Signatures,
) -> Result<(), Conflict> {
    let essence = &transaction.essence;
    let consumed = || inputs.iter().map(|input| &input.output);
    // TIP-18: > an output with a timelock must not be spent before that time
    if consumed().any(|output| is_locked(output, time)) {
        return Err(Conflict::Timelock);
    }
    if inputs_commitment(consumed()) != essence.inputs_commitment {
        return Err(Conflict::InputsCommitment);
    }
    let created = (0..).zip(&essence.outputs);
    let after = chain::chains(created.map(|(index, output)| (OutputId { transaction: id, index }, output)));
    let unlocked = unlock(transaction, inputs, &after, time, signatures)?;
    // TIP-18: > the address of a sender feature must be unlocked
    if essence.outputs.iter().filter_map(sender).any(|sender| !unlocked.has(&sender)) {
        return Err(Conflict::Sender);
    }
    check_deposit(inputs, &essence.outputs, &unlocked)?;
    let sums = (Sums::of(consumed())?, Sums::of(essence.outputs.iter())?);
    tokens::check(&sums.0, &sums.1, |token| after.contains_key(&ChainId::Foundry(*token)))?;
    let before = chain::chains(inputs.iter().map(|input| (input.id, &input.output)));
    let is_unlocked = |address: &Address| unlocked.has(address);
    Transition {
        before: &before,
        after: &after,
        outputs: &essence.outputs,
        consumed: &sums.0,
        created: &sums.1,
        is_unlocked,
    }
    .check()
}

fn is_locked(output: &Output, time: u32) -> bool {
    let is_later = |condition: &Condition| matches!(condition, Condition::Timelock(until) if time < *until);
    output.conditions().as_slice().iter().any(is_later)
}

fn sender(output: &Output) -> Option<Address> {
    output.features().as_slice().iter().find_map(|feature| match feature {
        Feature::Sender(address) => Some(*address),
        Feature::Issuer(_) | Feature::Metadata(_) | Feature::Tag(_) => None,
    })
}

/// Addresses that the unlocks stand for.
#[derive(Debug, Default)]
struct Unlocked(BTreeMap<Address, Inputs>);

/// Inputs that an address unlocked.
#[derive(Debug)]
struct Inputs {
    /// Where it was unlocked itself.
    first: usize,
    /// Those that referred to that.
    others: Vec<usize>,
}

impl Unlocked {
    fn has(&self, address: &Address) -> bool {
        self.0.contains_key(address)
    }

    fn add(&mut self, address: Address, first: usize) {
        self.0.insert(address, Inputs { first, others: Vec::new() });
    }

    /// Input `at` refers to that which unlocked the address.
    fn refer(&mut self, address: &Address, to: u16, at: usize) -> Result<(), Conflict> {
        let inputs = self.0.get_mut(address).filter(|inputs| inputs.first == usize::from(to));
        inputs.ok_or(Conflict::InputUnlock)?.others.push(at);
        Ok(())
    }

    /// Whether the address unlocked input `at`.
    fn by(&self, address: &Address, at: usize) -> bool {
        self.0.get(address).is_some_and(|inputs| inputs.first == at || inputs.others.contains(&at))
    }
}

/// Goes through the inputs in order: what is unlocked may unlock those after it.
fn unlock(
    transaction: &Transaction,
    inputs: &[Booked],
    after: &Chains<'_>,
    time: u32,
    signatures: Signatures,
) -> Result<Unlocked, Conflict> {
    let message = transaction.essence.signing_hash();
    let mut unlocked = Unlocked::default();
    for (at, (input, unlock)) in inputs.iter().zip(&transaction.unlocks).enumerate() {
        let chain = ChainId::of(&input.output, &input.id);
        let next = chain.and_then(|chain| after.get(&chain).copied());
        let owner = owner(&input.output, next, time)?;
        match (owner, unlock) {
            (Address::Ed25519(hash), Unlock::Signature { public_key, signature }) => {
                // TIP-20: > each address has one signature; inputs after the first refer to it
                if unlocked.has(&owner) {
                    return Err(Conflict::InputUnlock);
                }
                if Address::of_key(public_key) != Address::Ed25519(hash) {
                    return Err(Conflict::Signature);
                }
                if signatures == Signatures::Unknown && !signature::is_valid(public_key, signature, &message)
                {
                    return Err(Conflict::Signature);
                }
                unlocked.add(owner, at);
            }
            (Address::Ed25519(_), Unlock::Reference(to))
            | (Address::Alias(_), Unlock::Alias(to))
            | (Address::Nft(_), Unlock::Nft(to)) => unlocked.refer(&owner, *to, at)?,
            _ => return Err(Conflict::InputUnlock),
        }
        // TIP-18: > an alias unlocks others by a state transition only, an NFT whenever it is spent
        if let Some(address) = chain.and_then(|chain| chain.address())
            && changes_state(&input.output, next)
        {
            unlocked.add(address, at);
        }
    }
    Ok(unlocked)
}

/// Who has to unlock an output; `next` is what becomes of its chain.
fn owner(output: &Output, next: Option<&Output>, time: u32) -> Result<Address, Conflict> {
    for condition in output.conditions().as_slice() {
        // TIP-18: > from that time on only the return address can unlock it
        if let Condition::Expiration { address, time: from } = condition
            && *from <= time
        {
            return Ok(*address);
        }
    }
    match output {
        Output::Basic(Basic { conditions, .. }) => Ok(conditions.owner()),
        Output::Nft(nft) => Ok(nft.conditions.owner()),
        Output::Foundry(foundry) => Ok(Address::Alias(foundry.alias())),
        Output::Alias(alias) => match next {
            None => Ok(alias.governor()),
            Some(Output::Alias(next)) if next.state_index == alias.state_index => Ok(alias.governor()),
            Some(Output::Alias(next)) if next.state_index == alias.state_index.wrapping_add(1) => {
                Ok(alias.state_controller())
            }
            Some(_) => Err(Conflict::ChainTransition),
        },
    }
}

fn changes_state(output: &Output, next: Option<&Output>) -> bool {
    match (output, next) {
        (Output::Alias(alias), Some(Output::Alias(next))) => {
            next.state_index == alias.state_index.wrapping_add(1)
        }
        (Output::Alias(_), _) => false,
        (Output::Basic(_) | Output::Foundry(_) | Output::Nft(_), _) => true,
    }
}

fn check_deposit(inputs: &[Booked], outputs: &[Output], unlocked: &Unlocked) -> Result<(), Conflict> {
    let mut returns = BTreeMap::<Address, u128>::new();
    for (at, input) in inputs.iter().enumerate() {
        for condition in input.output.conditions().as_slice() {
            if let Condition::StorageDepositReturn { address, amount } = condition
                // TIP-18: > nothing is returned to whom unlocked it himself, after an expiration
                && !unlocked.by(address, at)
            {
                *returns.entry(*address).or_default() += u128::from(*amount);
            }
        }
    }
    let amount = |output: &Output| u128::from(output.value().amount);
    // TIP-20: > inputs and outputs must hold the same amount
    if inputs.iter().map(|input| amount(&input.output)).sum::<u128>() != outputs.iter().map(amount).sum() {
        return Err(Conflict::SumMismatch);
    }
    // TIP-18: > returned by basic outputs with nothing but an address; HORNET: > by one at least, be it for nothing
    let returned = |(to, least): (&Address, &u128)| {
        let plain =
            || outputs.iter().filter(|output| is_plain(output) && output.conditions().address() == Some(*to));
        plain().next().is_some() && plain().map(amount).sum::<u128>() >= *least
    };
    if returns.iter().all(returned) { Ok(()) } else { Err(Conflict::ReturnAmount) }
}

fn is_plain(output: &Output) -> bool {
    let value = output.value();
    matches!(output, Output::Basic(_))
        && output.features().as_slice().is_empty()
        && output.conditions().as_slice().len() == 1
        && value.native_tokens.as_slice().is_empty()
}
