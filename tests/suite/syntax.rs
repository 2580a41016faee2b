//! The public reference's cases of syntactic validation (iota.go v3.0.0-rc.3: `output_test.go`,
//! `unlock_test.go`, `input_test.go`, `native_token_test.go`, `transaction_test.go`). Names are the
//! reference's.
//!
//! Otherwise than there:
//! - what its functions find in a value, but no value of ours can have, is refused when it is built or
//!   parsed: tokens that are none, unsorted or doubled, kinds that are not known, counts and places out of
//!   range;
//! - its foundries are owned by an address, which its serializer refuses: an alias owns them here;
//! - the `ok` of each `…DeSerialize` is every kind of word at random: `codec.rs`;
//! - left out: `TestOutputTypeString`, names of Go's types.

use osmia::ledger::syntactic::{Error, OutputProblem, check};
use osmia::protocol::id::{AliasId, NftId, OutputId, TransactionId};
use osmia::protocol::output::token::{NativeToken, NativeTokens};
use osmia::protocol::pack::{Reader, Writer};
use osmia::protocol::params::{ProtocolParameters, RentStructure};
use osmia::protocol::transaction::{Essence, Transaction, Unlock};
use primitive_types::U256;

use crate::spend::{Draft, Who, alias, basic, foundry, input_id, nft, tokens};

const SUPPLY: u64 = 2_779_530_283_277_761;
/// Costs of a virtual byte: storage is free, or not.
const FREE: u32 = 0;
const PAID: u32 = 100;
/// Least deposit of the smallest basic output, where it is not free.
const LEAST: u64 = 42_600;

const SOMEONE: Who = Who(9);
const ALIAS: AliasId = AliasId([0xa1; 32]);
const NFT: NftId = NftId([0xb1; 32]);
/// An alias that owns others.
const OTHER: AliasId = AliasId([0xa2; 32]);

type Verdict = Result<(), (usize, OutputProblem)>;

fn judge<const N: usize>(cost: u32, cases: [(&str, Verdict, Vec<Draft>); N]) {
    let params = parameters(cost);
    for (name, verdict, outputs) in cases {
        let mut transaction = transaction(&params);
        transaction.essence.outputs = outputs.iter().map(Draft::build).collect();
        let verdict = verdict.map_err(|(at, problem)| Error::Output { at, problem });
        assert_eq!(check(&transaction, &params), verdict, "{name}");
    }
}

/// `TestOutputsSyntacticalDepositAmount`.
#[test]
fn deposit_amounts() {
    let output = |amount| vec![basic(amount, OTHER)];
    let lent = |amount, back| vec![basic(amount, OTHER).returns(back, ALIAS)];
    let returned = |amount| Err((0, OutputProblem::Return { amount, least: LEAST }));
    judge(
        FREE,
        [
            ("ok", Ok(()), output(SUPPLY)),
            ("fail - zero deposit", Err((0, OutputProblem::Amount(0))), output(0)),
            (
                "fail - more than total supply on single output",
                Err((0, OutputProblem::Amount(SUPPLY + 1))),
                output(SUPPLY + 1),
            ),
            (
                "fail - sum more than total supply over multiple outputs",
                Err((1, OutputProblem::Sum)),
                vec![basic(SUPPLY - 1, SOMEONE), basic(SUPPLY - 1, SOMEONE)],
            ),
        ],
    );
    judge(
        PAID,
        [
            ("ok - state rent covered", Ok(()), output(LEAST)),
            (
                "fail - state rent not covered",
                Err((0, OutputProblem::Deposit { amount: LEAST - 1, least: LEAST })),
                output(LEAST - 1),
            ),
            ("ok - storage deposit return", Ok(()), lent(100_000, LEAST)),
            ("ok - storage deposit return, least amount", Ok(()), lent(46_800, LEAST)),
            (
                "fail - storage deposit return, below the least amount",
                Err((0, OutputProblem::Deposit { amount: 46_799, least: 46_800 })),
                lent(46_799, LEAST),
            ),
            (
                "fail - storage deposit return less than min storage deposit",
                returned(LEAST - 1),
                lent(100_000, LEAST - 1),
            ),
            (
                "fail - storage deposit more than target output deposit",
                returned(1_000_001),
                lent(1_000_000, 1_000_001),
            ),
        ],
    );
}

/// `TestOutputsSyntacticalExpirationAndTimelock`.
#[test]
fn times() {
    let output = || basic(100, SOMEONE);
    judge(
        FREE,
        [
            ("ok", Ok(()), vec![output().expires(1_337, Who(1)), output().locked(1_337)]),
            (
                "fail - zero expiration time",
                Err((0, OutputProblem::Time("expiration"))),
                vec![output().expires(0, Who(1))],
            ),
            (
                "fail - zero timelock time",
                Err((0, OutputProblem::Time("timelock"))),
                vec![output().locked(0)],
            ),
        ],
    );
}

/// `TestOutputsSyntacticalNativeTokensCount`, and `TestOutputsNativeTokenSet`.
#[test]
fn native_tokens() {
    let output = |numbers| basic(1, SOMEONE).tokens(&tokens(numbers));
    judge(
        FREE,
        [
            ("ok", Ok(()), vec![output(0..5), output(5..15)]),
            ("ok - as many as may be", Ok(()), vec![output(0..40), output(24..64)]),
            (
                "fail - sum more than max native tokens count",
                Err((1, OutputProblem::Tokens)),
                vec![output(0..50), output(50..100)],
            ),
        ],
    );
    let list = |entries: &[(u16, u64)]| {
        let token = |(number, amount): &(u16, u64)| NativeToken {
            id: tokens(*number..number + 1)[0].0,
            amount: U256::from(*amount),
        };
        NativeTokens::new(entries.iter().map(token).collect())
    };
    for (name, holds, entries) in [
        ("ok", true, &[(0, 1), (1, 1)]),
        ("fail - native token with zero amount", false, &[(0, 1), (1, 0)]),
        ("not sorted", false, &[(1, 1), (0, 1)]),
        ("duped", false, &[(0, 1), (0, 1)]),
    ] {
        assert_eq!(list(entries).is_ok(), holds, "{name}");
    }
}

/// `TestOutputsSyntacticalAlias`.
#[test]
fn aliases() {
    let new = |state, counter| vec![alias(1_000_000, AliasId::ZERO, state, OTHER, OTHER).counter(counter)];
    let known = |controller, governor| vec![alias(1_000_000, ALIAS, 10, controller, governor).counter(1_337)];
    judge(
        FREE,
        [
            ("ok - empty state", Ok(()), new(0, 0)),
            ("ok - non empty state", Ok(()), known(OTHER, OTHER)),
            ("fail - state index non zero on empty alias ID", Err((0, OutputProblem::NewAlias)), new(1, 0)),
            (
                "fail - foundry counter non zero on empty alias ID",
                Err((0, OutputProblem::NewAlias)),
                new(0, 1),
            ),
            ("fail - cyclic state controller", Err((0, OutputProblem::Cyclic)), known(ALIAS, OTHER)),
            ("fail - cyclic governance controller", Err((0, OutputProblem::Cyclic)), known(OTHER, ALIAS)),
        ],
    );
}

/// `TestOutputsSyntacticalFoundry`.
#[test]
fn foundries() {
    let output = |minted, melted, maximum| vec![foundry(1_337, ALIAS, 5, [minted, melted, maximum])];
    let wrong = || Err((0, OutputProblem::Scheme));
    judge(
        FREE,
        [
            ("ok", Ok(()), output(5, 2, 10)),
            ("ok - minted and max supply same", Ok(()), output(10, 0, 10)),
            ("fail - invalid maximum supply", wrong(), output(5, 0, 0)),
            ("fail - invalid maximum supply, nothing minted", wrong(), output(0, 0, 0)),
            ("fail - minted less than melted", wrong(), output(5, 10, 100)),
            ("fail - minted melted delta is bigger than maximum supply", wrong(), output(50, 20, 10)),
            ("ok - more minted than the maximum, but not at once", Ok(()), output(50, 40, 10)),
        ],
    );
}

/// `TestOutputsSyntacticalNFT`.
#[test]
fn nfts() {
    judge(
        FREE,
        [
            ("ok", Ok(()), vec![nft(1_000_000, NftId::ZERO, SOMEONE)]),
            ("fail - cyclic", Err((0, OutputProblem::Cyclic)), vec![nft(1_000_000, NFT, NFT)]),
        ],
    );
}

/// `TestChainConstrainedOutputUniqueness`.
#[test]
fn chains_stand_once() {
    let owner = alias(1_000_000, ALIAS, 0, SOMEONE, SOMEONE);
    let token = foundry(1_000_000, ALIAS, 1, [50, 0, 50]);
    let unique = nft(1_000_000, NFT, SOMEONE);
    let twice = |at| Err((at, OutputProblem::Twice));
    judge(
        FREE,
        [
            ("transition the same Alias twice", twice(1), vec![owner.clone(), owner.clone()]),
            ("transition the same NFT twice", twice(1), vec![unique.clone(), unique]),
            (
                "transition the same Foundry twice",
                twice(2),
                vec![owner.clone(), token.clone(), token.clone()],
            ),
            (
                "ok - many new ones",
                Ok(()),
                vec![
                    alias(1, AliasId::ZERO, 0, SOMEONE, SOMEONE),
                    alias(1, AliasId::ZERO, 0, SOMEONE, SOMEONE),
                    nft(1, NftId::ZERO, SOMEONE),
                    nft(1, NftId::ZERO, SOMEONE),
                ],
            ),
            ("ok - an alias and an NFT of one id", Ok(()), vec![owner, nft(1, NftId(ALIAS.0), SOMEONE)]),
        ],
    );
}

/// What an output must have, and may not have: none of these can be built, nor parsed.
#[test]
fn outputs_that_cannot_be() {
    let output = |outputs: &Draft| outputs.try_build().is_ok();
    for (name, holds, draft) in [
        ("ok - basic", true, basic(1, SOMEONE).sender(SOMEONE)),
        ("basic with an issuer", false, basic(1, SOMEONE).issuer(SOMEONE)),
        ("basic with controllers", false, basic(1, SOMEONE).controller(SOMEONE)),
        ("alias with an owner", false, alias(1, ALIAS, 0, SOMEONE, SOMEONE).owner(SOMEONE)),
        ("alias with an expiration", false, alias(1, ALIAS, 0, SOMEONE, SOMEONE).expires(1, SOMEONE)),
        ("foundry with an owner", false, foundry(1, ALIAS, 1, [0, 0, 1]).owner(SOMEONE)),
        ("foundry with a sender", false, foundry(1, ALIAS, 1, [0, 0, 1]).sender(SOMEONE)),
        ("foundry with an issuer", false, foundry(1, ALIAS, 1, [0, 0, 1]).issuer(SOMEONE)),
        ("NFT with a governor", false, nft(1, NFT, SOMEONE).governor(SOMEONE)),
        ("empty metadata", false, basic(1, SOMEONE).metadata("")),
        ("ok - longest metadata", true, basic(1, SOMEONE).metadata(&"a".repeat(8_192))),
        ("metadata too long", false, basic(1, SOMEONE).metadata(&"a".repeat(8_193))),
        ("65 tokens", false, basic(1, SOMEONE).tokens(&tokens(0..65))),
    ] {
        assert_eq!(output(&draft), holds, "{name}");
    }
}

/// `TestUnlocksSigUniqueAndRefValidator`.
#[test]
fn unlocks() {
    let params = parameters(FREE);
    let signature = |n: u8| Unlock::Signature { public_key: [n; 32], signature: [n; 64] };
    let unsigned = "refers to no signature before it";
    for (name, verdict, unlocks) in [
        ("ok", Ok(()), vec![signature(1), signature(2), Unlock::Reference(0)]),
        (
            "ok - chainable referential unlock",
            Ok(()),
            vec![signature(1), Unlock::Alias(0), Unlock::Alias(1), Unlock::Nft(2)],
        ),
        (
            "fail - duplicate ed25519 sig block",
            Err((1, "the signature of an unlock before")),
            vec![signature(0), signature(0)],
        ),
        (
            "fail - reference unlock invalid ref",
            Err((2, unsigned)),
            vec![signature(1), signature(2), Unlock::Reference(1_337)],
        ),
        (
            "fail - reference unlock refs non sig unlock",
            Err((2, unsigned)),
            vec![signature(1), Unlock::Reference(0), Unlock::Reference(1)],
        ),
        // Not of the reference's tests, but of its rules.
        ("fail - refers to itself", Err((1, unsigned)), vec![signature(1), Unlock::Reference(1)]),
        ("fail - refers to one after it", Err((0, unsigned)), vec![Unlock::Reference(1), signature(1)]),
        (
            "fail - alias unlock refers to itself",
            Err((1, "refers to no unlock before it")),
            vec![signature(1), Unlock::Alias(1)],
        ),
        (
            "fail - NFT unlock refers to one after it",
            Err((0, "refers to no unlock before it")),
            vec![Unlock::Nft(1), signature(1)],
        ),
    ] {
        let mut transaction = transaction(&params);
        transaction.essence.inputs = (0..unlocks.len()).map(input_id).collect();
        transaction.unlocks = unlocks;
        let verdict = verdict.map_err(|(at, problem)| Error::Unlock { at, problem });
        assert_eq!(check(&transaction, &params), verdict, "{name}");
    }
}

/// `TestInputsSyntacticalUnique`, and the network of `TestTransactionDeSerialize`.
#[test]
fn inputs_and_network() {
    let params = parameters(FREE);
    let id = |index| OutputId { transaction: TransactionId([0; 32]), index };
    let with = |change: &dyn Fn(&mut Essence)| {
        let mut transaction = transaction(&params);
        change(&mut transaction.essence);
        check(&transaction, &params)
    };
    let spends = |inputs: [u16; 2]| with(&|essence| essence.inputs = inputs.map(id).to_vec());
    assert_eq!(spends([0, 1]), Ok(()), "ok");
    assert_eq!(spends([0, 0]), Err(Error::InputTwice(id(0))), "fail - addr not unique");
    let expected = params.network_id();
    let foreign = with(&|essence| essence.network_id = expected + 1);
    assert_eq!(foreign, Err(Error::Network { found: expected + 1, expected }), "another network");
}

/// By parsing: `TestTransactionDeSerialize_MaxInputsCount`, `…_MaxOutputsCount`, `…_RefUTXOIndexMax`,
/// `TestInputsSyntacticalIndicesWithinBounds`, `TestUnlockSelector`, `TestTransactionEssenceSelector`.
#[test]
fn counts_and_kinds() {
    let id = |index| OutputId { transaction: TransactionId([0; 32]), index };
    let of = |inputs: Vec<OutputId>, outputs: usize| {
        let mut transaction = transaction(&parameters(FREE));
        transaction.unlocks = vec![Unlock::Reference(0); inputs.len()];
        transaction.essence.inputs = inputs;
        transaction.essence.outputs = vec![basic(1, SOMEONE).build(); outputs];
        bytes(&transaction)
    };
    let some = |count: usize| (0..count).map(input_id).collect::<Vec<_>>();
    let changed = |at: usize, byte: u8| {
        let mut bytes = of(some(1), 1);
        bytes[at] = byte;
        bytes
    };
    let length = of(some(1), 1).len();
    for (name, holds, bytes) in [
        ("ok - MaxInputsCount", true, of(some(128), 1)),
        ("too many inputs", false, of(some(129), 1)),
        ("no inputs", false, of(some(0), 1)),
        ("ok - MaxOutputsCount", true, of(some(1), 128)),
        ("too many outputs", false, of(some(1), 129)),
        ("no outputs", false, of(some(1), 0)),
        ("ok - RefUTXOIndexMax", true, of(vec![id(127)], 1)),
        ("wrong ref index", false, of(vec![id(128)], 1)),
        ("fail - invalid UTXO ref index", false, of(vec![id(250)], 1)),
        ("UnlockSelector: 3 is known", true, changed(length - 3, 3)),
        ("UnlockSelector: 100 is not", false, changed(length - 3, 100)),
        ("TransactionEssenceSelector: 100", false, changed(0, 100)),
    ] {
        assert_eq!(Transaction::parse(&mut Reader::new(&bytes)).is_ok(), holds, "{name}");
    }
}

/// What follows the type of the payload.
fn bytes(transaction: &Transaction) -> Vec<u8> {
    let mut writer = Writer::default();
    transaction.pack(&mut writer);
    writer.into_bytes().split_off(4)
}

/// One that nothing is wrong with.
fn transaction(params: &ProtocolParameters) -> Transaction {
    Transaction {
        essence: Essence {
            network_id: params.network_id(),
            inputs: vec![input_id(0)],
            inputs_commitment: [0; 32],
            outputs: vec![basic(1_000_000, SOMEONE).build()],
            payload: None,
        },
        unlocks: vec![Unlock::Signature { public_key: [1; 32], signature: [1; 64] }],
    }
}

fn parameters(v_byte_cost: u32) -> ProtocolParameters {
    ProtocolParameters {
        version: 2,
        network_name: "cases".to_owned(),
        bech32_hrp: "tst".to_owned(),
        min_pow_score: 0,
        below_max_depth: 15,
        rent: RentStructure { v_byte_cost, v_byte_factor_data: 1, v_byte_factor_key: 10 },
        token_supply: SUPPLY,
    }
}
