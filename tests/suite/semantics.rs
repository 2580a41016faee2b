//! The public reference's cases of semantic validation (iota.go v3.0.0-rc.3: `transaction_test.go`,
//! `output_test.go`).
//!
//! Names are the reference's. It judges each rule by a function of its own, on transactions that break
//! others: here what a case leaves open is filled in such that nothing else is wrong.
//!
//! Otherwise than there:
//! - `TestChainConstrainedOutputUniqueness` and `TestTransactionDeSerialize…` are about syntax: `syntax.rs`;
//! - issuers among the features of an NFT are immutable ones, as its own serializer demands;
//! - `fail - exceeds limit (in+out)` has 250 tokens in one output, which cannot be: they are spread over
//!   four.

use osmia::ledger::Conflict;
use osmia::protocol::id::{AliasId, NftId};
use osmia::protocol::output::feature::Feature;
use primitive_types::U256;

use crate::spend::Lock::{Alias, Forge, Nft, Refer, Sign};
use crate::spend::{
    Case, Draft, Owner, Who, alias, alias_of, basic, case, foundry, input_id, judge, nft, nft_of, tokens,
};

const IDENT1: Who = Who(1);
const IDENT2: Who = Who(2);
const IDENT3: Who = Who(3);
const IDENT4: Who = Who(4);
const IDENT5: Who = Who(5);
/// Takes what is left.
const ANYONE: Who = Who(99);

const ALIAS1: AliasId = AliasId([0xa1; 32]);
const ALIAS2: AliasId = AliasId([0xa2; 32]);
const ALIAS3: AliasId = AliasId([0xa3; 32]);
const NFT1: NftId = NftId([0xb1; 32]);
const NFT2: NftId = NftId([0xb2; 32]);

/// `TestTransactionSemanticValidation`, `TestNFTTransition`, `TestCirculatingSupplyMelting`.
#[test]
fn whole_transactions() {
    let melting = foundry(1_000_000, ALIAS1, 1, [50, 0, 50]);
    let moved = foundry(100, ALIAS1, 5, [1_000, 0, 10_000]);
    judge([
        everything_at_once(),
        case("fail - changed immutable alias address unlock", Err(Conflict::ChainTransition))
            .spends(alias(100, ALIAS1, 0, IDENT1, IDENT2), Sign(IDENT1))
            .spends(moved, Alias(0))
            .makes(alias(100, ALIAS1, 1, IDENT1, IDENT2))
            .makes(foundry(100, ALIAS2, 5, [1_000, 0, 10_000])),
        case("TestNFTTransition", Ok(()))
            .spends(nft(1_000_000, NftId::ZERO, IDENT1), Sign(IDENT1))
            .makes(nft(1_000_000, nft_of(0), IDENT1)),
        case("TestCirculatingSupplyMelting", Ok(()))
            .spends(basic(1_000_000, IDENT1).holds(melting.token(), 50), Sign(IDENT1))
            .spends(alias(1_000_000, ALIAS1, 1, IDENT1, IDENT1).counter(1), Refer(0))
            .spends(melting.clone(), Alias(1))
            .makes(alias(1_000_000, ALIAS1, 2, IDENT1, IDENT1).counter(1))
            .makes(melting.melted(50).amount(2_000_000)),
    ]);
}

/// Each kind of output founded, changed and destroyed by one transaction.
fn everything_at_once() -> Case {
    const DEPOSIT: u64 = 1_000_000;
    let (first, second) = (tokens(0..10), tokens(10..20));
    let founder = alias_of(7);
    let fresh = alias(DEPOSIT, AliasId::ZERO, 0, IDENT3, IDENT4);
    let owner = |index| alias(DEPOSIT, AliasId::ZERO, index, IDENT3, IDENT4);
    let foundry = |serial, scheme| foundry(DEPOSIT, founder, serial, scheme);
    let minting = foundry(1, [100, 0, 1_000]);
    let melting = foundry(2, [100, 0, 1_000]);
    let keeping = foundry(3, [100, 0, 1_000]);
    let ending = foundry(4, [100, 50, 1_000]);
    let founded = foundry(6, [100, 0, 1_000]);
    let made_by_3 = |text: &str| vec![Feature::Issuer(IDENT3.address()), Feature::Metadata(text.into())];
    let transferred = nft(DEPOSIT, NFT1, IDENT3).immutable(made_by_3("transfer to 4"));
    let destroyed = nft(DEPOSIT, NFT2, IDENT4).immutable(made_by_3("going to be destroyed"));
    case("ok", Ok(()))
        .at(750)
        .spends(basic(DEPOSIT, IDENT1), Sign(IDENT1))
        .spends(basic(DEPOSIT, IDENT2).tokens(&first), Sign(IDENT2))
        .spends(basic(DEPOSIT, IDENT2).tokens(&second), Refer(1))
        .spends(basic(DEPOSIT, IDENT2).expires(500, IDENT1), Refer(0))
        .spends(basic(DEPOSIT, IDENT2).locked(500), Refer(1))
        .spends(
            basic(3 * DEPOSIT / 2, IDENT2).returns(DEPOSIT / 2, IDENT1).locked(500).expires(900, IDENT1),
            Refer(1),
        )
        .spends(owner(0).state_metadata("gov transitioning"), Sign(IDENT4))
        .spends(owner(5).counter(5).amount(2 * DEPOSIT).state_metadata("current state"), Sign(IDENT3))
        .spends(alias(DEPOSIT, AliasId::ZERO, 0, IDENT3, IDENT3).state_metadata("destroyed"), Refer(7))
        .spends(minting.clone(), Alias(7))
        .spends(melting.clone().holds(melting.token(), 100), Alias(7))
        .spends(keeping.clone(), Alias(7))
        .spends(ending.clone().holds(ending.token(), 50), Alias(7))
        .spends(transferred.clone(), Refer(7))
        .spends(destroyed, Refer(6))
        .spends(basic(DEPOSIT, NFT1), Nft(13))
        .makes(basic(DEPOSIT, IDENT5))
        .makes(basic(DEPOSIT, IDENT3).tokens(&first))
        .makes(basic(DEPOSIT, IDENT4).tokens(&second))
        .makes(basic(DEPOSIT, IDENT2))
        .makes(basic(DEPOSIT, IDENT2))
        .makes(basic(DEPOSIT / 2, IDENT1))
        .makes(fresh.state_metadata("a new alias output"))
        .makes(owner(0).known_as(&input_id(6)).state_metadata("gov transitioning").metadata("mutated"))
        .makes(owner(6).known_as(&input_id(7)).counter(6).state_metadata("next state"))
        .makes(founded.clone().holds(founded.token(), 100))
        .makes(minting.clone().minted(200).holds(minting.token(), 100))
        .makes(melting.clone().melted(50).holds(melting.token(), 50))
        .makes(keeping.metadata("interesting metadata"))
        .makes(basic(DEPOSIT, IDENT3))
        .makes(nft(DEPOSIT, NftId::ZERO, IDENT4).about("immutable metadata"))
        .makes(transferred.owner(IDENT4))
        .makes(basic(DEPOSIT, IDENT3))
        .makes(basic(DEPOSIT, IDENT5))
}

/// `TestTxSemanticInputUnlocks`.
#[test]
fn unlocks() {
    let kept = foundry(100, alias_of(1), 0, [100, 0, 1_000]);
    let locked = foundry(100, ALIAS1, 5, [1_000, 0, 10_000]);
    let wrong = Err(Conflict::InputUnlock);
    judge([
        case("ok", Ok(()))
            .at(10)
            .spends(basic(100, IDENT1), Sign(IDENT1))
            .spends(alias(100, AliasId::ZERO, 0, IDENT1, IDENT1), Refer(0))
            .spends(basic(100, alias_of(1)), Alias(1))
            .spends(nft(100, NFT1, alias_of(1)), Alias(1))
            .spends(basic(100, NFT1), Nft(3))
            .spends(basic(100, IDENT1).expires(5, IDENT2), Sign(IDENT2))
            .spends(basic(100, IDENT1).expires(20, IDENT2), Refer(0))
            .spends(kept.clone(), Alias(1))
            .makes(alias(100, alias_of(1), 1, IDENT1, IDENT1))
            .makes(kept)
            .makes(basic(600, ANYONE)),
        case("fail - invalid signature", Err(Conflict::Signature))
            .spends(basic(100, IDENT1), Forge(IDENT1, IDENT2))
            .makes(basic(100, ANYONE)),
        case("fail - should contain reference unlock", wrong)
            .spends(basic(100, IDENT1), Sign(IDENT1))
            .spends(basic(100, IDENT1), Sign(IDENT1))
            .makes(basic(200, ANYONE)),
        case("fail - should contain alias unlock", wrong)
            .spends(alias(100, AliasId::ZERO, 0, IDENT1, IDENT1), Sign(IDENT1))
            .spends(basic(100, alias_of(0)), Refer(0))
            .makes(basic(200, ANYONE)),
        case("fail - should contain alias unlock, although the alias changes its state", wrong)
            .spends(alias(100, AliasId::ZERO, 0, IDENT1, IDENT1), Sign(IDENT1))
            .spends(basic(100, alias_of(0)), Refer(0))
            .makes(alias(200, alias_of(0), 1, IDENT1, IDENT1)),
        case("fail - should contain NFT unlock", wrong)
            .spends(nft(100, NftId::ZERO, IDENT1), Sign(IDENT1))
            .spends(basic(100, nft_of(0)), Refer(0))
            .makes(basic(200, ANYONE)),
        case("fail - circular NFT unlock", wrong)
            .spends(nft(100, nft_of(0), nft_of(1)), Nft(1))
            .spends(nft(100, nft_of(1), nft_of(1)), Nft(0))
            .makes(basic(200, ANYONE)),
        case("fail - sender can not unlock yet", Err(Conflict::Signature))
            .at(5)
            .spends(basic(100, IDENT1).expires(10, IDENT2), Sign(IDENT2))
            .makes(basic(100, ANYONE)),
        case("fail - receiver can not unlock anymore", Err(Conflict::Signature))
            .at(10)
            .spends(basic(100, IDENT1).expires(10, IDENT2), Sign(IDENT1))
            .makes(basic(100, ANYONE)),
        case("fail - referencing other alias unlocked by source alias", wrong)
            .spends(alias(100, ALIAS1, 0, IDENT1, IDENT1), Sign(IDENT1))
            .spends(alias(100, ALIAS2, 0, ALIAS1, ALIAS1), Alias(0))
            .spends(alias(100, ALIAS3, 0, ALIAS1, ALIAS1), Alias(1))
            .makes(basic(300, ANYONE)),
        three_aliases("fail - referencing other alias unlocked by source alias, all go on", wrong, 1),
        three_aliases("ok - both unlocked by the source alias", Ok(()), 0),
        case("fail - alias output not state transitioning", wrong)
            .spends(alias(100, ALIAS1, 0, IDENT1, IDENT2), Sign(IDENT2))
            .spends(basic(100, ALIAS1), Alias(0))
            .makes(alias(100, ALIAS1, 0, IDENT1, IDENT2))
            .makes(basic(100, ANYONE)),
        case("fail - wrong unlock for foundry", wrong)
            .spends(alias(100, ALIAS1, 0, IDENT1, IDENT2), Sign(IDENT1))
            .spends(locked.clone(), Refer(0))
            .makes(alias(100, ALIAS1, 1, IDENT1, IDENT2))
            .makes(locked),
        // Not of the reference's tests, but of its rules.
        case("fail - wrong inputs commitment", Err(Conflict::InputsCommitment))
            .spends(basic(100, IDENT1), Sign(IDENT1))
            .makes(basic(100, ANYONE))
            .commits_to([0; 32]),
    ]);
}

/// The first alias owns the others; the last one's unlock refers to the input at `to`.
fn three_aliases(name: &'static str, verdict: Result<(), Conflict>, to: u16) -> Case {
    case(name, verdict)
        .spends(alias(100, ALIAS1, 0, IDENT1, IDENT1), Sign(IDENT1))
        .spends(alias(100, ALIAS2, 0, ALIAS1, ALIAS1), Alias(0))
        .spends(alias(100, ALIAS3, 0, ALIAS1, ALIAS1), Alias(to))
        .makes(alias(100, ALIAS1, 1, IDENT1, IDENT1))
        .makes(alias(100, ALIAS2, 1, ALIAS1, ALIAS1))
        .makes(alias(100, ALIAS3, 1, ALIAS1, ALIAS1))
}

/// `TestTransIndepIdentOutput_UnlockableBy`, `TestAliasOutput_UnlockableBy`: who cannot unlock signs in vain.
#[test]
fn unlockable_by() {
    let plain = || basic(100, IDENT1);
    let expiring = |time| plain().expires(time, IDENT2);
    let spends = |name, verdict, time, output, by| {
        case(name, verdict).at(time).spends(output, Sign(by)).makes(basic(100, ANYONE))
    };
    let moves = |name, verdict, to, by| {
        case(name, verdict)
            .spends(alias(100, ALIAS1, 0, IDENT1, IDENT2), Sign(by))
            .makes(alias(100, ALIAS1, to, IDENT1, IDENT2))
    };
    let burns = |name, verdict, by| spends(name, verdict, 0, alias(100, ALIAS1, 0, IDENT1, IDENT2), by);
    let no = Err(Conflict::Signature);
    judge([
        spends("can unlock - target is source (no unlock conditions)", Ok(()), 0, plain(), IDENT1),
        spends("can not unlock - target is not source (no unlock conditions)", no, 0, plain(), IDENT2),
        spends("can unlock - output not expired for source ident", Ok(()), 5, expiring(10), IDENT1),
        spends("can not unlock - output expired for source ident", no, 10, expiring(5), IDENT1),
        spends("can unlock - output expired, for sender ident", Ok(()), 10, expiring(5), IDENT2),
        spends("can unlock - expired unix timelock unlock condition", Ok(()), 10, plain().locked(5), IDENT1),
        spends(
            "can not unlock - not expired unix timelock unlock condition",
            Err(Conflict::Timelock),
            5,
            plain().locked(10),
            IDENT1,
        ),
        moves("state ctrl can unlock - state index increase", Ok(()), 1, IDENT1),
        moves("governor can not unlock - state index increase", no, 1, IDENT2),
        moves("state ctrl can not unlock - state index same", no, 0, IDENT1),
        moves("governor can unlock - state index same", Ok(()), 0, IDENT2),
        burns("state ctrl can not unlock - transition destroy", no, IDENT1),
        burns("governor can unlock - transition destroy", Ok(()), IDENT2),
    ]);
}

/// `TestTxSemanticDeposit`.
#[test]
fn deposits() {
    let token = tokens(0..1);
    let lent = || basic(500, IDENT1).returns(420, IDENT2);
    let gives_back = |name, output: Draft| {
        case(name, Err(Conflict::ReturnAmount))
            .spends(lent(), Sign(IDENT1))
            .makes(basic(80, IDENT1))
            .makes(output)
    };
    judge([
        case("ok", Ok(()))
            .at(5)
            .spends(basic(100, IDENT1), Sign(IDENT1))
            .spends(lent().expires(10, IDENT2), Refer(0))
            .spends(lent().expires(2, IDENT2), Sign(IDENT2))
            .makes(basic(180, ANYONE))
            .makes(basic(420 + 500, IDENT2)),
        case("ok - more storage deposit returned via more outputs", Ok(()))
            .spends(basic(1_000, IDENT1).returns(420, IDENT2), Sign(IDENT1))
            .makes(basic(200, IDENT2))
            .makes(basic(221, IDENT2))
            .makes(basic(579, ANYONE)),
        case("fail - unbalanced, more on output than input", Err(Conflict::SumMismatch))
            .at(5)
            .spends(basic(50, IDENT1), Sign(IDENT1))
            .makes(basic(100, ANYONE)),
        case("fail - unbalanced, more on input than output", Err(Conflict::SumMismatch))
            .at(5)
            .spends(basic(100, IDENT1), Sign(IDENT1))
            .makes(basic(50, ANYONE)),
        case("fail - return not fulfilled", Err(Conflict::ReturnAmount))
            .at(5)
            .spends(lent().expires(10, IDENT2), Sign(IDENT1))
            .makes(basic(500, IDENT1)),
        gives_back("fail - storage deposit return not basic output", nft(420, NftId::ZERO, IDENT2)),
        gives_back(
            "fail - storage deposit return has additional unlocks",
            basic(420, IDENT2).expires(10, IDENT1),
        ),
        gives_back("fail - storage deposit return has feature", basic(420, IDENT2).metadata("foo")),
        case("fail - storage deposit return has native tokens", Err(Conflict::ReturnAmount))
            .spends(lent().tokens(&token), Sign(IDENT1))
            .makes(basic(80, IDENT1))
            .makes(basic(420, IDENT2).tokens(&token)),
        // Not of the reference's tests, but of its rules.
        case("ok - as much is returned as is asked for", Ok(()))
            .spends(lent(), Sign(IDENT1))
            .makes(basic(80, IDENT1))
            .makes(basic(420, IDENT2)),
        case("ok - nothing is returned to whom unlocked it himself", Ok(()))
            .at(5)
            .spends(lent().expires(2, IDENT2), Sign(IDENT2))
            .makes(basic(500, ANYONE)),
        case("ok - nor by a reference", Ok(()))
            .at(5)
            .spends(basic(100, IDENT2), Sign(IDENT2))
            .spends(lent().expires(2, IDENT2), Refer(0))
            .makes(basic(600, ANYONE)),
        case("fail - he unlocked another input", Err(Conflict::ReturnAmount))
            .spends(basic(100, IDENT2), Sign(IDENT2))
            .spends(lent(), Sign(IDENT1))
            .makes(basic(600, ANYONE)),
        case("fail - nothing is asked for, and no output gives it", Err(Conflict::ReturnAmount))
            .spends(basic(500, IDENT1).returns(0, IDENT2), Sign(IDENT1))
            .makes(basic(500, ANYONE)),
        case("fail - two inputs ask for the sum", Err(Conflict::ReturnAmount))
            .spends(lent(), Sign(IDENT1))
            .spends(lent(), Refer(0))
            .makes(basic(161, IDENT1))
            .makes(basic(839, IDENT2)),
    ]);
}

/// `TestTxSemanticNativeTokens`.
#[test]
fn native_tokens() {
    let wrong = Err(Conflict::NativeTokens);
    let owned = |tokens: &[_]| basic(100, IDENT1).tokens(tokens);
    let (half, other, both) = (tokens(0..5), tokens(5..10), tokens(0..10));
    let mut excess = both.clone();
    excess[5].1 += U256::one();
    let (single, sum) = ([(both[0].0, U256::one())], [(both[0].0, U256::from(64))]);
    let full = tokens(0..64);
    let one_more = [tokens(0..63), tokens(64..65)].concat();
    let each = |name, verdict, inputs: Vec<Draft>, outputs: Vec<Draft>| {
        let mut case = case(name, verdict);
        for (at, input) in inputs.into_iter().enumerate() {
            case = case.spends(input, if at == 0 { Sign(IDENT1) } else { Refer(0) });
        }
        outputs.into_iter().fold(case, Case::makes)
    };
    let one_by_one = |numbers: std::ops::Range<u16>| -> Vec<Draft> {
        numbers.map(|number| owned(&tokens(number..number + 1))).collect()
    };
    let spread = |numbers: std::ops::Range<u16>| -> Vec<Draft> {
        numbers.clone().step_by(64).map(|from| owned(&tokens(from..numbers.end.min(from + 64)))).collect()
    };
    let unrelated = foundry(100, ALIAS1, 0, [500, 0, 1_000]);
    assert!(owned(&tokens(0..250)).try_build().is_err(), "250 tokens in an output");
    judge([
        each("ok", Ok(()), vec![owned(&half), owned(&other)], vec![owned(&both).amount(200)]),
        each(
            "ok - exceeds limit (in+out) but same native token",
            Ok(()),
            vec![owned(&single); 64],
            vec![owned(&sum).amount(6_400)],
        ),
        each(
            "fail - exceeds limit (in+out)",
            wrong,
            vec![owned(&tokens(0..20)).amount(400)],
            spread(20..270),
        ),
        each("fail - too many on input side already", wrong, one_by_one(0..65), vec![basic(6_500, ANYONE)]),
        each(
            "fail - too many on output side already",
            wrong,
            vec![basic(100, IDENT1); 65],
            one_by_one(0..65),
        ),
        each("ok - most possible tokens in a tx", Ok(()), vec![owned(&full); 128], vec![owned(&full); 128]),
        each(
            "fail - max nt count just exceeded",
            wrong,
            vec![owned(&full); 128],
            [vec![owned(&full); 127], vec![owned(&one_more)]].concat(),
        ),
        each("fail - unbalanced on output", wrong, vec![owned(&both)], vec![owned(&excess)]),
        case("fail - unbalanced with unrelated foundry in term of new output tokens", wrong)
            .spends(owned(&tokens(0..10)), Sign(IDENT1))
            .spends(owned(&tokens(10..20)), Refer(0))
            .spends(alias(100, ALIAS1, 0, IDENT1, IDENT1), Refer(0))
            .spends(unrelated.clone(), Alias(2))
            .makes(owned(&tokens(0..10)))
            .makes(owned(&tokens(10..21)))
            .makes(alias(100, ALIAS1, 1, IDENT1, IDENT1))
            .makes(unrelated),
        // Not of the reference's tests, but of its rules.
        each("ok - burned without the foundry", Ok(()), vec![owned(&excess)], vec![owned(&half)]),
        each(
            "fail - more than a uint256 on the input side",
            wrong,
            vec![owned(&[(both[0].0, U256::MAX)]), owned(&single)],
            vec![basic(200, ANYONE)],
        ),
    ]);
}

/// `TestTxSemanticOutputsSender`.
#[test]
fn senders() {
    let sent_by = |sender: osmia::protocol::address::Address| {
        [
            basic(100, ANYONE).sender(sender),
            alias(100, AliasId::ZERO, 0, IDENT1, IDENT1).sender(sender),
            nft(100, NftId::ZERO, ANYONE).sender(sender),
        ]
    };
    let ok =
        case("ok", Ok(())).spends(basic(300, IDENT1), Sign(IDENT1)).spends(nft(300, NFT1, IDENT1), Refer(0));
    let ok = [IDENT1.address(), NFT1.address()].into_iter().flat_map(sent_by).fold(ok, Case::makes);
    let moves = |name, verdict, to, by, sender: osmia::protocol::address::Address| {
        case(name, verdict)
            .spends(alias(100, ALIAS1, 1, IDENT1, IDENT2), Sign(by))
            .makes(alias(100, ALIAS1, to, IDENT1, IDENT2).sender(sender))
    };
    let wrong = Err(Conflict::Sender);
    judge([
        ok,
        case("fail - sender not unlocked", wrong)
            .spends(basic(100, IDENT1), Sign(IDENT1))
            .makes(basic(100, ANYONE).sender(IDENT2)),
        moves("fail - sender not unlocked due to governance transition", wrong, 1, IDENT2, ALIAS1.address()),
        moves("ok - alias addr unlocked with state transition", Ok(()), 2, IDENT1, ALIAS1.address()),
        moves("ok - sender is governor address", Ok(()), 1, IDENT2, IDENT2.address()),
    ]);
}

/// `TestTxSemanticOutputsIssuer`: judged with the chain that is new.
#[test]
fn issuers() {
    // A governor's transition, and an NFT of the second input's value.
    let governed = |name, verdict, issuer: osmia::protocol::address::Address| {
        case(name, verdict)
            .spends(alias(100, ALIAS1, 0, IDENT1, IDENT2), Sign(IDENT2))
            .spends(basic(100, IDENT3), Sign(IDENT3))
            .makes(alias(100, ALIAS1, 0, IDENT1, IDENT2))
            .makes(nft(100, NftId::ZERO, IDENT3).issuer(issuer))
    };
    let issued_by = |issuer: osmia::protocol::address::Address| {
        [
            nft(100, NftId::ZERO, IDENT3).issuer(issuer),
            alias(100, AliasId::ZERO, 0, IDENT1, IDENT2).issuer(issuer),
        ]
    };
    let ok = case("ok", Ok(()))
        .spends(alias(100, ALIAS1, 1, IDENT1, IDENT2), Sign(IDENT1))
        .spends(nft(900, NFT1, IDENT3), Sign(IDENT3))
        .makes(alias(100, ALIAS1, 2, IDENT1, IDENT2))
        .makes(nft(100, NFT1, IDENT3));
    let issuers = [ALIAS1.address(), IDENT1.address(), NFT1.address(), IDENT3.address()];
    judge([
        governed(
            "fail - issuer not unlocked due to governance transition",
            Err(Conflict::ChainTransition),
            ALIAS1.address(),
        ),
        issuers.into_iter().flat_map(issued_by).fold(ok, Case::makes),
        governed("ok - issuer is the governor", Ok(()), IDENT2.address()),
    ]);
}

/// `TestTxSemanticTimelocks`.
#[test]
fn timelocks() {
    let until = |name, verdict, until, time| {
        let spent = basic(100, IDENT1).locked(until);
        case(name, verdict).at(time).spends(spent, Sign(IDENT1)).makes(basic(100, ANYONE))
    };
    judge([
        until("ok", Ok(()), 5, 10),
        until("fail - timelock not expired", Err(Conflict::Timelock), 15, 10),
        until("fail - unix timelock not expired", Err(Conflict::Timelock), 1_337, 666),
        // Not of the reference's tests, but of its rules.
        until("ok - at that very second", Ok(()), 10, 10),
    ]);
}
