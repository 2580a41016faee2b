//! Whether everything that a board needs has a driver: its device trees against packed modules and kernel.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use dtoolkit::model::DeviceTreeNode;
use dtoolkit::{Node, Property};
use osmia::board::Board;

use crate::dtb;
use crate::kernel::{self, Kernel};

/// Fails with the `compatible` strings of the board's list that its device trees do not have, or that no packed
/// module and nothing built into the kernel is for.
pub(crate) fn check(board: &Board, kernel: &Kernel) -> anyhow::Result<()> {
    let mut present = BTreeSet::new();
    for name in &board.image.device_trees {
        let tree = kernel.files.get(name).with_context(|| format!("no package has {name}"))?;
        collect(&dtb::read(tree)?.root, &mut present);
    }
    let modules = kernel::aliases(kernel)?;
    let has_driver = |compatible: &str| {
        let of = |alias: &str| {
            let pattern = alias.strip_prefix("of:N*T*C");
            pattern.is_some_and(|pattern| pattern == compatible || pattern == format!("{compatible}C*"))
        };
        modules.iter().any(|alias| of(alias)) || is_built_in(compatible, kernel)
    };
    let missing = |list: Vec<&String>, what: &str| match list.as_slice() {
        [] => Ok(()),
        list => bail!("boards/{}.toml: needed: {what}: {list:?}", board.name),
    };
    let needed = &board.image.needed;
    missing(needed.iter().filter(|one| !present.contains(*one)).collect(), "in no device tree")?;
    missing(needed.iter().filter(|one| !has_driver(one)).collect(), "no driver")
}

/// Strings of all nodes that are not disabled.
fn collect(node: &DeviceTreeNode, found: &mut BTreeSet<String>) {
    let value = |name: &str| node.property(name).map(|property| property.value().to_vec());
    if value("status").is_some_and(|status| status == b"disabled\0") {
        return;
    }
    let names = value("compatible").unwrap_or_default();
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    found.extend(names.map(|name| String::from_utf8_lossy(name).into_owned()));
    node.children().for_each(|child| collect(child, found));
}

/// By what the kernel says of its built-in modules, or, for drivers that are no modules, by its table of names.
fn is_built_in(compatible: &str, kernel: &Kernel) -> bool {
    let has = |text: &[u8], part: String| text.windows(part.len()).any(|window| window == part.as_bytes());
    has(&kernel.builtin, format!("alias=of:N*T*C{compatible}\0"))
        || has(&kernel.builtin, format!("alias=of:N*T*C{compatible}C*\0"))
        || has(&kernel.image, format!("\0{compatible}\0"))
}
