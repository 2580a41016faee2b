//! HORNET's ten scenarios of white-flag confirmation (v2.0.1: `pkg/whiteflag/test/white_flag_test.go`), as
//! topologies.
//!
//! - `B: . A`: block B approves the parents of the last milestone, and A.
//! - `B: A, 1 spends g A:1^0 A:2@3 ? -> 2=10 + 1=rest`: it carries a transaction of wallet 1, which spends
//!   the genesis output, output 1 of A (unlocked as its alias is, input 0), output 2 of A (signed by wallet
//!   3), and one that nobody knows; it makes two outputs.
//! - `B: A, again`: it carries the last milestone once more.
//! - `milestone * B => * A+ B!3`: a milestone on the last one's block and on B, and what it references, in
//!   order: one without a transaction, one included, one in conflict for that reason.
//! - `milestone B => refused`: there can be no such milestone.
//! - `balance 1=10`, `holds 1=10`, `unspent alias=1`: base and native tokens of a wallet, outputs of a kind.
//!
//! Outputs are `wallet=amount`, `alias(wallet)=amount`, `nft(wallet)=amount`, `foundry(alias,serial)=amount`,
//! or an output before that goes on; the words behind change it. Amounts are the reference's, but for those
//! that are its least storage deposits: white flag never looks at these.

use std::collections::{BTreeMap, BTreeSet};

use osmia::fault::ViewError;
use osmia::ledger::authority::{Authority, KeyRange, Refusal};
use osmia::ledger::semantic::Signatures;
use osmia::ledger::view::{ConeBlock, ConeView, Known, LedgerView};
use osmia::ledger::whiteflag::{Error, Mutations, Question, apply};
use osmia::ledger::{Booked, Inclusion};
use osmia::protocol::block::{Block, Parents, Payload};
use osmia::protocol::id::{AliasId, BlockId, MilestoneId, MilestoneIndex, NftId, OutputId, TransactionId};
use osmia::protocol::merkle;
use osmia::protocol::milestone::{Essence, Milestone, MilestoneStamp, Signature};
use osmia::protocol::output::Output;
use osmia::protocol::transaction::Transaction;
use primitive_types::U256;

use crate::spend::Lock::{Alias, Refer, Sign};
use crate::spend::{Draft, Lock, Owner, Who, alias, basic, foundry, nft, signed};

const SUPPLY: u64 = 2_779_530_283_277_761;

#[test]
fn send_all_coins() {
    play(
        "A: ., 1 spends g -> 2=rest
         milestone * A => * A+
         balance 1=0 2=2_779_530_283_277_761
         B: . A, 2 spends A:0 -> 1=rest
         milestone * B => * B+
         balance 1=2_779_530_283_277_761 2=0",
    );
}

#[test]
fn with_multiple_conflicting() {
    play(
        "A: ., 1 spends g -> 2=1_000_000 + 1=rest
         B: . A, 1 spends A:1 -> 2=2_000_000 + 1=rest
         C: . B, 3 spends ? -> 2=1_000_000
         milestone * C => * A+ B+ C!3
         balance 1=2_779_530_280_277_761 2=3_000_000 3=0 4=0
         D: A C, 4 spends ? -> 2=1_500_000
         E: B D, 2 spends A:0 B:0 -> 4=1_500_000 + 2=rest
         milestone * E => * D!3 E+
         balance 1=2_779_530_280_277_761 2=1_500_000 3=0 4=1_500_000
         F: . E, 3 spends g -> 2=1_000_000 + 3=rest
         milestone * F => * F!1
         balance 1=2_779_530_280_277_761 2=1_500_000 3=0 4=1_500_000
         G: . F, 4 spends E:0 -> 3=1_500_000
         H: G, 4 spends E:0 -> 2=1_500_000
         milestone * H => * G+ H!2
         balance 1=2_779_530_280_277_761 2=1_500_000 3=1_500_000 4=0",
    );
}

#[test]
fn with_only_zero_tx() {
    play(
        "A: .
         B: . A
         C: .
         D: B C
         E: B A
         milestone * E => * A B E
         F: D E
         milestone * F => * C D F",
    );
}

#[test]
fn last_milestone_not_in_past_cone() {
    play(
        "A: ., 1 spends g -> 2=rest
         milestone * A => * A+
         balance 1=0 2=2_779_530_283_277_761
         B: . A, 2 spends A:0 -> 1=rest
         milestone B => refused
         balance 1=0 2=2_779_530_283_277_761",
    );
}

/// The reattachment that approves others than the milestone's parents is an ordinary block.
#[test]
fn confirm_with_reattached_milestone() {
    play(
        "A: ., 1 spends g -> 2=rest
         milestone * A => * A+
         balance 1=0 2=2_779_530_283_277_761
         B: . A, 2 spends A:0 -> 1=rest
         milestone * B => * B+
         R: ., again
         I: B
         C: B R, 1 spends B:0 -> 2=rest
         milestone I B => refused
         milestone C R => R C+
         balance 1=0 2=2_779_530_283_277_761",
    );
}

/// What tells those reattachments apart.
#[test]
fn reattachments_of_a_milestone() {
    let parents = |names: [u8; 2]| Parents::new(names.map(|name| BlockId([name; 32])).to_vec()).unwrap();
    let essence = Essence {
        index: MilestoneIndex(5),
        timestamp: 500,
        protocol_version: 2,
        previous: stamp(4).id,
        parents: parents([4, b'B']),
        inclusion_merkle_root: [0; 32],
        applied_merkle_root: [0; 32],
        metadata: vec![],
        options: Default::default(),
    };
    let (public_key, signature) = Who(7).sign(&essence.id().0);
    let milestone = Milestone::new(essence, vec![Signature { public_key, signature }]).unwrap();
    let key = KeyRange { public_key, start: MilestoneIndex(0), end: MilestoneIndex(0) };
    let authority = Authority { keys: vec![key], threshold: 1 };
    for (name, verdict, approved, nonce) in [
        ("the milestone", Ok(()), [4, b'B'], 0),
        ("Valid reattachment with same parents and different nonce", Ok(()), [4, b'B'], 1),
        ("Invalid reattachment with different parents", Err(Refusal::Parents), [0, b'B'], 0),
    ] {
        let payload = Some(Payload::Milestone(Box::new(milestone.clone())));
        let block = Block { protocol_version: 2, parents: parents(approved), payload, nonce };
        assert_eq!(authority.check(&block, &milestone), verdict, "{name}");
    }
}

#[test]
fn alias_output() {
    play(
        "A: ., 1 spends g -> alias(1)=1_000_000 issuer=1 + 1=rest
         unspent alias=0
         milestone * A => * A+
         unspent alias=1
         B: ., 1 spends A:0 -> A:0 state+1
         milestone * B => * B+
         C: ., 1 spends B:0 -> B:0 state+2
         milestone * C => * C!12
         D: ., 1 spends B:0 -> B:0 controller=2
         milestone * D => * D+
         E: ., 1 spends D:0 -> D:0 controller=3 state+1
         milestone * E => * E!5
         unspent alias=1
         F: ., 1 spends D:0 -> 1=rest
         milestone * F => * F+
         unspent alias=0",
    );
}

#[test]
fn foundry_output() {
    play(
        "A: ., 1 spends g -> alias(1)=1_000_000_000 issuer=1 + 1=rest
         milestone * A => * A+
         B: ., 1 spends A:0 -> foundry(A:0,1)=1_000_000 + A:0=999_000_000 state+1 counter=1
         unspent alias=1 foundry=0
         milestone * B => * B+
         unspent alias=1 foundry=1
         C: ., 1 spends B:1 B:0^0 -> B:1=998_000_000 state+1 + B:0 minted=200 + 2=1_000_000 tokens=200@B:0
         milestone * C => * C+
         holds 2=200
         D: ., 1 spends C:0 C:1^0 -> C:0=997_000_000 state+1 + C:1 minted=300 + 2=1_000_000 tokens=400@C:1
         milestone * D => * D!12
         holds 2=200
         E: ., 1 spends C:0 C:1^0 C:2@2 -> C:0 state+1 + C:1 melted=100 + C:2 tokens=100@C:1
         milestone * E => * E+
         holds 2=100
         F: ., 1 spends E:0 E:1^0 E:2@2 -> E:0 state+1 + E:1 melted=200 + E:2 tokens=50@E:1
         milestone * F => * F!12
         holds 2=100
         G: ., 2 spends E:2 -> E:2 tokens=0@E:1
         milestone * G => * G+
         holds 2=0
         H: ., 1 spends E:0 E:1^0 -> E:0 state+1 + E:1 melted=200
         milestone * H => * H!12
         unspent alias=1 foundry=1",
    );
}

#[test]
fn foundry_output_invalid_serial_number() {
    play(
        "A: ., 1 spends g -> alias(1)=1_000_000_000 issuer=1 + 1=rest
         milestone * A => * A+
         unspent alias=1
         B: ., 1 spends A:0 -> foundry(A:0,1337)=1_000_000 + A:0=999_000_000 state+1 counter=1
         milestone * B => * B!12
         unspent alias=1 foundry=0",
    );
}

#[test]
fn foundry_output_invalid_alias_foundry_counter() {
    play(
        "A: ., 1 spends g -> alias(1)=1_000_000_000 issuer=1 + 1=rest
         milestone * A => * A+
         unspent alias=1
         B: ., 1 spends A:0 -> foundry(A:0,1337)=1_000_000 + A:0=999_000_000 state+1 counter=1337
         milestone * B => * B!12
         unspent alias=1 foundry=0",
    );
}

#[test]
fn nft_outputs() {
    play(
        "A: ., 1 spends g -> nft(2)=1_000_000_000 sender=1 issuer=1 about=test + 1=rest
         unspent nft=0
         milestone * A => * A+
         unspent nft=1
         B: ., 2 spends A:0 -> A:0 owner=3 plain
         milestone * B => * B+
         C: ., 3 spends B:0 -> B:0 about=faked
         milestone * C => * C!12
         unspent nft=1
         D: ., 3 spends B:0 -> 3=rest
         milestone * D => * D+
         unspent nft=0",
    );
}

/// Not one of HORNET's: what a milestone makes it may spend, and the first in the order that spends it does.
#[test]
fn one_milestone_makes_and_spends() {
    play(
        "A: ., 1 spends g -> alias(1)=1_000_000 + 1=rest
         B: A, 1 spends A:0 -> A:0 state+1
         C: A, 1 spends A:0 -> 2=rest
         D: C, 1 spends C:0 -> 2=rest
         E: B D, 1 spends B:0 -> 3=rest
         milestone * E => * A+ B+ C!2 D!3 E+
         unspent alias=0
         balance 1=2_779_530_282_277_761 2=0 3=1_000_000",
    );
}

fn play(scenario: &str) {
    let mut tangle = Tangle::new();
    for line in scenario.lines().map(str::trim) {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "milestone" => tangle.milestone(rest, line),
            "balance" => tangle.balance(rest, line),
            "holds" => tangle.holds(rest, line),
            "unspent" => tangle.unspent(rest, line),
            name => tangle.block(name.strip_suffix(':').unwrap(), rest),
        }
    }
}

/// A Tangle with its ledger, after a milestone or more.
struct Tangle {
    blocks: BTreeMap<BlockId, ConeBlock>,
    transactions: BTreeMap<BlockId, Transaction>,
    /// Outputs by block and place.
    names: BTreeMap<String, (OutputId, Draft)>,
    ledger: BTreeMap<OutputId, Booked>,
    spent: BTreeSet<OutputId>,
    /// The last milestone, the block that carries it, and its parents.
    last: (MilestoneStamp, BlockId, Vec<BlockId>),
}

impl ConeView for Tangle {
    fn cone_block(&self, id: &BlockId) -> Result<Option<ConeBlock>, ViewError> {
        Ok(self.blocks.get(id).cloned())
    }
}

impl LedgerView for Tangle {
    fn output(&self, id: &OutputId) -> Result<Option<Known>, ViewError> {
        let spent = self.spent.contains(id).then_some(Known::Spent);
        let known = self.ledger.get(id).cloned().map(Box::new).map(Known::Unspent);
        Ok(spent.or(known))
    }

    fn transaction(&self, id: &BlockId) -> Result<Option<Transaction>, ViewError> {
        Ok(self.transactions.get(id).cloned())
    }
}

/// Of a block with a name.
fn id(name: &str) -> BlockId {
    let [letter] = name.as_bytes() else { panic!("{name:?} is no name") };
    BlockId([*letter; 32])
}

fn number(text: &str) -> u64 {
    text.replace('_', "").parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn wallet(text: &str) -> Who {
    Who(text.parse().unwrap_or_else(|_| panic!("{text:?} is no wallet")))
}

/// Each `name=number`.
fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.split(' ').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name, number(value))
    })
}

fn stamp(index: u8) -> MilestoneStamp {
    let timestamp = u32::from(index) * 100;
    MilestoneStamp { id: MilestoneId([index; 32]), index: MilestoneIndex(index.into()), timestamp }
}

impl Tangle {
    /// Two milestones after the genesis; the second one's block waits to be referenced.
    fn new() -> Self {
        let genesis = OutputId { transaction: TransactionId([0; 32]), index: 0 };
        let all = basic(SUPPLY, Who(1));
        let booked = Booked {
            id: genesis,
            block: BlockId::ZERO,
            index: MilestoneIndex(0),
            timestamp: 0,
            output: all.build(),
        };
        let second = (stamp(2), BlockId([2; 32]), vec![BlockId::ZERO]);
        let mut tangle = Self {
            blocks: BTreeMap::from([(BlockId::ZERO, ConeBlock::Referenced)]),
            transactions: BTreeMap::new(),
            names: BTreeMap::from([("g".to_owned(), (genesis, all))]),
            ledger: BTreeMap::from([(genesis, booked)]),
            spent: BTreeSet::new(),
            last: second,
        };
        tangle.attach(tangle.last.1, tangle.last.2.clone(), Some(tangle.last.0), false);
        tangle
    }

    fn attach(
        &mut self,
        id: BlockId,
        parents: Vec<BlockId>,
        milestone: Option<MilestoneStamp>,
        transaction: bool,
    ) {
        let transaction = transaction.then_some(Signatures::Unknown);
        let block = ConeBlock::Unreferenced { parents, milestone, transaction };
        assert!(self.blocks.insert(id, block).is_none(), "{id} stands twice");
    }

    /// Ascending, as in a block; `.` stands for the last milestone's parents, `*` for its block.
    fn parents(&self, names: &str) -> Vec<BlockId> {
        let each = |name| match name {
            "." => self.last.2.clone(),
            "*" => vec![self.last.1],
            name => vec![id(name)],
        };
        names.split(' ').flat_map(each).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn block(&mut self, name: &str, text: &str) {
        let (parents, payload) = text.split_once(", ").unwrap_or((text, ""));
        let parents = self.parents(parents);
        let milestone = (payload == "again").then_some(self.last.0);
        let spending = payload.split_once(" spends ");
        self.attach(id(name), parents, milestone, spending.is_some());
        if let Some((spender, text)) = spending {
            let transaction = self.transaction_of(name, wallet(spender), text);
            self.transactions.insert(id(name), transaction);
        }
    }

    fn transaction_of(&mut self, name: &str, spender: Who, text: &str) -> Transaction {
        let (inputs, outputs) = text.split_once(" -> ").unwrap();
        let mut signers = Vec::<(Who, u16)>::new();
        let mut spent = Vec::new();
        for (at, word) in (0..).zip(inputs.split(' ')) {
            let (word, alias) = word.split_once('^').map_or((word, None), |(word, to)| (word, Some(to)));
            let (word, signer) =
                word.split_once('@').map_or((word, spender), |(word, who)| (word, wallet(who)));
            let lock: Lock = match (alias, signers.iter().find(|(who, _)| *who == signer)) {
                (Some(to), _) => Alias(to.parse().unwrap()),
                (None, Some((_, first))) => Refer(*first),
                (None, None) => {
                    signers.push((signer, at));
                    Sign(signer)
                }
            };
            let (id, draft) = match word {
                "?" => {
                    let unknown = TransactionId([name.as_bytes()[0]; 32]);
                    (OutputId { transaction: unknown, index: 0 }, basic(SUPPLY, signer))
                }
                word => self.names[word].clone(),
            };
            spent.push((id, draft.build(), lock));
        }
        let mut left = spent.iter().map(|(_, output, _)| output.value().amount).sum::<u64>();
        let mut made = Vec::new();
        for text in outputs.split(" + ") {
            let draft = self.draft(text, left);
            left = left.saturating_sub(draft.build().value().amount);
            made.push(draft);
        }
        let transaction = signed(&spent, made.iter().map(Draft::build).collect());
        for (index, draft) in (0..).zip(made) {
            let id = OutputId { transaction: transaction.id(), index };
            self.names.insert(format!("{name}:{index}"), (id, draft));
        }
        transaction
    }

    /// As the output goes on.
    fn named(&self, name: &str) -> Draft {
        let (id, draft) = &self.names[name];
        draft.clone().known_as(id)
    }

    fn draft(&self, text: &str, left: u64) -> Draft {
        let mut words = text.split(' ');
        let first = words.next().unwrap();
        let (head, amount) = first.split_once('=').map_or((first, None), |(head, amount)| {
            (head, Some(if amount == "rest" { left } else { number(amount) }))
        });
        let draft = match head.strip_suffix(')').and_then(|head| head.split_once('(')) {
            Some(("alias", owner)) => alias(0, AliasId::ZERO, 0, wallet(owner), wallet(owner)),
            Some(("nft", owner)) => nft(0, NftId::ZERO, wallet(owner)),
            Some(("foundry", words)) => {
                let (owner, serial) = words.split_once(',').unwrap();
                foundry(0, self.named(owner).alias_id(), serial.parse().unwrap(), [0, 0, 1_000])
            }
            Some((kind, _)) => panic!("{kind} is no output"),
            None if head.contains(':') => self.named(head),
            None => basic(0, wallet(head)),
        };
        let draft = match amount {
            Some(amount) => draft.amount(amount),
            None => draft,
        };
        words.fold(draft, |draft, word| self.change(draft, word))
    }

    fn change(&self, draft: Draft, word: &str) -> Draft {
        if let Some(steps) = word.strip_prefix("state+") {
            let state = draft.state_index() + steps.parse::<u32>().unwrap();
            return draft.state(state);
        }
        match word.split_once('=').unwrap_or((word, "")) {
            ("controller", who) => draft.controller(wallet(who)),
            ("counter", count) => draft.counter(count.parse().unwrap()),
            ("owner", who) => draft.owner(wallet(who)),
            ("sender", who) => draft.sender(wallet(who)),
            ("issuer", who) => draft.issuer(wallet(who)),
            ("about", text) => draft.about(text),
            ("minted", count) => draft.minted(number(count)),
            ("melted", count) => draft.melted(number(count)),
            ("tokens", text) => {
                let (count, foundry) = text.split_once('@').unwrap();
                let token = (self.named(foundry).token(), U256::from(number(count)));
                draft.tokens(if count == "0" { &[] } else { std::slice::from_ref(&token) })
            }
            ("plain", _) => draft.without_features(),
            (other, _) => panic!("{other} changes nothing"),
        }
    }

    fn milestone(&mut self, text: &str, line: &str) {
        let (parents, expected) = text.split_once(" => ").unwrap();
        let parents = self.parents(parents);
        let next = stamp(u8::try_from(self.last.0.index.0).unwrap() + 1);
        let question = Question {
            index: next.index,
            timestamp: next.timestamp,
            parents: Parents::new(parents.clone()).unwrap(),
            previous: self.last.0.id,
        };
        let mutations = match apply(self, self, &question, MilestoneIndex(0)) {
            Err(Error::Previous { .. }) => return assert_eq!("refused", expected, "{line}"),
            other => other.unwrap(),
        };
        assert_eq!(self.told(&mutations), expected, "{line}");
        self.confirm(mutations, line);
        let block = BlockId([next.id.0[0]; 32]);
        self.attach(block, parents.clone(), Some(next), false);
        self.last = (next, block, parents);
    }

    /// What was referenced, in the words of the scenario.
    fn told(&self, mutations: &Mutations) -> String {
        let word = |referenced: &osmia::ledger::Referenced| {
            let name = match referenced.id {
                last if last == self.last.1 => '*',
                id => char::from(id.0[0]),
            };
            match referenced.inclusion {
                Inclusion::NoTransaction => name.to_string(),
                Inclusion::Included => format!("{name}+"),
                Inclusion::Conflicting(conflict) => format!("{name}!{}", conflict.code()),
            }
        };
        mutations.referenced.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    fn confirm(&mut self, mutations: Mutations, line: &str) {
        let included = mutations.referenced.iter().filter(|block| block.inclusion == Inclusion::Included);
        let included = included.map(|block| block.id).collect::<Vec<_>>();
        let all = mutations.referenced.iter().map(|block| block.id).collect::<Vec<_>>();
        assert_eq!(mutations.inclusion_merkle_root, merkle::root(&all), "{line}");
        assert_eq!(mutations.applied_merkle_root, merkle::root(&included), "{line}");
        for id in all {
            self.blocks.insert(id, ConeBlock::Referenced);
        }
        for booked in mutations.delta.created {
            self.ledger.insert(booked.id, booked);
        }
        for spent in mutations.delta.consumed {
            self.ledger.remove(&spent.booked.id).unwrap();
            self.spent.insert(spent.booked.id);
        }
        let sum = self.ledger.values().map(|booked| booked.output.value().amount).sum::<u64>();
        assert_eq!(sum, SUPPLY, "{line}");
    }

    /// Outputs of a wallet; aliases and foundries are of none.
    fn outputs_of(&self, name: &str) -> impl Iterator<Item = &Output> {
        let address = Some(wallet(name).address());
        let outputs = self.ledger.values().map(|booked| &booked.output);
        outputs.filter(move |output| output.conditions().address() == address)
    }

    fn balance(&self, text: &str, line: &str) {
        for (name, expected) in pairs(text) {
            let sum = self.outputs_of(name).map(|output| output.value().amount).sum::<u64>();
            assert_eq!(sum, expected, "wallet {name}, {line}");
        }
    }

    fn holds(&self, text: &str, line: &str) {
        for (name, expected) in pairs(text) {
            let tokens = self.outputs_of(name).flat_map(|output| output.value().native_tokens.as_slice());
            let sum = tokens.fold(U256::zero(), |sum, token| sum + token.amount);
            assert_eq!(sum, expected.into(), "wallet {name}, {line}");
        }
    }

    fn unspent(&self, text: &str, line: &str) {
        for (kind, expected) in pairs(text) {
            let is = |booked: &&Booked| match &booked.output {
                Output::Basic(_) => kind == "basic",
                Output::Alias(_) => kind == "alias",
                Output::Foundry(_) => kind == "foundry",
                Output::Nft(_) => kind == "nft",
            };
            assert_eq!(self.ledger.values().filter(is).count() as u64, expected, "{kind}, {line}");
        }
    }
}
