//! From files to a ledger: outputs of the full snapshot, rolled back to its target, then led on by the delta snapshot.

use std::collections::BTreeMap;
use std::io::Read;

use super::delta::DeltaReader;
use super::full::FullReader;
use super::record::Diff;
use super::{Base, Error};
use crate::ledger::Booked;
use crate::ledger::treasury::Treasury;
use crate::protocol::id::{MilestoneIndex, OutputId};
use crate::protocol::milestone::{Milestone, MilestoneStamp};
use crate::protocol::params::{Schedule, Upcoming};

/// Where outputs go.
pub trait Target {
    /// Why it takes none.
    type Error: From<Error>;

    /// Puts an output in; gives whether it was not there before.
    ///
    /// # Errors
    /// Its own.
    fn insert(&mut self, output: Booked) -> Result<bool, Self::Error>;

    /// Takes one out; gives whether it was there.
    ///
    /// # Errors
    /// Its own.
    fn remove(&mut self, id: &OutputId) -> Result<bool, Self::Error>;
}

/// A ledger in memory.
impl Target for BTreeMap<OutputId, Booked> {
    type Error = Error;

    fn insert(&mut self, output: Booked) -> Result<bool, Error> {
        Ok(Self::insert(self, output.id, output).is_none())
    }

    fn remove(&mut self, id: &OutputId) -> Result<bool, Error> {
        Ok(Self::remove(self, id).is_some())
    }
}

/// What files hold beside the outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Where the ledger is.
    pub base: Base,
    /// The milestone that it is at, where the files hold it: the next one references its block, which nobody else may
    /// have.
    pub milestone: Option<Milestone>,
}

/// A ledger while it is filled.
struct Loading<'a, T> {
    target: &'a mut T,
    /// Base tokens of all outputs.
    sum: i128,
    treasury: Treasury,
    /// Parameters that were announced, by their target.
    announced: BTreeMap<MilestoneIndex, Upcoming>,
}

impl<T: Target> Loading<'_, T> {
    fn insert(&mut self, output: Booked) -> Result<(), T::Error> {
        self.sum += i128::from(output.output.value().amount);
        let id = output.id;
        if !self.target.insert(output)? {
            return Err(Error::Inconsistent(format!("output {id} is there twice")).into());
        }
        Ok(())
    }

    fn remove(&mut self, output: &Booked) -> Result<(), T::Error> {
        self.sum -= i128::from(output.output.value().amount);
        if !self.target.remove(&output.id)? {
            let problem = format!("output {} is taken out, but is not there", output.id);
            return Err(Error::Inconsistent(problem).into());
        }
        Ok(())
    }

    fn announce(&mut self, diff: &Diff) {
        let announced = diff.milestone.essence.options.parameters();
        self.announced.extend(announced.map(|next| (next.target, next)));
    }

    fn roll_back(&mut self, diff: Diff) -> Result<(), T::Error> {
        // In this order: an output may be in both.
        for spent in diff.consumed {
            self.insert(spent.booked)?;
        }
        for output in &diff.created {
            self.remove(output)?;
        }
        self.treasury = diff.treasury_before.unwrap_or(self.treasury);
        Ok(())
    }

    fn lead_on(&mut self, diff: Diff) -> Result<(), T::Error> {
        self.treasury = diff.treasury_after().unwrap_or(self.treasury);
        for output in diff.created {
            self.insert(output)?;
        }
        for spent in &diff.consumed {
            self.remove(&spent.booked)?;
        }
        Ok(())
    }
}

/// Fills `target` and says where that ledger is. O(bytes of the files); holds one diff.
///
/// # Errors
/// Any [`Error`], also when the files do not belong together, diffs are missing, or the sum of all outputs is not the
/// token supply; and those of the target.
pub fn load<T: Target>(
    mut full: FullReader<impl Read>,
    delta: Option<DeltaReader<impl Read>>,
    target: &mut T,
) -> Result<Loaded, T::Error> {
    let header = full.header().clone();
    let mut loading = Loading { target, sum: 0, treasury: header.treasury, announced: BTreeMap::new() };
    while let Some(output) = full.output()? {
        loading.insert(output)?;
    }
    let (mut at, mut milestone) = (header.ledger_index, None);
    while let Some(diff) = full.diff()? {
        let index = diff.milestone.essence.index;
        // TIP-35: > what reaches further back is there for its protocol parameters only
        if index <= header.target.index {
            loading.announce(&diff);
            milestone = milestone.or(Some(diff.milestone).filter(|one| one.essence.id() == header.target.id));
            continue;
        }
        in_order(index, at)?;
        loading.roll_back(diff)?;
        at = MilestoneIndex(at.0 - 1);
    }
    in_order(at, header.target.index)?;
    // The id alone would leave room for another time.
    if milestone.as_ref().is_some_and(|found| found.essence.stamp() != header.target) {
        let problem = "index or time of the target milestone is not what the milestone itself says";
        return Err(Error::Inconsistent(problem.to_owned()).into());
    }
    let mut entry_points = full.entry_points()?;
    let mut reached = header.target;
    if let Some(mut delta) = delta {
        let end = *delta.header();
        if end.full_target != header.target.id {
            let problem = format!(
                "the delta snapshot goes on from milestone {}, the full snapshot ends at {}",
                end.full_target, header.target.id
            );
            return Err(Error::Inconsistent(problem).into());
        }
        while let Some(diff) = delta.diff()? {
            loading.announce(&diff);
            in_order(diff.milestone.essence.index, reached.index.next())?;
            reached = diff.milestone.essence.stamp();
            milestone = Some(diff.milestone.clone());
            loading.lead_on(diff)?;
        }
        in_order(reached.index, end.target)?;
        entry_points = delta.entry_points()?;
    }
    let Loading { sum, treasury, announced, .. } = loading;
    let supply = header.params.token_supply;
    // TIP-35: > unspent outputs and treasury must make up the token supply
    if sum + i128::from(treasury.amount) != i128::from(supply) {
        let problem = format!(
            "all outputs and the treasury hold {}, the token supply is {supply}",
            sum + i128::from(treasury.amount)
        );
        return Err(Error::Inconsistent(problem).into());
    }
    let schedule = schedule(Schedule::new(header.params, header.params_since), announced, reached)?;
    let base = Base { genesis: header.genesis, target: reached, treasury, schedule, entry_points };
    Ok(Loaded { base, milestone })
}

/// What is in force at a milestone, and to come.
fn schedule(
    mut schedule: Schedule,
    announced: BTreeMap<MilestoneIndex, Upcoming>,
    at: MilestoneStamp,
) -> Result<Schedule, Error> {
    for (target, next) in announced {
        if target <= schedule.since {
            continue;
        }
        schedule.confirm(at.index, Some(next))?;
    }
    Ok(schedule)
}

fn in_order(index: MilestoneIndex, expected: MilestoneIndex) -> Result<(), Error> {
    if index == expected {
        return Ok(());
    }
    Err(Error::Inconsistent(format!("milestone diff {expected} is missing: {index} stands in its place")))
}
