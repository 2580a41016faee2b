//! Which slot the board's boot ROM starts: the text of `autoboot.txt` (Raspberry Pi documentation).
//!
//! `[all]` names the partition for every start, `[tryboot]` the one for a single try of an update.

/// One of the two places a system can be started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Partition 2.
    A,
    /// Partition 3.
    B,
}

impl Slot {
    /// Number of its partition.
    pub fn partition(self) -> u32 {
        match self {
            Self::A => 2,
            Self::B => 3,
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// `autoboot.txt` that starts `slot`, and the other one when an update is tried. Under 512 bytes.
pub fn autoboot_text(slot: Slot) -> String {
    let (usual, tried) = (slot.partition(), slot.other().partition());
    format!("[all]\ntryboot_a_b=1\nboot_partition={usual}\n[tryboot]\nboot_partition={tried}\n")
}

/// The slot that `text` starts; `None` when it names none.
pub fn read_autoboot(text: &str, tryboot: bool) -> Option<Slot> {
    let mut applies = true;
    let mut chosen = None;
    for line in text.lines().map(str::trim) {
        match line {
            "[all]" => applies = true,
            "[tryboot]" => applies = tryboot,
            _ => {
                if let Some(number) = line.strip_prefix("boot_partition=").filter(|_| applies) {
                    chosen = match number.trim() {
                        "2" => Some(Slot::A),
                        "3" => Some(Slot::B),
                        _ => None,
                    };
                }
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::{Slot, autoboot_text, read_autoboot};

    #[test]
    fn text_and_slot_agree() {
        for slot in [Slot::A, Slot::B] {
            let text = autoboot_text(slot);
            assert!(text.len() <= 512);
            assert_eq!(read_autoboot(&text, false), Some(slot));
            assert_eq!(read_autoboot(&text, true), Some(slot.other()));
        }
        assert_eq!(read_autoboot("boot_partition=9", false), None);
        assert_eq!(read_autoboot("", false), None);
    }
}
