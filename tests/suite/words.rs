//! Arbitrary outputs, transactions and milestone options, for properties.

use osmia::protocol::address::Address;
use osmia::protocol::id::{AliasId, MilestoneId, MilestoneIndex, NftId, OutputId, TokenId, TransactionId};
use osmia::protocol::milestone::{MilestoneOption, Options};
use osmia::protocol::output::condition::{Condition, Conditions};
use osmia::protocol::output::feature::{Feature, Features};
use osmia::protocol::output::token::{NativeToken, NativeTokens};
use osmia::protocol::output::{Alias, Basic, Foundry, Nft, Output, TokenScheme, Value};
use osmia::protocol::tagged_data::TaggedData;
use osmia::protocol::transaction::{Essence, Transaction, Unlock};
use osmia::protocol::treasury::{MigratedFunds, Receipt, TreasuryTransaction};
use primitive_types::U256;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Strategy, any, prop_oneof};

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Address::Ed25519),
        any::<[u8; 32]>().prop_map(|id| Address::Alias(AliasId(id))),
        any::<[u8; 32]>().prop_map(|id| Address::Nft(NftId(id))),
    ]
}

fn number() -> impl Strategy<Value = U256> {
    prop_oneof![
        any::<u8>().prop_map(U256::from),
        any::<[u8; 32]>().prop_map(|bytes| U256::from_little_endian(&bytes))
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let token = |(id, amount): (([u8; 32], [u8; 6]), U256)| NativeToken {
        id: TokenId([&id.0[..], &id.1].concat().try_into().unwrap()),
        amount: amount.max(U256::one()),
    };
    let tokens = btree_map(any::<([u8; 32], [u8; 6])>(), number(), 0..4)
        .prop_map(move |map| NativeTokens::new(map.into_iter().map(token).collect()).unwrap());
    (any::<u64>(), tokens).prop_map(|(amount, native_tokens)| Value { amount, native_tokens })
}

fn owned() -> impl Strategy<Value = Conditions> {
    let optional = (
        option::of((address(), any::<u64>())),
        option::of(any::<u32>()),
        option::of((address(), any::<u32>())),
    );
    (address(), optional).prop_map(|(owner, (deposit, timelock, expiration))| {
        let mut list = vec![Condition::Address(owner)];
        list.extend(deposit.map(|(address, amount)| Condition::StorageDepositReturn { address, amount }));
        list.extend(timelock.map(Condition::Timelock));
        list.extend(expiration.map(|(address, time)| Condition::Expiration { address, time }));
        Conditions::new(list, &[0], &[0, 1, 2, 3]).unwrap()
    })
}

fn features(allowed: &'static [u8]) -> impl Strategy<Value = Features> {
    let each = (
        option::of(address()),
        option::of(address()),
        option::of(vec(any::<u8>(), 1..60)),
        option::of(vec(any::<u8>(), 1..=64)),
    );
    each.prop_map(move |(sender, issuer, metadata, tag)| {
        let mut list = Vec::new();
        list.extend(sender.map(Feature::Sender));
        list.extend(issuer.map(Feature::Issuer));
        list.extend(metadata.map(Feature::Metadata));
        list.extend(tag.map(Feature::Tag));
        list.retain(|feature| allowed.contains(&feature.kind()));
        Features::new("features", list, allowed).unwrap()
    })
}

pub(crate) fn output() -> impl Strategy<Value = Output> {
    let basic = (value(), owned(), features(&[0, 2, 3]))
        .prop_map(|(value, conditions, features)| Output::Basic(Basic { value, conditions, features }));
    let state = (any::<[u8; 32]>(), any::<u32>(), vec(any::<u8>(), 0..40), any::<u32>());
    let alias = (value(), state, address(), address(), features(&[0, 2]), features(&[1, 2])).prop_map(
        |(
            value,
            (id, state_index, state_metadata, foundry_counter),
            controller,
            governor,
            features,
            immutable,
        )| {
            let list = vec![Condition::StateController(controller), Condition::Governor(governor)];
            Output::Alias(Alias {
                value,
                id: AliasId(id),
                state_index,
                state_metadata,
                foundry_counter,
                conditions: Conditions::new(list, &[4, 5], &[4, 5]).unwrap(),
                features,
                immutable_features: immutable,
            })
        },
    );
    let scheme = (number(), number(), number());
    let foundry = (value(), any::<(u32, [u8; 32])>(), scheme, features(&[2]), features(&[2])).prop_map(
        |(value, (serial, alias), (minted, melted, maximum), features, immutable_features)| {
            let list = vec![Condition::ImmutableAlias(AliasId(alias))];
            let conditions = Conditions::new(list, &[6], &[6]).unwrap();
            let scheme = TokenScheme { minted, melted, maximum };
            Output::Foundry(Foundry { value, serial, scheme, conditions, features, immutable_features })
        },
    );
    let nft = (value(), any::<[u8; 32]>(), owned(), features(&[0, 2, 3]), features(&[1, 2])).prop_map(
        |(value, id, conditions, features, immutable_features)| {
            Output::Nft(Nft { value, id: NftId(id), conditions, features, immutable_features })
        },
    );
    prop_oneof![basic, alias, foundry, nft]
}

fn unlock() -> impl Strategy<Value = Unlock> {
    prop_oneof![
        any::<([u8; 32], [u8; 32], [u8; 32])>().prop_map(|(public_key, first, second)| Unlock::Signature {
            public_key,
            signature: [first, second].concat().try_into().unwrap(),
        }),
        any::<u16>().prop_map(Unlock::Reference),
        any::<u16>().prop_map(Unlock::Alias),
        any::<u16>().prop_map(Unlock::Nft),
    ]
}

pub(crate) fn transaction() -> impl Strategy<Value = Transaction> {
    let inputs = vec((any::<[u8; 32]>(), 0u16..128, unlock()), 1..5);
    let payload = option::of((vec(any::<u8>(), 0..=64), vec(any::<u8>(), 0..50)));
    (any::<u64>(), inputs, any::<[u8; 32]>(), vec(output(), 1..4), payload).prop_map(
        |(network_id, inputs, inputs_commitment, outputs, payload)| {
            let unlocks = inputs.iter().map(|(_, _, unlock)| *unlock).collect();
            let input =
                |(id, index, _): ([u8; 32], u16, Unlock)| OutputId { transaction: TransactionId(id), index };
            let payload = payload.map(|(tag, data)| TaggedData::new(tag, data).unwrap());
            let inputs = inputs.into_iter().map(input).collect();
            Transaction {
                essence: Essence { network_id, inputs, inputs_commitment, outputs, payload },
                unlocks,
            }
        },
    )
}

pub(crate) fn options() -> impl Strategy<Value = Options> {
    let funds = btree_map((any::<[u8; 32]>(), any::<[u8; 17]>()), any::<([u8; 32], u64)>(), 1..4);
    let receipt = (any::<(u32, bool)>(), funds, any::<([u8; 32], u64)>()).prop_map(
        |((migrated_at, is_final), funds, (milestone, amount))| {
            let entry = |((first, second), (address, amount))| {
                let (first, second): ([u8; 32], [u8; 17]) = (first, second);
                let tail_transaction_hash = [&first[..], &second].concat().try_into().unwrap();
                MigratedFunds { tail_transaction_hash, address, amount }
            };
            let transaction = TreasuryTransaction { input: MilestoneId(milestone), amount };
            let funds = funds.into_iter().map(entry).collect();
            MilestoneOption::Receipt(Receipt::new(migrated_at, is_final, funds, transaction).unwrap())
        },
    );
    let parameters =
        (any::<(u32, u8)>(), vec(any::<u8>(), 0..80)).prop_map(|((target, protocol_version), params)| {
            MilestoneOption::Parameters { target: MilestoneIndex(target), protocol_version, params }
        });
    (option::of(receipt), option::of(parameters)).prop_map(|(receipt, parameters)| {
        Options::new(receipt.into_iter().chain(parameters).collect()).unwrap()
    })
}
