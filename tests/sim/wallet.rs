//! What clients attach: data, transfers, and transfers that cannot be.

use ed25519_zebra::{SigningKey, VerificationKey};
use osmia::ledger::Booked;
use osmia::ledger::treasury::plain;
use osmia::protocol::address::Address;
use osmia::protocol::block::Payload;
use osmia::protocol::id::OutputId;
use osmia::protocol::output::Output;
use osmia::protocol::params::ProtocolParameters;
use osmia::protocol::tagged_data::TaggedData;
use osmia::protocol::transaction::{Essence, Transaction, Unlock, inputs_commitment};
use osmia::snapshot::genesis;

use crate::random::Random;
use crate::store::MemStore;

/// Owners of all there is; clients of every node have all of their keys.
const OWNERS: [u8; 3] = [1, 2, 3];

/// Amounts below are not split: the storage deposit is not the matter here.
const LEAST: u64 = 100_000;

fn key(owner: u8) -> SigningKey {
    SigningKey::from([owner; 32])
}

fn address(owner: u8) -> Address {
    Address::of_key(&VerificationKey::from(&key(owner)).into())
}

/// The first ledger: everybody has several outputs.
pub(crate) fn genesis(supply: u64) -> Vec<Booked> {
    let grants = OWNERS.into_iter().flat_map(|owner| [(address(owner), supply / 10); 3]).collect::<Vec<_>>();
    genesis::outputs(supply, address(OWNERS[0]), &grants).expect("nine tenths are less than all")
}

/// Clients of one node.
#[derive(Debug, Default)]
pub(crate) struct Wallet {
    /// What their newest transactions make, which no milestone has applied yet.
    hoped_for: Vec<(OutputId, Output)>,
    /// What they have spent: now and then they try again.
    gone: Vec<(OutputId, Output)>,
}

impl Wallet {
    /// The payload of a client's next block.
    pub(crate) fn payload(
        &mut self,
        store: &MemStore,
        network: &ProtocolParameters,
        random: &mut Random,
    ) -> Payload {
        if random.once_in(2)
            && let Some(transaction) = self.transfer(store, network, random)
        {
            return Payload::Transaction(Box::new(transaction));
        }
        let data = random.next().to_le_bytes().to_vec();
        Payload::TaggedData(TaggedData::new(b"sim".to_vec(), data).expect("it is short"))
    }

    fn transfer(
        &mut self,
        store: &MemStore,
        network: &ProtocolParameters,
        random: &mut Random,
    ) -> Option<Transaction> {
        let unspent = || store.unspent().values().map(|booked| (booked.id, booked.output.clone())).collect();
        let from = match random.below(8) {
            0 => self.gone.clone(),
            1..4 => self.hoped_for.clone(),
            _ => unspent(),
        };
        let first = from.get(random.below(from.len().max(1)))?;
        let owner = OWNERS.into_iter().find(|owner| address(*owner) == first.1.conditions().owner())?;
        let mut inputs = vec![first.clone()];
        let second = &from[random.below(from.len())];
        if second.0 != first.0 && second.1.conditions().owner() == first.1.conditions().owner() {
            inputs.push(second.clone());
        }
        let sum = inputs.iter().map(|(_, output)| output.value().amount).sum::<u64>();
        // A transfer out of nothing, now and then.
        let sum = if random.once_in(16) { sum + 1 } else { sum };
        let mut to = || address(OWNERS[random.below(OWNERS.len())]);
        let outputs = match sum {
            LEAST.. => vec![plain(to(), sum / 3), plain(to(), sum - sum / 3)],
            _ => vec![plain(to(), sum)],
        };
        // A thief, now and then.
        let signer = if random.once_in(16) { key(9) } else { key(owner) };
        let transaction = spend(&signer, network, &inputs, outputs);
        self.remember(&transaction, inputs);
        Some(transaction)
    }

    fn remember(&mut self, transaction: &Transaction, inputs: Vec<(OutputId, Output)>) {
        let id = transaction.id();
        let made = (0..).zip(&transaction.essence.outputs);
        self.hoped_for
            .extend(made.map(|(index, output)| (OutputId { transaction: id, index }, output.clone())));
        self.gone.extend(inputs);
        for list in [&mut self.hoped_for, &mut self.gone] {
            list.drain(..list.len().saturating_sub(8));
        }
    }
}

fn spend(
    signer: &SigningKey,
    network: &ProtocolParameters,
    inputs: &[(OutputId, Output)],
    outputs: Vec<Output>,
) -> Transaction {
    let essence = Essence {
        network_id: network.network_id(),
        inputs: inputs.iter().map(|(id, _)| *id).collect(),
        inputs_commitment: inputs_commitment(inputs.iter().map(|(_, output)| output)),
        outputs,
        payload: None,
    };
    let signature = signer.sign(&essence.signing_hash()).into();
    let first = Unlock::Signature { public_key: VerificationKey::from(signer).into(), signature };
    let others = std::iter::repeat_n(Unlock::Reference(0), inputs.len() - 1);
    Transaction { essence, unlocks: std::iter::once(first).chain(others).collect() }
}
