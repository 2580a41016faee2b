//! Whether a machine is good enough for a node: what is found, in plain words, with what comes of it.
//!
//! Below the minimum a node still runs; with little memory in the small profile.

/// Fewer cores than this: a node shares one with everything else.
const CORES: usize = 2;

/// A machine sold with 2 GB shows a little less, as firmware and kernel keep some.
const MEMORY_MIB: u64 = 1_700;

/// Below this the small profile holds.
const SMALL_MIB: u64 = 1_200;

/// Blocks of a day, the store's reserve of 1 GiB, and room to breathe.
const ROOM_MIB: u64 = 8 << 10;

/// What a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// NVMe, USB or SATA without moving parts.
    Solid,
    /// SD card or eMMC.
    Card,
    /// With moving parts.
    Spinning,
    /// Of a virtual machine, or of a kind that says nothing about itself.
    Unknown,
}

/// What the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Processor cores.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Where the node's data lie.
    pub disk: Disk,
    /// Size of the file system there, in MiB.
    pub disk_mib: u64,
    /// Free of it, in MiB.
    pub free_mib: u64,
    /// Whether there is a battery-backed clock.
    pub battery_clock: bool,
    /// Whether the supply's voltage has been too low; `None` where nothing measures it.
    pub under_voltage: Option<bool>,
}

/// Whether the small profile holds: smaller caches, no proof of work for others.
pub fn is_small(facts: &Facts) -> bool {
    facts.memory_mib < SMALL_MIB
}

/// What is below the minimum, and what that means; empty when nothing is.
pub fn findings(facts: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    if facts.cores < CORES {
        found.push(format!(
            "{} processor core, {CORES} are the minimum: the node falls behind when much is going on",
            facts.cores
        ));
    }
    if facts.memory_mib < MEMORY_MIB {
        let profile = if is_small(facts) {
            "caches are smaller, and no proof of work is done for others"
        } else {
            "it may have to be started again when much is going on"
        };
        found.push(format!("{} MiB of memory, 2 GB are the minimum: {profile}", facts.memory_mib));
    }
    match facts.disk {
        Disk::Solid | Disk::Unknown => {}
        Disk::Card => found.push(
            "the data lie on an SD card: it is slow and wears out; an SSD on USB or NVMe lasts".to_owned(),
        ),
        Disk::Spinning => {
            found.push("the data lie on a disk with moving parts: the node falls behind on it".to_owned());
        }
    }
    if facts.disk_mib < ROOM_MIB {
        found.push(format!(
            "{} MiB of disk, {ROOM_MIB} are the minimum: fewer milestones are kept than configured",
            facts.disk_mib
        ));
    } else if facts.free_mib < ROOM_MIB / 4 {
        found.push(format!("only {} MiB of the disk are free: something else fills it", facts.free_mib));
    }
    if !facts.battery_clock {
        found.push(
            "no battery-backed clock: after a power cut the time is wrong until a time server answers"
                .to_owned(),
        );
    }
    if facts.under_voltage == Some(true) {
        found.push(
            "the supply's voltage is too low: the processor is slowed down and the disk may fail; use a stronger \
             supply and a short cable"
                .to_owned(),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Disk, Facts, findings, is_small};

    const GOOD: Facts = Facts {
        cores: 4,
        memory_mib: 3_792,
        disk: Disk::Solid,
        disk_mib: 60_000,
        free_mib: 50_000,
        battery_clock: true,
        under_voltage: Some(false),
    };

    #[test]
    fn a_good_machine_has_no_findings() {
        assert_eq!(findings(&GOOD), Vec::<String>::new());
        assert!(!is_small(&GOOD));
        // 2 GB, as a kernel shows it; nothing measures the supply.
        assert_eq!(findings(&Facts { memory_mib: 1_846, under_voltage: None, ..GOOD }).len(), 0);
    }

    #[test]
    fn each_shortcoming_is_one_finding() {
        for (facts, expected) in [
            (Facts { cores: 1, ..GOOD }, "1 processor core"),
            (Facts { memory_mib: 909, ..GOOD }, "no proof of work"),
            (Facts { memory_mib: 1_500, ..GOOD }, "1500 MiB of memory"),
            (Facts { disk: Disk::Card, ..GOOD }, "SD card"),
            (Facts { disk: Disk::Spinning, ..GOOD }, "moving parts"),
            (Facts { disk_mib: 4_000, free_mib: 10, ..GOOD }, "4000 MiB of disk"),
            (Facts { free_mib: 10, ..GOOD }, "only 10 MiB"),
            (Facts { battery_clock: false, ..GOOD }, "battery-backed"),
            (Facts { under_voltage: Some(true), ..GOOD }, "voltage is too low"),
        ] {
            let found = findings(&facts);
            assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
        }
        assert!(is_small(&Facts { memory_mib: 909, ..GOOD }));
    }
}
