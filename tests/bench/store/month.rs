//! Thirty days of a founder on a card, without the waiting between its milestones.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{BLOCK_BYTES, LEDGER, Source, of_proc, ours, peak_rss_mib, written_bytes};

/// One in ten seconds, as is HORNET's default.
const MILESTONES_A_DAY: u32 = 8_640;
const DAYS: u32 = 30;

/// As `storage.keep_milestones` is without a configuration.
const WINDOW: u32 = 17_280;

/// Of a milestone in quiet hours, two a second.
const QUIET: u64 = 20;
/// In a burst, two hundred a second; one of ten minutes every four hours.
const BURST: u64 = 2_000;
const BURST_EVERY: u32 = MILESTONES_A_DAY / 6;
const BURST_MILESTONES: u32 = 60;

const OUTPUTS: u64 = 2;

/// The day on which somebody else takes all that is free, after a burst of seven hours: the node holds as many epochs then as
/// it ever does.
const FULL_DAY: u32 = 3;
const LONG_BURST_MILESTONES: u32 = 2_500;

/// Tells what the days were like; panics when more than nine tenths of the disk are ever used, but by whoever filled it.
pub(super) fn run(folder: &Path) {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let mut engine = ours::open(&data, WINDOW).unwrap();
    let mut source = Source::new(BLOCK_BYTES);
    engine.begin(source.make(LEDGER));
    let (started, mut blocks, mut longest) = (Instant::now(), 0, Duration::ZERO);
    let mut most_of_all = 0.0_f64;
    for day in 1..=DAYS {
        let mut most = 0.0_f64;
        for milestone in 1..=MILESTONES_A_DAY {
            let long = day == FULL_DAY && milestone > MILESTONES_A_DAY - LONG_BURST_MILESTONES;
            let in_burst = long || milestone % BURST_EVERY < BURST_MILESTONES;
            let count = if in_burst { BURST } else { QUIET };
            let load = source.load((day - 1) * MILESTONES_A_DAY + milestone, count, OUTPUTS);
            blocks += count;
            let begun = Instant::now();
            engine.milestone(load);
            longest = longest.max(begun.elapsed());
            most = most.max(used_percent(folder));
        }
        most_of_all = most_of_all.max(most);
        println!(
            "day {day}: at most {most:.1} % used, {:.1} % now; {blocks} blocks, {} MiB written, {} MiB of memory, at most {:.0}; {:.0} s",
            used_percent(folder),
            written_bytes() >> 20,
            of_proc("status", "VmRSS:") >> 10,
            peak_rss_mib(),
            started.elapsed().as_secs_f64(),
        );
        assert!(most <= 90.0, "more than the reserve allows");
        if day == FULL_DAY {
            engine.end();
            fill(&folder.join("filler"));
            println!("filled from outside: {:.1} % used", used_percent(folder));
            engine = ours::open(&data, WINDOW).unwrap();
            println!("opened: {:.1} % used", used_percent(folder));
        }
    }
    engine.end();
    println!(
        "{{\"bench\":\"store month\",\"days\":{DAYS},\"blocks\":{blocks},\"most_used_percent\":{most_of_all:.1},\
         \"longest_milestone_ms\":{:.0},\"peak_rss_mib\":{:.0}}}",
        longest.as_secs_f64() * 1e3,
        peak_rss_mib(),
    );
}

fn used_percent(folder: &Path) -> f64 {
    let about = rustix::fs::statvfs(folder).unwrap();
    100.0 - about.f_bavail as f64 * 100.0 / about.f_blocks as f64
}

/// Takes everything that is free.
fn fill(path: &Path) {
    let file = File::create(path).unwrap();
    let mut size = 0;
    for portion in [1 << 26, 1 << 20, 1 << 12] {
        while rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), size, portion).is_ok() {
            size += portion;
        }
    }
    file.sync_all().unwrap();
}
