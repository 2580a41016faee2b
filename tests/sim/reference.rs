//! The ledger once more, written down from the TIPs as plainly as can be, for transfers alone: what every node's must be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_zebra::{Signature, VerificationKey};
use osmia::ledger::{Booked, Inclusion, Referenced};
use osmia::protocol::address::Address;
use osmia::protocol::blake2b_256;
use osmia::protocol::block::{Block, Payload};
use osmia::protocol::id::{BlockId, OutputId};
use osmia::protocol::milestone::Milestone;
use osmia::protocol::output::Output;
use osmia::protocol::transaction::{Transaction, Unlock};

/// What becomes of a block: `None` for one without a transaction.
pub(crate) type Fate = (BlockId, Option<bool>);

#[derive(Debug)]
pub(crate) struct Reference {
    unspent: BTreeMap<OutputId, Output>,
    referenced: BTreeSet<BlockId>,
    supply: u64,
}

impl Reference {
    pub(crate) fn new(outputs: Vec<Booked>) -> Self {
        let unspent =
            outputs.into_iter().map(|booked| (booked.id, booked.output)).collect::<BTreeMap<_, _>>();
        let supply = sum(unspent.values());
        // The Tangle begins at the zero block.
        Self { unspent, referenced: BTreeSet::from([BlockId::ZERO]), supply }
    }

    /// The next milestone, and what it has to do; `bytes` gives any block of its past cone.
    pub(crate) fn confirm(
        &mut self,
        milestone: &Milestone,
        bytes: &dyn Fn(&BlockId) -> Option<Arc<[u8]>>,
    ) -> Result<Vec<Fate>, String> {
        let mut fates = Vec::new();
        for parent in milestone.essence.parents.as_slice() {
            self.visit(*parent, bytes, &mut fates)?;
        }
        let sum = sum(self.unspent.values());
        if sum == self.supply { Ok(fates) } else { Err(format!("{sum} base tokens of {}", self.supply)) }
    }

    /// TIP-2: > parents in their order first, then the block; what is referenced already is not entered
    fn visit(
        &mut self,
        id: BlockId,
        bytes: &dyn Fn(&BlockId) -> Option<Arc<[u8]>>,
        fates: &mut Vec<Fate>,
    ) -> Result<(), String> {
        if self.referenced.contains(&id) {
            return Ok(());
        }
        let bytes_of_it = bytes(&id).ok_or_else(|| format!("block {id} of the past cone is missing"))?;
        let block = Block::parse(&bytes_of_it).map_err(|error| format!("block {id}: {error}"))?;
        for parent in block.parents.as_slice() {
            self.visit(*parent, bytes, fates)?;
        }
        self.referenced.insert(id);
        let applied = match &block.payload {
            Some(Payload::Transaction(transaction)) => Some(self.apply(transaction)),
            Some(Payload::TaggedData(_) | Payload::Milestone(_)) | None => None,
        };
        fates.push((id, applied));
        Ok(())
    }

    /// Whether the transfer is good here and now.
    fn apply(&mut self, transaction: &Transaction) -> bool {
        let essence = &transaction.essence;
        let Some(inputs) = essence.inputs.iter().map(|id| self.unspent.get(id)).collect::<Option<Vec<_>>>()
        else {
            return false;
        };
        let signed = inputs.iter().zip(&transaction.unlocks).all(|(input, unlock)| {
            let unlock = match unlock {
                Unlock::Reference(at) => &transaction.unlocks[usize::from(*at)],
                other @ (Unlock::Signature { .. } | Unlock::Alias(_) | Unlock::Nft(_)) => other,
            };
            let Unlock::Signature { public_key, signature } = unlock else { return false };
            let message = essence.signing_hash();
            let right = VerificationKey::try_from(*public_key)
                .is_ok_and(|key| key.verify(&Signature::from(*signature), &message).is_ok());
            right && input.conditions().owner() == Address::Ed25519(blake2b_256(public_key))
        });
        let hashes = inputs.iter().flat_map(|input| blake2b_256(&input.to_bytes())).collect::<Vec<_>>();
        let good = signed
            && blake2b_256(&hashes) == essence.inputs_commitment
            && sum(inputs.into_iter()) == sum(essence.outputs.iter());
        if good {
            let id = transaction.id();
            essence.inputs.iter().for_each(|input| drop(self.unspent.remove(input)));
            let made = (0..).zip(&essence.outputs);
            self.unspent
                .extend(made.map(|(index, made)| (OutputId { transaction: id, index }, made.clone())));
        }
        good
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        digest(self.unspent.iter())
    }
}

fn sum<'a>(outputs: impl Iterator<Item = &'a Output>) -> u64 {
    outputs.map(|output| output.value().amount).sum()
}

/// A hash over unspent outputs in order of their ids.
pub(crate) fn digest<'a>(outputs: impl Iterator<Item = (&'a OutputId, &'a Output)>) -> [u8; 32] {
    let bytes = outputs.flat_map(|(id, output)| [id.pack().to_vec(), output.to_bytes()].concat());
    blake2b_256(&bytes.collect::<Vec<_>>())
}

/// What a node says became of the blocks.
pub(crate) fn fates(referenced: &[Referenced]) -> Vec<Fate> {
    let fate = |block: &Referenced| match block.inclusion {
        Inclusion::NoTransaction => None,
        Inclusion::Included => Some(true),
        Inclusion::Conflicting(_) => Some(false),
    };
    referenced.iter().map(|block| (block.id, fate(block))).collect()
}
