//! Outputs and signed transactions in few words, for tables of cases.

use ed25519_zebra::{SigningKey, VerificationKey};
use osmia::ledger::semantic::{self, Signatures};
use osmia::ledger::{Booked, Conflict};
use osmia::protocol::address::Address;
use osmia::protocol::id::{AliasId, BlockId, MilestoneIndex, NftId, OutputId, TokenId, TransactionId};
use osmia::protocol::output::condition::{Condition, Conditions};
use osmia::protocol::output::feature::{Feature, Features};
use osmia::protocol::output::token::{NativeToken, NativeTokens};
use osmia::protocol::output::{Alias, Basic, Foundry, Nft, Output, TokenScheme, Value};
use osmia::protocol::transaction::{Essence, Transaction, Unlock, inputs_commitment};
use osmia::protocol::{Error, blake2b_256};
use primitive_types::U256;

/// Somebody with a key; the number is the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who(pub(crate) u8);

impl Who {
    fn key(self) -> SigningKey {
        SigningKey::from([self.0; 32])
    }

    fn public_key(self) -> [u8; 32] {
        VerificationKey::from(&self.key()).into()
    }

    pub(crate) fn sign(self, message: &[u8]) -> ([u8; 32], [u8; 64]) {
        (self.public_key(), self.key().sign(message).into())
    }
}

/// Whoever an output may belong to.
pub(crate) trait Owner {
    fn address(&self) -> Address;
}

impl Owner for Address {
    fn address(&self) -> Address {
        *self
    }
}

impl Owner for Who {
    fn address(&self) -> Address {
        Address::of_key(&self.public_key())
    }
}

impl Owner for AliasId {
    fn address(&self) -> Address {
        Address::Alias(*self)
    }
}

impl Owner for NftId {
    fn address(&self) -> Address {
        Address::Nft(*self)
    }
}

/// An output in the making.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    kind: Kind,
    amount: u64,
    tokens: Tokens,
    conditions: Vec<Condition>,
    features: Vec<Feature>,
    immutable: Vec<Feature>,
}

/// Native tokens with their amounts.
pub(crate) type Tokens = Vec<(TokenId, U256)>;

#[derive(Debug, Clone)]
enum Kind {
    Basic,
    Alias { id: AliasId, state: u32, state_metadata: Vec<u8>, counter: u32 },
    Foundry { serial: u32, scheme: TokenScheme },
    Nft { id: NftId },
}

fn draft(kind: Kind, amount: u64, conditions: Vec<Condition>) -> Draft {
    Draft { kind, amount, tokens: Vec::new(), conditions, features: Vec::new(), immutable: Vec::new() }
}

pub(crate) fn basic(amount: u64, owner: impl Owner) -> Draft {
    draft(Kind::Basic, amount, vec![Condition::Address(owner.address())])
}

pub(crate) fn nft(amount: u64, id: NftId, owner: impl Owner) -> Draft {
    draft(Kind::Nft { id }, amount, vec![Condition::Address(owner.address())])
}

pub(crate) fn alias(
    amount: u64,
    id: AliasId,
    state: u32,
    controller: impl Owner,
    governor: impl Owner,
) -> Draft {
    let conditions =
        vec![Condition::StateController(controller.address()), Condition::Governor(governor.address())];
    draft(Kind::Alias { id, state, state_metadata: Vec::new(), counter: 0 }, amount, conditions)
}

/// `scheme` is minted, melted and maximum supply.
pub(crate) fn foundry(amount: u64, owner: AliasId, serial: u32, scheme: [u64; 3]) -> Draft {
    let [minted, melted, maximum] = scheme.map(U256::from);
    let scheme = TokenScheme { minted, melted, maximum };
    draft(Kind::Foundry { serial, scheme }, amount, vec![Condition::ImmutableAlias(owner)])
}

impl Draft {
    pub(crate) fn amount(mut self, amount: u64) -> Self {
        self.amount = amount;
        self
    }

    pub(crate) fn holds(mut self, id: TokenId, amount: u64) -> Self {
        self.tokens.push((id, amount.into()));
        self
    }

    pub(crate) fn tokens(mut self, tokens: &[(TokenId, U256)]) -> Self {
        self.tokens = tokens.to_vec();
        self
    }

    fn on(mut self, condition: Condition) -> Self {
        self.conditions.retain(|other| other.kind() != condition.kind());
        self.conditions.push(condition);
        self
    }

    pub(crate) fn owner(self, owner: impl Owner) -> Self {
        self.on(Condition::Address(owner.address()))
    }

    pub(crate) fn returns(self, amount: u64, to: impl Owner) -> Self {
        self.on(Condition::StorageDepositReturn { address: to.address(), amount })
    }

    pub(crate) fn locked(self, until: u32) -> Self {
        self.on(Condition::Timelock(until))
    }

    pub(crate) fn expires(self, time: u32, to: impl Owner) -> Self {
        self.on(Condition::Expiration { address: to.address(), time })
    }

    pub(crate) fn controller(self, owner: impl Owner) -> Self {
        self.on(Condition::StateController(owner.address()))
    }

    pub(crate) fn governor(self, owner: impl Owner) -> Self {
        self.on(Condition::Governor(owner.address()))
    }

    pub(crate) fn feature(mut self, feature: Feature) -> Self {
        self.features.retain(|other| other.kind() != feature.kind());
        self.features.push(feature);
        self
    }

    pub(crate) fn sender(self, sender: impl Owner) -> Self {
        self.feature(Feature::Sender(sender.address()))
    }

    pub(crate) fn metadata(self, text: &str) -> Self {
        self.feature(Feature::Metadata(text.into()))
    }

    pub(crate) fn immutable(mut self, features: Vec<Feature>) -> Self {
        self.immutable = features;
        self
    }

    pub(crate) fn issuer(mut self, issuer: impl Owner) -> Self {
        self.immutable.push(Feature::Issuer(issuer.address()));
        self
    }

    pub(crate) fn about(mut self, text: &str) -> Self {
        self.immutable.retain(|feature| !matches!(feature, Feature::Metadata(_)));
        self.immutable.push(Feature::Metadata(text.into()));
        self
    }

    pub(crate) fn without_features(mut self) -> Self {
        self.features.clear();
        self
    }

    pub(crate) fn state(mut self, index: u32) -> Self {
        if let Kind::Alias { state, .. } = &mut self.kind {
            *state = index;
        }
        self
    }

    pub(crate) fn state_metadata(mut self, text: &str) -> Self {
        if let Kind::Alias { state_metadata, .. } = &mut self.kind {
            *state_metadata = text.into();
        }
        self
    }

    pub(crate) fn counter(mut self, count: u32) -> Self {
        if let Kind::Alias { counter, .. } = &mut self.kind {
            *counter = count;
        }
        self
    }

    pub(crate) fn minted(mut self, count: u64) -> Self {
        if let Kind::Foundry { scheme, .. } = &mut self.kind {
            scheme.minted = count.into();
        }
        self
    }

    pub(crate) fn melted(mut self, count: u64) -> Self {
        if let Kind::Foundry { scheme, .. } = &mut self.kind {
            scheme.melted = count.into();
        }
        self
    }

    pub(crate) fn maximum(mut self, count: u64) -> Self {
        if let Kind::Foundry { scheme, .. } = &mut self.kind {
            scheme.maximum = count.into();
        }
        self
    }

    /// As an output that was made under that id is named by those after it.
    pub(crate) fn known_as(mut self, output: &OutputId) -> Self {
        match &mut self.kind {
            Kind::Alias { id, .. } if *id == AliasId::ZERO => *id = AliasId(blake2b_256(&output.pack())),
            Kind::Nft { id } if *id == NftId::ZERO => *id = NftId(blake2b_256(&output.pack())),
            Kind::Basic | Kind::Alias { .. } | Kind::Foundry { .. } | Kind::Nft { .. } => {}
        }
        self
    }

    pub(crate) fn alias_id(&self) -> AliasId {
        let Kind::Alias { id, .. } = self.kind else { panic!("{self:?} is no alias") };
        id
    }

    pub(crate) fn state_index(&self) -> u32 {
        let Kind::Alias { state, .. } = self.kind else { panic!("{self:?} is no alias") };
        state
    }

    /// Of the token of a foundry.
    pub(crate) fn token(&self) -> TokenId {
        let Output::Foundry(foundry) = self.build() else { panic!("{self:?} is no foundry") };
        foundry.id()
    }

    pub(crate) fn build(&self) -> Output {
        self.try_build().unwrap()
    }

    /// Whether such an output can be.
    pub(crate) fn try_build(&self) -> Result<Output, Error> {
        let Self { kind, amount, tokens, conditions, features, immutable } = self.clone();
        let (needed, possible, loose, fixed): (&[u8], &[u8], &[u8], &[u8]) = match &kind {
            Kind::Basic => (&[0], &[0, 1, 2, 3], &[0, 2, 3], &[]),
            Kind::Alias { .. } => (&[4, 5], &[4, 5], &[0, 2], &[1, 2]),
            Kind::Foundry { .. } => (&[6], &[6], &[2], &[2]),
            Kind::Nft { .. } => (&[0], &[0, 1, 2, 3], &[0, 2, 3], &[1, 2]),
        };
        let tokens = tokens.into_iter().map(|(id, amount)| NativeToken { id, amount }).collect();
        let value = Value { amount, native_tokens: NativeTokens::new(tokens)? };
        let mut sorted = conditions;
        sorted.sort_by_key(Condition::kind);
        let conditions = Conditions::new(sorted, needed, possible)?;
        let sorted = |mut list: Vec<Feature>, allowed| {
            list.sort_by_key(Feature::kind);
            Features::new("features", list, allowed)
        };
        let (features, immutable_features) = (sorted(features, loose)?, sorted(immutable, fixed)?);
        Ok(match kind {
            Kind::Basic => Output::Basic(Basic { value, conditions, features }),
            Kind::Alias { id, state, state_metadata, counter } => Output::Alias(Alias {
                value,
                id,
                state_index: state,
                state_metadata,
                foundry_counter: counter,
                conditions,
                features,
                immutable_features,
            }),
            Kind::Foundry { serial, scheme } => {
                Output::Foundry(Foundry { value, serial, scheme, conditions, features, immutable_features })
            }
            Kind::Nft { id } => Output::Nft(Nft { value, id, conditions, features, immutable_features }),
        })
    }
}

/// How an input is unlocked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lock {
    /// A signature.
    Sign(Who),
    /// The key of the first, but the second has signed.
    Forge(Who, Who),
    Refer(u16),
    Alias(u16),
    Nft(u16),
}

/// A transaction that spends these with true signatures.
pub(crate) fn signed(inputs: &[(OutputId, Output, Lock)], outputs: Vec<Output>) -> Transaction {
    let essence = Essence {
        network_id: 0,
        inputs: inputs.iter().map(|(id, ..)| *id).collect(),
        inputs_commitment: inputs_commitment(inputs.iter().map(|(_, output, _)| output)),
        outputs,
        payload: None,
    };
    let message = essence.signing_hash();
    let unlock = |(_, _, lock): &(OutputId, Output, Lock)| match *lock {
        Lock::Sign(who) => {
            let (public_key, signature) = who.sign(&message);
            Unlock::Signature { public_key, signature }
        }
        Lock::Forge(who, hand) => {
            Unlock::Signature { public_key: who.public_key(), signature: hand.sign(&message).1 }
        }
        Lock::Refer(to) => Unlock::Reference(to),
        Lock::Alias(to) => Unlock::Alias(to),
        Lock::Nft(to) => Unlock::Nft(to),
    };
    let unlocks = inputs.iter().map(unlock).collect();
    Transaction { essence, unlocks }
}

/// Id of the output that is spent by the input at that place of a [`Case`].
pub(crate) fn input_id(at: usize) -> OutputId {
    OutputId { transaction: TransactionId([u8::try_from(at).unwrap(); 32]), index: 0 }
}

/// Of the alias that the output spent there has created.
pub(crate) fn alias_of(at: usize) -> AliasId {
    AliasId(blake2b_256(&input_id(at).pack()))
}

/// Of the NFT that the output spent there has created.
pub(crate) fn nft_of(at: usize) -> NftId {
    NftId(blake2b_256(&input_id(at).pack()))
}

/// So many tokens from that number on, 100 of each.
pub(crate) fn tokens(numbers: std::ops::Range<u16>) -> Tokens {
    let token = |number: u16| {
        let mut id = [0; 38];
        id[1..3].copy_from_slice(&number.to_be_bytes());
        (TokenId(id), U256::from(100))
    };
    numbers.map(token).collect()
}

/// A transaction, and what has to be said of it.
#[derive(Debug)]
pub(crate) struct Case {
    name: &'static str,
    verdict: Result<(), Conflict>,
    inputs: Vec<(Draft, Lock)>,
    outputs: Vec<Draft>,
    time: u32,
    commitment: Option<[u8; 32]>,
}

pub(crate) fn case(name: &'static str, verdict: Result<(), Conflict>) -> Case {
    Case { name, verdict, inputs: Vec::new(), outputs: Vec::new(), time: 0, commitment: None }
}

impl Case {
    /// Unix time of the milestone.
    pub(crate) fn at(mut self, time: u32) -> Self {
        self.time = time;
        self
    }

    pub(crate) fn spends(mut self, output: Draft, lock: Lock) -> Self {
        self.inputs.push((output, lock));
        self
    }

    pub(crate) fn makes(mut self, output: Draft) -> Self {
        self.outputs.push(output);
        self
    }

    /// Names that commitment instead of the right one; it is signed all the same.
    pub(crate) fn commits_to(mut self, commitment: [u8; 32]) -> Self {
        self.commitment = Some(commitment);
        self
    }
}

/// Asserts the verdict of each.
pub(crate) fn judge(cases: impl IntoIterator<Item = Case>) {
    for case in cases {
        let input = |(at, (draft, lock)): (usize, &(Draft, Lock))| (input_id(at), draft.build(), *lock);
        let inputs = case.inputs.iter().enumerate().map(input).collect::<Vec<_>>();
        let outputs = case.outputs.iter().map(Draft::build).collect();
        let mut transaction = signed(&inputs, outputs);
        if let Some(commitment) = case.commitment {
            transaction.essence.inputs_commitment = commitment;
        }
        let booked = |(id, output, _): &(OutputId, Output, Lock)| Booked {
            id: *id,
            block: BlockId::ZERO,
            index: MilestoneIndex(1),
            timestamp: 0,
            output: output.clone(),
        };
        let inputs = inputs.iter().map(booked).collect::<Vec<_>>();
        let judge =
            |signatures| semantic::check(&transaction, transaction.id(), &inputs, case.time, signatures);
        let verdict = judge(Signatures::Unknown);
        // What was found when it came in changes nothing.
        let found = semantic::signatures(&transaction);
        assert_eq!(judge(found), verdict, "{}: with {found:?} signatures", case.name);
        assert_eq!(verdict, case.verdict, "{}", case.name);
    }
}
