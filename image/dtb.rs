//! Device trees: the edits that a board needs, and an overlay made of the difference between two trees.

use anyhow::{Context, anyhow};
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};
use osmia::board::{Image, Overlay};

/// Reads a flattened tree.
pub(crate) fn read(bytes: &[u8]) -> anyhow::Result<DeviceTree> {
    let fdt = Fdt::new(bytes).map_err(|error| anyhow!("device tree: {error}"))?;
    Ok(DeviceTree::from_fdt(&fdt))
}

/// A tree with the board's edits.
pub(crate) fn edited(bytes: &[u8], image: &Image) -> anyhow::Result<Vec<u8>> {
    let mut tree = read(bytes)?;
    if let Some(path) = &image.watchdog_node {
        // Raspberry Pi documentation, kernel_watchdog_timeout: the firmware starts it where this stands.
        set(&mut tree, path, "early-watchdog", Vec::new())?;
        for place in ["/aliases", "/__symbols__"] {
            set(&mut tree, place, "watchdog", text(path))?;
        }
    }
    if let Some(path) = &image.usb_host_node {
        set(&mut tree, path, "dr_mode", text("host"))?;
    }
    Ok(tree.to_dtb())
}

/// What qemu's `raspi4b` lacks, taken out of the tree: the machine emulates neither the display's clocks and
/// interrupts nor PCIe, its USB port is a host, and its card hangs on the controller for wireless networks.
pub(crate) fn without_what_raspi4b_lacks(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut tree = read(bytes)?;
    let soc = tree.find_node_mut("/soc").context("/soc")?;
    for node in soc.children_mut() {
        if node.name().contains("@7ef") {
            node.add_property(property("status", text("disabled"))?);
        }
    }
    set(&mut tree, "/soc/usb@7e980000", "dr_mode", text("host"))?;
    let card = tree.find_node_mut("/emmc2-bus@fe000000/mmc@7e340000").context("mmc@7e340000")?;
    card.remove_property("vmmc-supply");
    card.remove_property("vqmmc-supply");
    let card = tree.find_node_mut("/soc/mmc@7e300000").context("mmc@7e300000")?;
    card.remove_property("mmc-pwrseq");
    card.remove_property("non-removable");
    card.remove_child("wifi@1");
    card.add_property(property("broken-cd", Vec::new())?);
    Ok(tree.to_dtb())
}

/// A tree with a simulated GPIO chip: an activity light on line 0, a button may hang on line 1.
pub(crate) fn with_panel(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    // Not used by any other node of the machine.
    const CHIP: [u8; 4] = 0x7001_u32.to_be_bytes();
    let number = |value: u32| value.to_be_bytes().to_vec();
    let mut tree = read(bytes)?;
    let mut bank = node("bank0")?;
    for (name, value) in [
        ("gpio-controller", Vec::new()),
        ("#gpio-cells", number(2)),
        ("ngpios", number(4)),
        ("gpio-sim,label", text("osmia-panel")),
        ("phandle", CHIP.to_vec()),
    ] {
        bank.add_property(property(name, value)?);
    }
    let mut chip = node("gpio-sim")?;
    chip.add_property(property("compatible", text("gpio-simulator"))?);
    chip.add_child(bank);
    let mut light = node("led-act")?;
    for (name, value) in [
        ("label", text("ACT")),
        ("linux,default-trigger", text("heartbeat")),
        ("gpios", [CHIP, [0; 4], [0; 4]].concat()),
    ] {
        light.add_property(property(name, value)?);
    }
    let mut lights = node("leds")?;
    lights.add_property(property("compatible", text("gpio-leds"))?);
    lights.add_child(light);
    tree.root.add_child(chip);
    tree.root.add_child(lights);
    Ok(tree.to_dtb())
}

/// The overlay that makes `to` of `from`: a fragment for each node whose properties differ. Nodes that only one of
/// them has, and values that refer to other nodes, are not covered; the test lays it over and compares.
pub(crate) fn difference(overlay: &Overlay, from: &[u8], to: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (from, to) = (read(from)?, read(to)?);
    let mut fragments = Vec::new();
    differences(&from.root, &to.root, "", &mut fragments)?;
    let mut tree = DeviceTree::new();
    tree.root.add_property(property("compatible", text(&overlay.compatible))?);
    for (number, (path, changed)) in fragments.into_iter().enumerate() {
        let mut fragment = node(&format!("fragment@{number}"))?;
        fragment.add_property(property("target-path", text(&path))?);
        let mut content = node("__overlay__")?;
        for property in changed {
            content.add_property(property);
        }
        fragment.add_child(content);
        tree.root.add_child(fragment);
    }
    Ok(tree.to_dtb())
}

type Fragment = (String, Vec<DeviceTreeProperty>);

fn differences(
    from: &DeviceTreeNode,
    to: &DeviceTreeNode,
    path: &str,
    fragments: &mut Vec<Fragment>,
) -> anyhow::Result<()> {
    let here = if path.is_empty() { "/" } else { path };
    // Names and phandles describe the tree itself, not the machine.
    if ["/__symbols__", "/aliases"].contains(&here) {
        return Ok(());
    }
    let mut changed = Vec::new();
    for new in to.properties() {
        let same = from.property(new.name()).is_some_and(|old| old.value() == new.value());
        if !same {
            changed.push(property(new.name(), new.value().to_vec())?);
        }
    }
    if !changed.is_empty() && here != "/" {
        fragments.push((here.to_owned(), changed));
    }
    for child in to.children() {
        if let Some(old) = from.child(child.name()) {
            differences(old, child, &format!("{path}/{}", child.name()), fragments)?;
        }
    }
    Ok(())
}

fn node(name: &str) -> anyhow::Result<DeviceTreeNode> {
    DeviceTreeNode::new(name).map_err(|error| anyhow!("{name}: {error}"))
}

fn property(name: &str, value: Vec<u8>) -> anyhow::Result<DeviceTreeProperty> {
    DeviceTreeProperty::new(name, value).map_err(|error| anyhow!("{name}: {error}"))
}

fn set(tree: &mut DeviceTree, path: &str, name: &str, value: Vec<u8>) -> anyhow::Result<()> {
    let node = tree.find_node_mut(path).with_context(|| format!("the device tree has no {path}"))?;
    node.add_property(property(name, value)?);
    Ok(())
}

fn text(text: &str) -> Vec<u8> {
    format!("{text}\0").into_bytes()
}
