//! Solidification: a block is solid when its whole past cone is known. Missing parents are indexed, so
//! that an arriving block wakes exactly the blocks that wait for it.

use std::collections::HashMap;

use super::view::TangleView;
use super::{Inserted, Known, Tangle};
use crate::fault::ViewError;
use crate::protocol::id::BlockId;

/// Blocks that are not solid, by each parent that is not solid or not known.
#[derive(Debug, Default)]
pub(super) struct Waiting(HashMap<BlockId, Vec<BlockId>>);

impl Tangle {
    /// Tries a new block and whatever waited for it.
    pub(super) fn solidify_from(
        &mut self,
        view: &impl TangleView,
        id: BlockId,
    ) -> Result<Inserted, ViewError> {
        let mut solid = Vec::new();
        let mut missing = Vec::new();
        let mut queue = vec![id];
        while let Some(next) = queue.pop() {
            let Some(node) = self.nodes.get(&next).filter(|node| !node.solid) else { continue };
            let parents = node.parents.clone();
            match self.joined_roots(view, &parents)? {
                Known::Solid(roots) => {
                    self.nodes.entry(next).and_modify(|node| {
                        node.solid = true;
                        node.roots = roots;
                    });
                    self.unreferenced.insert(self.solidified, next);
                    self.solidified += 1;
                    solid.push(next);
                    queue.extend(self.waiting.0.remove(&next).unwrap_or_default());
                }
                Known::NotSolid | Known::Unknown => {
                    for parent in parents.as_slice() {
                        let unknown = match self.roots_of(view, parent)? {
                            Known::Solid(_) => continue,
                            Known::NotSolid => false,
                            Known::Unknown => true,
                        };
                        let waiters = self.waiting.0.entry(*parent).or_default();
                        if !waiters.contains(&next) {
                            waiters.push(next);
                        }
                        if unknown {
                            missing.push(*parent);
                        }
                    }
                }
            }
        }
        Ok(Inserted::New { solid, missing })
    }
}
