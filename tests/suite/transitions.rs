//! The public reference's cases of state transitions (iota.go v3.0.0-rc.3: `output_alias_test.go`,
//! `output_foundry_test.go`, `output_nft_test.go`).
//!
//! Names are the reference's. It calls a function with a context made by hand; here each case is the smallest
//! transaction with that transition in it and everything else in order: what the chain gains or loses comes
//! from, or goes to, a basic output.
//!
//! Otherwise than there:
//! - in `fail - destroy transition - foundry token unbalanced`, tokens appear without their foundry, which is
//!   told before any chain is looked at; a second case keeps their sum;
//! - `ok - state transition - burn` stands there without a mutation, so it never runs: here it does;
//! - `state_index_bigger_more_than_1` goes from 10 to 7 there: a second case goes to 12.

use osmia::ledger::Conflict;
use osmia::protocol::id::{AliasId, NftId};
use osmia::protocol::output::feature::Feature;

use crate::spend::Lock::{Alias, Refer, Sign};
use crate::spend::{
    Case, Draft, Owner, Tokens, Who, alias, basic, case, foundry, judge, nft, nft_of, tokens,
};

const CONTROLLER: Who = Who(1);
const GOVERNOR: Who = Who(2);
const ISSUER: Who = Who(3);
const OWNER: Who = Who(4);
const ANYONE: Who = Who(99);

const ALIAS: AliasId = AliasId([0xa1; 32]);
const WRONG: Result<(), Conflict> = Err(Conflict::ChainTransition);

/// `TestAliasOutput_ValidateStateTransition`.
#[test]
fn aliases() {
    let before = || alias(100, ALIAS, 10, CONTROLLER, GOVERNOR);
    let existing = foundry(100, ALIAS, 5, [1_000, 0, 10_000]);
    let new = |serial| foundry(100, ALIAS, serial, [0, 0, 1]);
    let gained = tokens(0..50);
    judge([
        case("ok - genesis transition", Ok(()))
            .spends(basic(100, ISSUER), Sign(ISSUER))
            .makes(alias(100, AliasId::ZERO, 0, CONTROLLER, GOVERNOR).issuer(ISSUER)),
        case("fail - genesis transition - issuer not unlocked", WRONG)
            .spends(basic(100, OWNER), Sign(OWNER))
            .makes(alias(100, AliasId::ZERO, 0, CONTROLLER, GOVERNOR).issuer(ISSUER)),
        case("fail - genesis transition - named already", WRONG)
            .spends(basic(100, OWNER), Sign(OWNER))
            .makes(alias(100, ALIAS, 0, CONTROLLER, GOVERNOR)),
        case("ok - destroy transition", Ok(())).spends(before(), Sign(GOVERNOR)).makes(basic(100, ANYONE)),
        case("ok - gov transition", Ok(()))
            .spends(before(), Sign(GOVERNOR))
            .makes(alias(100, ALIAS, 10, Who(50), Who(51)).sender(GOVERNOR).metadata("1337")),
        case("ok - state transition", Ok(()))
            .spends(before().counter(5), Sign(CONTROLLER))
            .spends(basic(300, OWNER).tokens(&gained), Sign(OWNER))
            .spends(existing.clone(), Alias(0))
            .makes(
                before()
                    .state(11)
                    .amount(200)
                    .tokens(&gained)
                    .state_metadata("1337")
                    .counter(7)
                    .sender(CONTROLLER),
            )
            .makes(new(6))
            .makes(new(7))
            .makes(existing),
    ]);
}

/// What a governor may not change.
#[test]
fn governance_of_aliases() {
    let alias = || alias(100, ALIAS, 10, CONTROLLER, GOVERNOR);
    let few = tokens(0..10);
    // `funds` come in beside it, and `rest` goes out.
    let to = |name, verdict, next: Draft, funds: Draft, rest: Option<Draft>| {
        let case = case(name, verdict).spends(alias(), Sign(GOVERNOR)).spends(funds, Sign(OWNER)).makes(next);
        rest.into_iter().fold(case, Case::makes)
    };
    let coin = || basic(100, OWNER);
    judge([
        to("ok - nothing changes", Ok(()), alias(), coin(), Some(coin())),
        to("fail - gov transition_amount", WRONG, alias().amount(1_337), coin().amount(1_237), None),
        to(
            "fail - gov transition_native_tokens",
            WRONG,
            alias().tokens(&few),
            coin().tokens(&few),
            Some(coin()),
        ),
        to(
            "fail - gov transition_state_metadata",
            WRONG,
            alias().state_metadata("7331"),
            coin(),
            Some(coin()),
        ),
        to("fail - gov transition_foundry_counter", WRONG, alias().counter(1_337), coin(), Some(coin())),
        to("fail - gov transition_immutable_features", WRONG, alias().about("new"), coin(), Some(coin())),
    ]);
}

/// What a state controller may not change.
#[test]
fn states_of_aliases() {
    let before = || alias(100, ALIAS, 10, CONTROLLER, GOVERNOR).counter(5).issuer(ISSUER);
    let next = || before().state(11);
    let to = |name, verdict, next| case(name, verdict).spends(before(), Sign(CONTROLLER)).makes(next);
    let founds = |name, verdict, counter, serials: &[u32]| {
        let case =
            case(name, verdict).spends(before(), Sign(CONTROLLER)).spends(basic(900, OWNER), Sign(OWNER));
        let found = |case: Case, serial: &u32| case.makes(foundry(100, ALIAS, *serial, [0, 0, 1]));
        let rest = 900 - 100 * serials.len() as u64;
        serials.iter().fold(case, found).makes(next().counter(counter)).makes(basic(rest, ANYONE))
    };
    judge([
        to("ok - state index only", Ok(()), next()),
        to("fail - state transition_state_controller", WRONG, next().controller(Who(50))),
        to("fail - state transition_governance_controller", WRONG, next().governor(Who(50))),
        to("fail - state transition_foundry_counter_lower_than_current", WRONG, next().counter(4)),
        to("fail - state transition_state_index_lower", WRONG, next().state(4)),
        to("fail - state transition_state_index_bigger_more_than_1", WRONG, next().state(7)),
        to("fail - state transition, two states on", WRONG, next().state(12)),
        to("fail - state transition_foundries_not_created", WRONG, next().counter(7)),
        to("fail - state transition_metadata_feature_added", WRONG, next().metadata("foo")),
        // Not of the reference's tests, but of its rules.
        to("fail - state transition, immutable features", WRONG, next().immutable(vec![])),
        founds("ok - one foundry founded", Ok(()), 6, &[6]),
        founds("fail - one foundry more than counted", WRONG, 6, &[6, 7]),
        founds("fail - one foundry, not counted", WRONG, 5, &[6]),
        founds("fail - the same number of foundries, not the next ones", WRONG, 7, &[7, 8]),
    ]);
}

/// `TestNFTOutput_ValidateStateTransition`.
#[test]
fn nfts() {
    let immutable = || vec![Feature::Issuer(ISSUER.address()), Feature::Metadata(b"some-ipfs-link".to_vec())];
    let new = || nft(100, NftId::ZERO, OWNER).immutable(immutable());
    let known = || nft(100, nft_of(0), OWNER).immutable(immutable());
    let few = tokens(0..10);
    let to = |name, verdict, next| {
        case(name, verdict)
            .spends(new(), Sign(OWNER))
            .spends(basic(1_337, OWNER).tokens(&few), Refer(0))
            .makes(next)
    };
    let rest = || basic(1_337, ANYONE);
    judge([
        case("ok - genesis transition", Ok(())).spends(basic(100, ISSUER), Sign(ISSUER)).makes(new()),
        case("fail - genesis transition - issuer not unlocked", WRONG)
            .spends(basic(100, OWNER), Sign(OWNER))
            .makes(new()),
        case("fail - genesis transition - named already", WRONG)
            .spends(basic(100, ISSUER), Sign(ISSUER))
            .makes(known()),
        case("ok - destroy transition", Ok(())).spends(new(), Sign(OWNER)).makes(basic(100, ANYONE)),
        to("ok - state transition_amount", Ok(()), known().amount(1_337)).makes(basic(100, ANYONE)),
        to("ok - state transition_address", Ok(()), known().owner(ANYONE)).makes(rest()),
        to("ok - state transition_native_tokens", Ok(()), known().tokens(&few)).makes(rest()),
        to(
            "fail - state transition_immutable_metadata",
            WRONG,
            known().immutable(vec![Feature::Metadata(b"link-to-cat.gif".to_vec())]),
        )
        .makes(rest()),
        to(
            "fail - state transition_issuer",
            WRONG,
            known().immutable(vec![Feature::Issuer(ANYONE.address())]),
        )
        .makes(rest()),
    ]);
}

const SERIAL: u32 = 6;

/// The foundry of the reference's cases.
fn example(minted: u64, melted: u64) -> Draft {
    foundry(100, ALIAS, SERIAL, [minted, melted, 1_000])
}

fn held(count: u64) -> Tokens {
    if count == 0 { Vec::new() } else { vec![(example(0, 0).token(), count.into())] }
}

/// `TestFoundryOutput_ValidateStateTransition`: how foundries begin.
#[test]
fn foundries_begin() {
    // The alias counts from `from` to `to`; the foundries come in that order, each with the tokens it mints.
    let found = |name, verdict, from, to, foundries: &[(Draft, u64)]| {
        let owner = |state| alias(100, ALIAS, state, CONTROLLER, GOVERNOR);
        let deposit = 100 * foundries.len() as u64;
        let case = case(name, verdict)
            .spends(owner(0).counter(from), Sign(CONTROLLER))
            .spends(basic(deposit, OWNER), Sign(OWNER))
            .makes(owner(1).counter(to));
        foundries.iter().fold(case, |case, (foundry, count)| {
            let minted = if *count == 0 { Vec::new() } else { vec![(foundry.token(), (*count).into())] };
            case.makes(foundry.clone().tokens(&minted))
        })
    };
    let seventh = foundry(100, ALIAS, 7, [100, 0, 1_000]);
    let first = example(100, 0);
    judge([
        found("ok - genesis transition", Ok(()), 5, 6, &[(first.clone(), 100)]),
        found("fail - genesis transition - mint supply not equal to out", WRONG, 5, 6, &[(first.clone(), 0)]),
        found(
            "fail - genesis transition - serial number not in interval",
            WRONG,
            6,
            7,
            &[(first.clone(), 100)],
        ),
        found(
            "fail - genesis transition - foundries unsorted",
            WRONG,
            5,
            7,
            &[(seventh.clone(), 100), (first.clone(), 100)],
        ),
        // Not of the reference's tests, but of its rules.
        found(
            "ok - genesis transition - foundries sorted",
            Ok(()),
            5,
            7,
            &[(first.clone(), 100), (seventh, 100)],
        ),
        found("fail - genesis transition - melted", WRONG, 5, 6, &[(example(100, 50), 100)]),
        case("fail - genesis transition - without its alias", WRONG)
            .spends(basic(100, OWNER), Sign(OWNER))
            .makes(first.tokens(&held(100))),
    ]);
}

/// `TestFoundryOutput_ValidateStateTransition`: how foundries go on, and end.
#[test]
fn foundries_go_on() {
    // With so many tokens in and out of the transaction.
    let to = |name, verdict, before: Draft, next: Option<Draft>, (consumed, created): (u64, u64)| {
        let owner = |state| alias(100, ALIAS, state, CONTROLLER, GOVERNOR).counter(SERIAL);
        let deposit = if next.is_some() { 100 } else { 200 };
        let case = case(name, verdict)
            .spends(owner(0), Sign(CONTROLLER))
            .spends(before, Alias(0))
            .spends(basic(100, OWNER).tokens(&held(consumed)), Sign(OWNER))
            .makes(owner(1))
            .makes(basic(deposit, ANYONE).tokens(&held(created)));
        next.into_iter().fold(case, Case::makes)
    };
    let goes = |name, verdict, (minted, melted), sums| {
        to(name, verdict, example(100, 0), Some(example(minted, melted)), sums)
    };
    let keeps = |name, verdict, next| to(name, verdict, example(100, 0), Some(next), (0, 0));
    let ends = |name, verdict, before, sums| to(name, verdict, before, None, sums);
    judge([
        keeps("ok - state transition - metadata feature", Ok(()), example(100, 0).metadata("changed")),
        goes("ok - state transition - mint", Ok(()), (400, 0), (0, 300)),
        goes("ok - state transition - melt", Ok(()), (100, 50), (100, 50)),
        goes("ok - state transition - burn", Ok(()), (100, 0), (100, 50)),
        goes("ok - state transition - melt complete supply", Ok(()), (100, 100), (100, 0)),
        goes("fail - state transition - mint (out: excess)", WRONG, (200, 0), (0, 200)),
        goes("fail - state transition - mint (out: deficit)", WRONG, (200, 0), (0, 50)),
        goes("fail - state transition - melt (out: excess)", WRONG, (100, 50), (100, 75)),
        keeps("fail - state transition_maximum_supply", WRONG, example(100, 0).maximum(1_337)),
        ends("ok - destroy transition", Ok(()), example(100, 100), (0, 0)),
        ends(
            "fail - destroy transition - foundry token unbalanced",
            Err(Conflict::NativeTokens),
            example(100, 0),
            (100, 200),
        ),
        ends(
            "fail - destroy transition - foundry token unbalanced, none appear",
            WRONG,
            example(100, 0),
            (100, 100),
        ),
        // Not of the reference's tests, but of its rules.
        goes("ok - state transition - melt and burn", Ok(()), (100, 30), (100, 50)),
        goes("fail - state transition - minted, balance kept", WRONG, (200, 0), (100, 100)),
        goes("fail - state transition - minted and melted, balance kept", WRONG, (150, 50), (100, 100)),
        goes("fail - state transition - melted while minting", WRONG, (150, 10), (100, 150)),
        goes("fail - state transition - minted while melting", WRONG, (150, 50), (100, 50)),
        to(
            "fail - state transition - fewer minted than before",
            WRONG,
            example(100, 0),
            Some(example(50, 0)),
            (100, 50),
        ),
        to(
            "fail - state transition - fewer melted than before",
            WRONG,
            example(100, 50),
            Some(example(100, 0)),
            (50, 50),
        ),
        keeps("fail - state transition - immutable features", WRONG, example(100, 0).about("new")),
        ends("ok - destroy transition - melts what is left", Ok(()), example(100, 50), (50, 0)),
        ends("fail - destroy transition - some are burned elsewhere", WRONG, example(100, 50), (0, 0)),
    ]);
}
