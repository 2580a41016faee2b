//! Solidification: a block is solid when its whole past cone is known. Each block that is not counts the parents that it
//! waits for, so that an arriving block wakes exactly those that wait for it.

use std::collections::{BTreeSet, HashSet};

use super::cone::ConeRoots;
use super::view::TangleView;
use super::{Inserted, Known, Tangle};
use crate::fault::ViewError;
use crate::protocol::id::BlockId;

/// Blocks that are not solid, behind each parent that is not solid or not known.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeSet<(BlockId, BlockId)>);

impl Waiting {
    /// Takes out those that wait for this parent.
    fn take(&mut self, parent: BlockId) -> Vec<BlockId> {
        let all = (parent, BlockId([0; 32]))..=(parent, BlockId([0xff; 32]));
        let children = self.0.range(all).map(|(_, child)| *child).collect::<Vec<_>>();
        for child in &children {
            self.0.remove(&(parent, *child));
        }
        children
    }
}

impl Tangle {
    /// Tries a new block and whatever waited for it.
    pub(super) fn solidify_from(
        &mut self,
        view: &impl TangleView,
        id: BlockId,
    ) -> Result<Inserted, ViewError> {
        let Some(node) = self.nodes.get(&id) else { return Ok(Inserted::Known) };
        let parents = node.parents.clone();
        let (mut missing, mut open) = (Vec::new(), 0);
        for parent in parents.as_slice() {
            match self.roots_of(view, parent)? {
                Known::Solid(_) => continue,
                Known::NotSolid => {}
                Known::Unknown => missing.push(*parent),
            }
            self.waiting.0.insert((*parent, id));
            open += 1;
        }
        self.nodes.entry(id).and_modify(|node| node.open = open);
        let mut solid = Vec::new();
        let mut queue = if open == 0 { vec![id] } else { Vec::new() };
        while let Some(next) = queue.pop() {
            let Some(node) = self.nodes.get(&next) else { continue };
            let parents = node.parents.clone();
            let roots = match self.joined_roots(view, &parents)? {
                Known::Solid(roots) => roots,
                // A parent that is solid never ceases to be; were it so, the block would count as too deep.
                Known::NotSolid | Known::Unknown => ConeRoots::default(),
            };
            let order = self.solidified;
            self.nodes.entry(next).and_modify(|node| {
                node.solid = true;
                node.order = order;
                node.roots = roots;
            });
            self.unreferenced.insert(order, next);
            self.solidified += 1;
            solid.push(next);
            for child in self.waiting.take(next) {
                if let Some(node) = self.nodes.get_mut(&child) {
                    node.open = node.open.saturating_sub(1);
                    if node.open == 0 {
                        queue.push(child);
                    }
                }
            }
        }
        Ok(Inserted::New { solid, missing })
    }

    /// Forgets a block that is not solid: as if it had never come. O(its parents).
    pub fn forget(&mut self, id: &BlockId) {
        let Some(node) = self.nodes.get(id).filter(|node| !node.solid) else { return };
        for parent in node.parents.as_slice() {
            self.waiting.0.remove(&(*parent, *id));
        }
        self.nodes.remove(id);
    }

    /// Blocks that are not known in the past cone of these, up to `most`. O(that part of the cone which is not solid).
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn missing(
        &self,
        view: &impl TangleView,
        of: &[BlockId],
        most: usize,
    ) -> Result<Vec<BlockId>, ViewError> {
        let (mut missing, mut looked_at, mut queue) = (Vec::new(), HashSet::new(), of.to_vec());
        while let Some(next) = queue.pop() {
            if !looked_at.insert(next) {
                continue;
            }
            match self.nodes.get(&next) {
                Some(node) if node.solid => {}
                Some(node) => queue.extend(node.parents.as_slice()),
                None => {
                    if matches!(self.roots_of(view, &next)?, Known::Unknown) {
                        missing.push(next);
                        if missing.len() >= most {
                            break;
                        }
                    }
                }
            }
        }
        Ok(missing)
    }
}
