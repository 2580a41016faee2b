//! Blocks, whole and damaged, judged here and by the published `iota-sdk`: both accept the same strings, read the same ids
//! from them and pack them to the same bytes, but for the differences of [`TABLE`].
//!
//! Compared is what needs no other block and no proof of work: `Block::parse` and `checked::check_form` here,
//! `Block::unpack_strict` there. `OSMIA_DIFFERENTIAL=1000000` makes that many strings instead of the short run.

use std::collections::{BTreeMap, BTreeSet};

use iota_sdk::packable::PackableExt;
use iota_sdk::packable::error::UnpackError;
use iota_sdk::types::block::output::RentStructure as TheirRent;
use iota_sdk::types::block::payload::milestone::MilestoneOption as TheirOption;
use iota_sdk::types::block::payload::{MilestonePayload as TheirMilestone, Payload as TheirPayload};
use iota_sdk::types::block::protocol::ProtocolParameters as TheirParameters;
use iota_sdk::types::block::{Block as TheirBlock, Error as TheirError};
use osmia::engine::Network;
use osmia::engine::checked::{Refusal, check_form};
use osmia::ledger::authority::Authority;
use osmia::protocol::address::Address;
use osmia::protocol::block::{self, Block, Parents, Payload};
use osmia::protocol::id::{AliasId, BlockId, MilestoneId, MilestoneIndex, TokenId};
use osmia::protocol::milestone::{Essence, Milestone, MilestoneOption, Options, Signature};
use osmia::protocol::output::condition::{Condition, Conditions};
use osmia::protocol::output::token::{NativeToken, NativeTokens};
use osmia::protocol::output::{Basic, Output, TokenScheme, Value};
use osmia::protocol::pack::Writer;
use osmia::protocol::params::{ProtocolParameters, RentStructure};
use osmia::protocol::rent::min_deposit;
use osmia::protocol::transaction::{Transaction, Unlock};
use osmia::protocol::treasury::{MigratedFunds, Receipt, TreasuryTransaction};
use osmia::protocol::{Error, PROTOCOL_VERSION, hex};
use primitive_types::U256;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::codec;
use crate::damage::{Dice, damage, grow_payload, tender_places};

/// Who accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Here,
    There,
}

/// Kinds of strings that one accepts and the other does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    ReceiptForm,
    ReceiptFinal,
    FundsCount,
    FundsAddress,
    FundsHash,
    FundsAmounts,
    MetadataLength,
    MilestoneVersion,
    SimilarKeys,
    OptionsTwice,
}

/// Every difference: kind, who accepts, what the network does (HORNET 2.0.1 with iota.go v3.0.0-rc.3), and why. The network
/// does as this code in each row; a row where it does not would be a mistake to repair here.
const TABLE: [(Kind, Side, &str); 10] = [
    (
        Kind::ReceiptForm,
        Side::Here,
        "iota.go reads the treasury transaction of a receipt with ReadPayload, a length of four bytes in front; iota-sdk \
         has none there and so reads no receipt of the network. Each form is translated into the other and compared on",
    ),
    (
        Kind::ReceiptFinal,
        Side::There,
        "hive.go's ReadBool takes 0 and 1 only; iota-sdk takes any byte and packs it as 1, which changes the id",
    ),
    (
        Kind::FundsCount,
        Side::There,
        "iota.go: MaxMigratedFundsEntryCount = 127; iota-sdk has the 128 of a transaction's outputs",
    ),
    (
        Kind::FundsAddress,
        Side::There,
        "iota.go's migratedFundEntryFeatBlockAddrGuard allows Ed25519 addresses only; iota-sdk any",
    ),
    (
        Kind::FundsHash,
        Side::Here,
        "iota.go reads 49 bytes as they are; iota-sdk wants 243 trits, and packs more in the last byte as zero",
    ),
    (
        Kind::FundsAmounts,
        Side::Here,
        "iota.go compares amounts, their sum, the treasury and double tail hashes in ValidateReceipt, when the milestone is \
         applied (here `ledger::treasury`); until then the block is an ordinary one. iota-sdk does when it reads",
    ),
    (
        Kind::MetadataLength,
        Side::There,
        "iota.go: MaxMetadataLength = 8192 (TIP-29, too); iota-sdk up to 65535",
    ),
    (
        Kind::MilestoneVersion,
        Side::Here,
        "HORNET compares the block's version only; iota-sdk also the one inside the milestone",
    ),
    (
        Kind::SimilarKeys,
        Side::There,
        "iota.go orders signatures by their first 32 bytes, which are the type and 31 bytes of the key; iota-sdk by the key",
    ),
    (
        Kind::OptionsTwice,
        Side::Here,
        "milestoneOptsArrayRules of iota.go ask for ascending bytes, not for one of each type: two different options of a \
         type are read, and only fail when a signed milestone is applied; iota-sdk refuses them",
    ),
];

/// Every rule of `ledger::syntactic`, as it shows in a refusal: each must have refused something that is refused there, too.
const RULES: [&str; 15] = [
    "Network {",
    "InputTwice(",
    "Amount(",
    "Sum",
    "Deposit {",
    "Return {",
    "Time(",
    "Tokens",
    "problem: Twice",
    "NewAlias",
    "Cyclic",
    "Scheme",
    "the signature of an unlock before",
    "refers to no signature before it",
    "refers to no unlock before it",
];

/// Strings of the short run.
const SHORT: u64 = 50_000;

/// Strings made of each whole block; the first one is that block.
const PER_BLOCK: u64 = 25;

#[test]
fn damaged_blocks_are_judged_as_by_the_published_client() {
    let wanted = std::env::var("OSMIA_DIFFERENTIAL").map_or(SHORT, |count| count.parse().unwrap());
    let judges = Judges::new();
    let mut tally = Tally::default();
    for base in 0..wanted.div_ceil(PER_BLOCK) {
        let mut dice = Dice(base);
        let block = whole_block(&judges.network.params, base, &mut dice);
        let mut whole = block.pack();
        let tender = tender_places(&whole);
        if block.milestone().is_some_and(has_receipt) && dice.below(2) == 0 {
            whole = their_form(&block, &whole);
        }
        for nth in 0..PER_BLOCK {
            let mut bytes = whole.clone();
            if nth > 0 {
                damage(&mut bytes, &tender, &mut dice);
            }
            let name = || format!("seed {base}, string {nth}: {}", hex::encode(&bytes));
            let verdict = judges.compare(&bytes).unwrap_or_else(|problem| panic!("{problem}; {}", name()));
            tally.whole += u64::from(nth == 0 && verdict.accepted.is_some());
            tally.count(verdict);
        }
    }
    eprintln!("{wanted} strings: {tally:?}");
    // A run that only compares refusals says nothing.
    let enough = |count: u64| count >= wanted / 100;
    assert!(enough(tally.plain) && enough(tally.transactions) && enough(tally.milestones), "{tally:?}");
    assert_eq!(tally.rules, RULES.into_iter().collect(), "rules that refused nothing are not compared");
    assert!(enough(tally.refused) && tally.whole > wanted / PER_BLOCK / 2, "{tally:?}");
}

/// A row that nothing meets is not true any more.
#[test]
fn every_row_of_the_table_is_met() {
    let judges = Judges::new();
    let met = specimens().into_iter().map(|(kind, bytes)| {
        let verdict = judges.compare(&bytes).unwrap_or_else(|problem| panic!("{kind:?}: {problem}"));
        assert!(verdict.met.contains(&kind), "{kind:?} is not met: {:?}", verdict.met);
        kind
    });
    let met = met.collect::<BTreeSet<_>>();
    assert_eq!(met, TABLE.iter().map(|(kind, ..)| *kind).collect());
}

/// What the judges said of a string, and which rows of the table it needed.
#[derive(Debug, Default)]
struct Verdict {
    accepted: Option<Content>,
    /// Of [`RULES`], broken here in a string that is refused there.
    rule: Option<&'static str>,
    met: Vec<Kind>,
}

#[derive(Debug, Clone, Copy)]
enum Content {
    Plain,
    Transaction,
    Milestone,
}

/// Strings by verdict.
#[derive(Debug, Default)]
struct Tally {
    /// Accepted blocks before any damage.
    whole: u64,
    /// Not accepted by both.
    refused: u64,
    plain: u64,
    transactions: u64,
    milestones: u64,
    differences: BTreeMap<Kind, u64>,
    rules: BTreeSet<&'static str>,
}

impl Tally {
    fn count(&mut self, verdict: Verdict) {
        match verdict.accepted {
            None => self.refused += 1,
            Some(Content::Plain) => self.plain += 1,
            Some(Content::Transaction) => self.transactions += 1,
            Some(Content::Milestone) => self.milestones += 1,
        }
        self.rules.extend(verdict.rule);
        for kind in verdict.met {
            *self.differences.entry(kind).or_default() += 1;
        }
    }
}

/// Both, with the same protocol parameters.
struct Judges {
    network: Network,
    theirs: TheirParameters,
}

impl Judges {
    fn new() -> Self {
        let rent = RentStructure { v_byte_cost: 100, v_byte_factor_data: 1, v_byte_factor_key: 10 };
        let params = ProtocolParameters {
            version: PROTOCOL_VERSION,
            network_name: "osmia-private".to_owned(),
            bech32_hrp: "tst".to_owned(),
            min_pow_score: 0,
            below_max_depth: 15,
            rent,
            token_supply: 2_779_530_283_277_761,
        };
        let theirs = TheirParameters::new(
            params.version,
            params.network_name.clone(),
            params.bech32_hrp.as_str(),
            params.min_pow_score,
            params.below_max_depth,
            TheirRent::new(rent.v_byte_cost, rent.v_byte_factor_key, rent.v_byte_factor_data),
            params.token_supply,
        );
        Self {
            network: Network { params, authority: Authority { keys: Vec::new(), threshold: 1 } },
            theirs: theirs.unwrap(),
        }
    }

    fn here(&self, bytes: &[u8]) -> Result<Block, Refusal> {
        let block = Block::parse(bytes)?;
        check_form(&self.network, bytes.len(), &block)?;
        Ok(block)
    }

    fn there(&self, bytes: &[u8]) -> Result<TheirBlock, Option<TheirError>> {
        TheirBlock::unpack_strict(bytes, &self.theirs).map_err(|error| match error {
            UnpackError::Packable(error) => Some(error),
            UnpackError::Unpacker(_) => None,
        })
    }

    /// `Err` names what no row of the table explains.
    fn compare(&self, bytes: &[u8]) -> Result<Verdict, String> {
        let (ours, theirs) = (self.here(bytes), self.there(bytes));
        if let Ok(block) = &ours
            && block.milestone().is_some_and(has_receipt)
        {
            if theirs.is_ok() {
                return Err("a receipt with a length was accepted there".to_owned());
            }
            let translated = their_form(block, bytes);
            return self.judge(&translated, ours, self.there(&translated), Some(Kind::ReceiptForm));
        }
        if let Ok(block) = &theirs
            && let Some(translated) = our_form(block, bytes)
        {
            if ours.is_ok() {
                return Err("a receipt without a length was accepted here".to_owned());
            }
            let ours = self.here(&translated);
            return self.judge(bytes, ours, theirs, Some(Kind::ReceiptForm));
        }
        self.judge(bytes, ours, theirs, None)
    }

    /// `bytes` in the form that is read there; `translated` when that is another one.
    fn judge(
        &self,
        bytes: &[u8],
        ours: Result<Block, Refusal>,
        theirs: Result<TheirBlock, Option<TheirError>>,
        translated: Option<Kind>,
    ) -> Result<Verdict, String> {
        let mut verdict = Verdict { met: translated.into_iter().collect(), ..Verdict::default() };
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                verdict.met.extend(behind_trits(&ours).then_some(Kind::FundsHash));
                verdict.accepted = Some(same(bytes, &ours, &theirs, &verdict.met)?);
            }
            (Ok(ours), Err(error)) => {
                let kind = self.refused_there(&ours, error.as_ref());
                let kind = kind.ok_or(format!("refused there alone: {error:?}"))?;
                assert_eq!(accepting(kind), Side::Here, "{kind:?}");
                verdict.met.push(kind);
            }
            (Err(refusal), Ok(_)) => {
                let kind = refused_here(&refusal);
                let kind = kind.ok_or(format!("refused here alone: {refusal}"))?;
                assert_eq!(accepting(kind), Side::There, "{kind:?}");
                verdict.met.push(kind);
            }
            (Err(Refusal::Transaction(refusal)), Err(_)) => {
                let text = format!("{refusal:?}");
                verdict.rule = RULES.into_iter().find(|rule| text.contains(rule));
            }
            (Err(_), Err(_)) => {}
        }
        Ok(verdict)
    }

    /// The row for what only they refuse.
    fn refused_there(&self, ours: &Block, error: Option<&TheirError>) -> Option<Kind> {
        let essence = &ours.milestone()?.essence;
        let error = error?;
        let version = essence.protocol_version != self.network.params.version;
        let kinds = [
            (version && matches!(error, TheirError::ProtocolVersionMismatch { .. }), Kind::MilestoneVersion),
            (matches!(error, TheirError::InvalidTailTransactionHash), Kind::FundsHash),
            (matches!(error, TheirError::InvalidMigratedFundsEntryAmount(_)), Kind::FundsAmounts),
            (matches!(error, TheirError::InvalidReceiptFundsSum(_)), Kind::FundsAmounts),
            (matches!(error, TheirError::TailTransactionHashNotUnique { .. }), Kind::FundsAmounts),
            (matches!(error, TheirError::InvalidTreasuryOutputAmount(_)), Kind::FundsAmounts),
            (matches!(error, TheirError::MilestoneOptionsNotUniqueSorted), Kind::OptionsTwice),
        ];
        row(&kinds)
    }
}

/// Who accepts, by the table.
fn accepting(kind: Kind) -> Side {
    TABLE.iter().find(|(row, ..)| *row == kind).map(|(_, side, _)| *side).unwrap()
}

/// The row for what only we refuse.
fn refused_here(refusal: &Refusal) -> Option<Kind> {
    let Refusal::Syntax(error) = refusal else { return None };
    let kinds = [
        (matches!(error, Error::OutOfRange { field: "payload.metadata length", .. }), Kind::MetadataLength),
        (matches!(error, Error::OutOfRange { field: "receipt funds count", .. }), Kind::FundsCount),
        (matches!(error, Error::OutOfRange { field: "receipt final", .. }), Kind::ReceiptFinal),
        (matches!(error, Error::Malformed { field: "receipt funds address", .. }), Kind::FundsAddress),
        (matches!(error, Error::NotSorted { field: "payload.signatures" }), Kind::SimilarKeys),
    ];
    row(&kinds)
}

fn row(kinds: &[(bool, Kind)]) -> Option<Kind> {
    kinds.iter().find(|(holds, _)| *holds).map(|(_, kind)| *kind)
}

/// Whether a hash has more than 243 trits in it.
fn behind_trits(ours: &Block) -> bool {
    let receipt = ours.milestone().and_then(|milestone| milestone.essence.options.receipt());
    let last = |entry: &MigratedFunds| i8::from_le_bytes([entry.tail_transaction_hash[48]]);
    receipt.is_some_and(|receipt| receipt.funds().iter().any(|entry| last(entry).unsigned_abs() > 13))
}

/// Two accepted blocks are the same. Ids of a translated one differ on purpose.
fn same(bytes: &[u8], ours: &Block, theirs: &TheirBlock, met: &[Kind]) -> Result<Content, String> {
    let translated = met.contains(&Kind::ReceiptForm);
    if theirs.pack_to_vec() != bytes && !met.contains(&Kind::FundsHash) {
        return Err("packed to other bytes there".to_owned());
    }
    if !translated {
        if ours.pack() != bytes {
            return Err("packed to other bytes here".to_owned());
        }
        agree("blockId", block::id_of(bytes), theirs.id())?;
    }
    match (&ours.payload, theirs.payload()) {
        (None, None) => Ok(Content::Plain),
        (Some(Payload::TaggedData(ours)), Some(TheirPayload::TaggedData(theirs))) => {
            agree("tag", hex::encode(ours.tag()), hex::encode(theirs.tag()))?;
            Ok(Content::Plain)
        }
        (Some(Payload::Transaction(ours)), Some(TheirPayload::Transaction(theirs))) => {
            agree("transactionId", ours.id(), theirs.id())?;
            agree(
                "signed hash",
                hex::encode(&ours.essence.signing_hash()),
                hex::encode(&theirs.essence().hash()),
            )?;
            Ok(Content::Transaction)
        }
        (Some(Payload::Milestone(ours)), Some(TheirPayload::Milestone(theirs))) => {
            agree("index", ours.essence.index, theirs.essence().index())?;
            if !translated {
                agree("milestoneId", ours.essence.id(), theirs.id())?;
            }
            Ok(Content::Milestone)
        }
        (ours, theirs) => Err(format!("other payloads: {ours:?} and {theirs:?}")),
    }
}

fn agree(what: &str, ours: impl ToString, theirs: impl ToString) -> Result<(), String> {
    let (ours, theirs) = (ours.to_string(), theirs.to_string());
    if ours == theirs { Ok(()) } else { Err(format!("{what} is {ours} here and {theirs} there")) }
}

fn has_receipt(milestone: &Milestone) -> bool {
    milestone.essence.options.receipt().is_some()
}

/// Bytes of a treasury transaction, and of the length in front of it.
const TREASURY: usize = 46;
const LENGTH: usize = 4;

/// A block with a receipt as iota-sdk reads it.
fn their_form(block: &Block, bytes: &[u8]) -> Vec<u8> {
    let milestone = block.milestone().unwrap();
    let options = milestone.essence.options.as_slice().iter().map(|option| {
        let mut writer = Writer::default();
        option.pack(&mut writer);
        (matches!(option, MilestoneOption::Receipt(_)), writer.into_bytes().len())
    });
    let mut translated = bytes.to_vec();
    let ends = receipt_ends(bytes.len(), milestone.signatures().len(), &options.collect::<Vec<_>>());
    for end in &ends {
        translated.drain(end - TREASURY - LENGTH..end - TREASURY);
    }
    grow_payload(&mut translated, -i64::try_from(LENGTH * ends.len()).unwrap());
    translated
}

/// The inverse; `None` for a block without receipt.
fn our_form(block: &TheirBlock, bytes: &[u8]) -> Option<Vec<u8>> {
    let milestone: &TheirMilestone = match block.payload()? {
        TheirPayload::Milestone(milestone) => milestone,
        TheirPayload::Transaction(_) | TheirPayload::TaggedData(_) | TheirPayload::TreasuryTransaction(_) => {
            return None;
        }
    };
    let options = milestone.essence().options().iter();
    let options = options
        .map(|option| (matches!(option, TheirOption::Receipt(_)), option.packed_len()))
        .collect::<Vec<_>>();
    let ends = receipt_ends(bytes.len(), milestone.signatures().len(), &options);
    let mut translated = bytes.to_vec();
    for end in &ends {
        let at = end - TREASURY;
        translated.splice(at..at, u32::try_from(TREASURY).unwrap().to_le_bytes());
    }
    grow_payload(&mut translated, i64::try_from(LENGTH * ends.len()).unwrap());
    (!ends.is_empty()).then_some(translated)
}

/// Where the receipts of a milestone block end, the last one first; `options` are those, and their lengths.
fn receipt_ends(length: usize, signatures: usize, options: &[(bool, usize)]) -> Vec<usize> {
    let mut end = length - block::NONCE_BYTES - signatures * 97 - 1;
    let mut ends = Vec::new();
    for (is_receipt, length) in options.iter().rev() {
        ends.extend(is_receipt.then_some(end));
        end -= length;
    }
    ends
}

/// A block that both may accept, and now and then one that is almost so.
fn whole_block(params: &ProtocolParameters, seed: u64, dice: &mut Dice) -> Block {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut block = codec::block().new_tree(&mut runner).unwrap().current();
    if dice.below(50) > 0 {
        block.protocol_version = params.version;
    }
    match &mut block.payload {
        Some(Payload::Transaction(transaction)) => settle(transaction, params, dice),
        Some(Payload::Milestone(milestone)) => settle_milestone(milestone, params, dice),
        Some(Payload::TaggedData(_)) | None => {}
    }
    block
}

/// Mends what arbitrary transactions break, amounts, counters, unlocks, and seldom breaks one rule.
fn settle(transaction: &mut Transaction, params: &ProtocolParameters, dice: &mut Dice) {
    let essence = &mut transaction.essence;
    essence.network_id = params.network_id() + u64::from(dice.below(40) == 0);
    if dice.below(20) == 0 {
        let twice = dice.pick(&essence.inputs).unwrap();
        essence.inputs[0] = twice;
    }
    for output in &mut essence.outputs {
        let least = settle_output(output, params, dice);
        let value = value_of(output);
        value.amount = match dice.below(60) {
            0 => least - 1,
            1 => 0,
            2 => params.token_supply,
            3 => params.token_supply + 1,
            _ => least + [0, 0, 1, 1_000, 1_000_000][dice.below(5)],
        };
    }
    if dice.below(20) == 0 {
        let twice = essence.outputs[dice.below(essence.outputs.len())].clone();
        essence.outputs.push(twice);
    }
    for at in 0..transaction.unlocks.len() {
        let before = u16::try_from(dice.below(at) + usize::from(dice.below(30) == 0)).unwrap();
        let before_all = dice.below(30) > 0;
        let unlock = &mut transaction.unlocks[at];
        *unlock = match *unlock {
            Unlock::Signature { .. } => continue,
            Unlock::Reference(_) | Unlock::Alias(_) | Unlock::Nft(_) if at == 0 && before_all => {
                Unlock::Signature { public_key: [dice.byte(); 32], signature: [dice.byte(); 64] }
            }
            Unlock::Reference(_) => Unlock::Reference(u16::from(!before_all)),
            Unlock::Alias(_) => Unlock::Alias(before),
            Unlock::Nft(_) => Unlock::Nft(before),
        };
    }
    if let [first, .., last] = transaction.unlocks.as_mut_slice()
        && dice.below(20) == 0
    {
        *last = *first;
    }
}

/// Returns the least amount that it must hold.
fn settle_output(output: &mut Output, params: &ProtocolParameters, dice: &mut Dice) -> u64 {
    if dice.below(40) == 0 {
        let tokens = (0..61 + dice.below(4)).map(|n| {
            let mut id = [dice.byte(); 38];
            id[0] = u8::try_from(n).unwrap();
            NativeToken { id: TokenId(id), amount: U256::one() }
        });
        let tokens = NativeTokens::new(tokens.collect()).unwrap();
        value_of(output).native_tokens = tokens;
    }
    let mut returned = 0;
    let mut mend = |conditions: &mut Conditions, dice: &mut Dice| {
        let list = conditions.as_slice().iter().map(|condition| match *condition {
            Condition::StorageDepositReturn { address, .. } => {
                let least = min_deposit(&params.rent, &plain(address));
                let amount = least + [0, 0, 1, 5_000][dice.below(4)] - u64::from(dice.below(20) == 0);
                returned = amount - u64::from(dice.below(20) == 0);
                Condition::StorageDepositReturn { address, amount }
            }
            Condition::Timelock(_) if dice.below(20) == 0 => Condition::Timelock(0),
            Condition::Expiration { address, .. } if dice.below(20) == 0 => {
                Condition::Expiration { address, time: 0 }
            }
            Condition::Address(_)
            | Condition::Timelock(_)
            | Condition::Expiration { .. }
            | Condition::StateController(_)
            | Condition::Governor(_)
            | Condition::ImmutableAlias(_) => *condition,
        });
        *conditions = Conditions::new(list.collect(), &[], &[0, 1, 2, 3]).unwrap();
    };
    match output {
        Output::Basic(output) => mend(&mut output.conditions, dice),
        Output::Nft(output) => {
            mend(&mut output.conditions, dice);
            if let Address::Nft(id) = output.conditions.owner()
                && dice.below(10) == 0
            {
                output.id = id;
            }
        }
        Output::Alias(output) => match (dice.below(20), output.state_controller(), output.governor()) {
            (0, Address::Alias(id), _) | (0 | 1, _, Address::Alias(id)) => output.id = id,
            (2, ..) => output.id = AliasId::ZERO,
            (3..8, ..) => (output.id, output.state_index, output.foundry_counter) = (AliasId::ZERO, 0, 0),
            _ => {}
        },
        Output::Foundry(output) if dice.below(10) > 0 => {
            let TokenScheme { minted, melted, maximum } = output.scheme;
            let (maximum, melted) = (maximum.max(U256::one()), melted >> 1);
            output.scheme = TokenScheme { minted: melted + (minted >> 1).min(maximum), melted, maximum };
        }
        Output::Foundry(_) => {}
    }
    min_deposit(&params.rent, output).max(returned)
}

fn value_of(output: &mut Output) -> &mut Value {
    match output {
        Output::Basic(output) => &mut output.value,
        Output::Alias(output) => &mut output.value,
        Output::Foundry(output) => &mut output.value,
        Output::Nft(output) => &mut output.value,
    }
}

/// The output that a storage deposit is returned with.
fn plain(address: Address) -> Output {
    let conditions = Conditions::new(vec![Condition::Address(address)], &[0], &[0]).unwrap();
    let value = Value { amount: 0, native_tokens: NativeTokens::default() };
    Output::Basic(Basic { value, conditions, features: Default::default() })
}

/// Mends what arbitrary milestones break there: version, hashes and amounts of a receipt.
fn settle_milestone(milestone: &mut Milestone, params: &ProtocolParameters, dice: &mut Dice) {
    let essence = &mut milestone.essence;
    if dice.below(20) > 0 {
        essence.protocol_version = params.version;
    }
    let options = essence.options.as_slice().iter().map(|option| match option {
        MilestoneOption::Receipt(receipt) if dice.below(10) > 0 => {
            let funds = receipt.funds().iter().map(|entry| {
                let tail_transaction_hash = entry.tail_transaction_hash.map(|byte| byte % 14);
                MigratedFunds {
                    tail_transaction_hash,
                    amount: 1_000_000 + entry.amount % 1_000_000,
                    ..*entry
                }
            });
            let mut funds = funds.collect::<Vec<_>>();
            funds.sort_unstable_by_key(|entry| entry.tail_transaction_hash);
            let transaction =
                TreasuryTransaction { amount: receipt.transaction.amount >> 20, ..receipt.transaction };
            let receipt = Receipt::new(receipt.migrated_at, receipt.is_final, funds, transaction);
            MilestoneOption::Receipt(receipt.unwrap())
        }
        MilestoneOption::Receipt(_) | MilestoneOption::Parameters { .. } => option.clone(),
    });
    essence.options = Options::new(options.collect()).unwrap();
}

/// A string for each row of the table.
fn specimens() -> Vec<(Kind, Vec<u8>)> {
    let plain = || Options::default();
    let key = |last: u8| {
        let mut public_key = [7; 32];
        public_key[31] = last;
        Signature { public_key, signature: [9; 64] }
    };
    let funds =
        |hash: u8, amount: u64| MigratedFunds { tail_transaction_hash: [hash; 49], address: [3; 32], amount };
    let receipt = |funds: Vec<MigratedFunds>| {
        let transaction = TreasuryTransaction { input: MilestoneId([4; 32]), amount: 5 };
        MilestoneOption::Receipt(Receipt::new(1, true, funds, transaction).unwrap())
    };
    let parameters = |target: u32| MilestoneOption::Parameters {
        target: MilestoneIndex(target),
        protocol_version: 2,
        params: vec![1],
    };
    let good = || vec![receipt(vec![funds(1, 1_000_000)])];
    let with = |options: Vec<MilestoneOption>| milestone_block(Options::new(options).unwrap(), vec![key(1)]);
    // In the form that is read there, as this code makes none that it would not read itself.
    let there = |block: &Block, edit: &dyn Fn(&mut Vec<u8>, usize)| {
        let mut bytes = their_form(block, &block.pack());
        // Behind type, index and flag stand the count and the entries.
        let option = bytes.len() - 8 - 98 - TREASURY - 90 - 2 - 6;
        edit(&mut bytes, option);
        bytes
    };
    let many = |bytes: &mut Vec<u8>, option: usize| {
        bytes[option + 6] = 128;
        let entry = bytes[option + 8..option + 98].to_vec();
        for n in 2..=128u8 {
            let mut entry = entry.clone();
            // Trits of a byte end at 121; amounts differ and ascend.
            entry[0] = if n <= 121 { n } else { 121 };
            entry[1] = if n <= 121 { 1 } else { n - 120 };
            bytes.splice(option + 8 + 90 * usize::from(n - 1)..option + 8 + 90 * usize::from(n - 1), entry);
        }
        grow_payload(bytes, 90 * 127);
    };
    let mut long = milestone_block(plain(), vec![key(1)]);
    long.0.metadata = vec![0; 8_193];
    let mut newer = milestone_block(plain(), vec![key(1)]);
    newer.0.protocol_version = 3;
    let mut similar = block_of(milestone_block(plain(), vec![key(1)])).pack();
    let signature = similar.len() - 8 - 97;
    let mut second = similar[signature..signature + 97].to_vec();
    second[32] = 2;
    similar.splice(signature + 97..signature + 97, second);
    similar[signature - 1] = 2;
    grow_payload(&mut similar, 97);
    let good = block_of(with(good()));
    vec![
        (Kind::ReceiptForm, good.pack()),
        (Kind::ReceiptFinal, there(&good, &|bytes, option| bytes[option + 5] = 2)),
        (Kind::FundsCount, there(&good, &many)),
        (Kind::FundsAddress, there(&good, &|bytes, option| bytes[option + 8 + 49] = 8)),
        (Kind::FundsHash, block_of(with(vec![receipt(vec![funds(125, 1_000_000)])])).pack()),
        (Kind::FundsAmounts, block_of(with(vec![receipt(vec![funds(1, 999_999)])])).pack()),
        (Kind::MetadataLength, block_of(long).pack()),
        (Kind::MilestoneVersion, block_of(newer).pack()),
        (Kind::SimilarKeys, similar),
        (Kind::OptionsTwice, block_of(with(vec![parameters(1), parameters(2)])).pack()),
    ]
}

fn milestone_block(options: Options, signatures: Vec<Signature>) -> (Essence, Vec<Signature>) {
    let essence = Essence {
        index: MilestoneIndex(1),
        timestamp: 1,
        protocol_version: PROTOCOL_VERSION,
        previous: MilestoneId([0; 32]),
        parents: Parents::new(vec![BlockId([0; 32])]).unwrap(),
        inclusion_merkle_root: [1; 32],
        applied_merkle_root: [2; 32],
        metadata: Vec::new(),
        options,
    };
    (essence, signatures)
}

fn block_of((essence, signatures): (Essence, Vec<Signature>)) -> Block {
    Block {
        protocol_version: PROTOCOL_VERSION,
        parents: essence.parents.clone(),
        payload: Some(Payload::Milestone(Box::new(Milestone::new(essence, signatures).unwrap()))),
        nonce: 0,
    }
}
