//! Snapshots that a node takes by itself while it goes on.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Keeper, Kind, Sizes};
use crate::handle::Status;
use crate::protocol::id::MilestoneIndex;
use crate::store::{Anchor, Reader};

/// Milestones after an attempt that failed until the next.
const TRY_AGAIN_AFTER: u32 = 20;

/// When a snapshot is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Milestones between the newest and the one that the snapshot is of; at least below max depth and five.
    pub depth: u32,
    /// Milestones between two snapshots.
    pub interval: u32,
}

impl Rules {
    fn due(self, status: &Status, last: MilestoneIndex) -> Option<MilestoneIndex> {
        let depth = status.network.params.below_max_depth;
        let (confirmed, latest) = (status.confirmed.index, status.latest.index);
        self.due_at(confirmed, latest, status.pruning_index, depth, last)
    }

    /// The milestone to take a snapshot of, when the last one was of `last`.
    pub fn due_at(
        self,
        confirmed: MilestoneIndex,
        latest: MilestoneIndex,
        pruned: MilestoneIndex,
        below_max_depth: u8,
        last: MilestoneIndex,
    ) -> Option<MilestoneIndex> {
        let reach = u32::from(below_max_depth) + 5;
        // HORNET: > only a node that is synced takes snapshots
        if confirmed != latest {
            return None;
        }
        let target = MilestoneIndex(confirmed.0.checked_sub(self.depth.max(reach))?);
        // HORNET: > the confirmed index less depth and interval has reached the last snapshot
        if target.0.checked_sub(self.interval)? < last.0 {
            return None;
        }
        // HORNET: > solid entry points are looked for in below max depth and five milestones, which must be there
        (target.0 > pruned.0 + reach).then_some(target)
    }

    /// The same out of turn, of a node that is not synced, too: pruning waits for it, or has gone on, so that a damaged ledger
    /// could not be made again.
    fn overdue(status: &Status, anchor: &Anchor) -> Option<MilestoneIndex> {
        let (pruned, confirmed) = (status.pruning_index, status.confirmed.index);
        let reach = u32::from(status.network.params.below_max_depth) + 5;
        let target = confirmed.0.checked_sub(reach)?;
        let needed = anchor.wanted().max(pruned);
        let is_possible = target >= needed.0 && target > pruned.0 + reach;
        (anchor.reached() < needed && is_possible).then_some(MilestoneIndex(target))
    }
}

/// Takes snapshots until the engine ends.
pub async fn run(
    keeper: Keeper,
    rules: Rules,
    reader: Reader,
    mut status: watch::Receiver<Arc<Status>>,
) -> anyhow::Result<()> {
    let (files, store, anchor) = (keeper.clone(), reader.clone(), keeper.anchor());
    tokio::task::spawn_blocking(move || files.look(&store)).await?;
    let mut not_before = MilestoneIndex(0);
    while status.changed().await.is_ok() {
        let now = status.borrow_and_update().clone();
        if now.halted.is_some() || now.confirmed.index < not_before {
            continue;
        }
        let due = rules.due(&now, anchor.reached()).or_else(|| Rules::overdue(&now, &anchor));
        let Some(target) = due else { continue };
        let (keeper, reader) = (keeper.clone(), reader.clone());
        let taken = tokio::task::spawn_blocking(move || keeper.lead_on(&reader, target, Sizes::HORNET)).await;
        // A panic is a failure like others: the next attempt may find another file.
        match taken.map_err(anyhow::Error::from).and_then(|taken| Ok(taken?)) {
            Ok(kind) => {
                let kind = if kind == Kind::Full { "full" } else { "delta" };
                tracing::info!(milestone = target.0, kind, "snapshot written");
            }
            Err(error) => {
                tracing::warn!(milestone = target.0, %error, "no snapshot written");
                not_before = MilestoneIndex(now.confirmed.index.0 + TRY_AGAIN_AFTER);
            }
        }
    }
    Ok(())
}
