//! Proof of work as a service: threads, queue, heat.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use osmia::hardware::heat::Sensors;
use osmia::mining::verifier::Judge;
use osmia::mining::{Governor, Heat, Miner, calibration};
use osmia::pow::curl;
use osmia::pow::tuning::Tuning;
use osmia::pow::verify::Claim;

/// A board that heats up: its files below a folder as the kernel would show them.
struct SimulatedBoard {
    sys: PathBuf,
    /// Thousandths of a degree.
    temperature: f64,
    around: f64,
    throttled: bool,
}

/// Degrees above the surroundings that each busy thread makes in the end.
const EACH: f64 = 16_000.0;

/// Seconds for two thirds of a change.
const INERTIA_S: f64 = 90.0;

/// Where the board slows itself down, and where it recovers.
const LIMIT: (f64, f64) = (80_000.0, 75_000.0);

impl SimulatedBoard {
    fn new(sys: &Path, around: f64) -> Self {
        let board = Self { sys: sys.to_path_buf(), temperature: around, around, throttled: false };
        fs::create_dir_all(sys.join("class/thermal/thermal_zone0")).unwrap();
        fs::create_dir_all(sys.join("devices/system/cpu/cpufreq/policy0")).unwrap();
        board.write("class/thermal/thermal_zone0/type", "cpu-thermal");
        board.write("class/thermal/thermal_zone0/trip_point_0_type", "critical");
        board.write("class/thermal/thermal_zone0/trip_point_0_temp", "110000");
        board.write("class/thermal/thermal_zone0/trip_point_1_type", "passive");
        board.write("class/thermal/thermal_zone0/trip_point_1_temp", "80000");
        board.write("devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "1800000");
        board.show();
        board
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.sys.join(file), format!("{text}\n")).unwrap();
    }

    fn show(&self) {
        self.write("class/thermal/thermal_zone0/temp", &format!("{:.0}", self.temperature));
        let frequency = if self.throttled { "1200000" } else { "1800000" };
        self.write("devices/system/cpu/cpufreq/policy0/scaling_max_freq", frequency);
    }

    /// A second with so many busy threads; gives the hashes of each.
    fn second(&mut self, threads: u32) -> f64 {
        let speed = if self.throttled { 0.6 } else { 1.0 };
        let aim = self.around + EACH * f64::from(threads) * speed;
        self.temperature += (aim - self.temperature) / INERTIA_S;
        self.throttled = self.temperature >= if self.throttled { LIMIT.1 } else { LIMIT.0 };
        self.show();
        1_000_000.0 * speed
    }
}

/// Hours of mining on four threads; gives the seconds in which the board slowed itself down, the share of the hashes
/// that as many threads as the board can cool would have done, and the changes.
fn mine_for(hours: u64, board: &mut SimulatedBoard, sustained: u32) -> (u32, f64, u32) {
    let sensors = Sensors::open(&board.sys);
    let mut governor = Governor::new(4);
    let (mut allowed, mut slowed, mut changes, mut hashes) = (4, 0, 0, 0.0);
    for second in 0..hours * 3_600 {
        let rate = board.second(allowed);
        hashes += rate * f64::from(allowed);
        slowed += u32::from(board.throttled);
        let before = allowed;
        allowed = governor.judge(Duration::from_secs(second), sensors.read(), (allowed > 0).then_some(rate));
        changes += u32::from(before != allowed);
    }
    let possible = 1_000_000.0 * f64::from(sustained) * (hours * 3_600) as f64;
    (slowed, hashes / possible, changes)
}

#[test]
fn a_cool_board_mines_with_all_threads() {
    let folder = tempfile::tempdir().unwrap();
    let mut board = SimulatedBoard::new(folder.path(), 0.0);
    assert_eq!(mine_for(3, &mut board, 4), (0, 1.0, 0));
}

#[test]
fn a_hot_board_backs_off_before_it_slows_itself_down() {
    let folder = tempfile::tempdir().unwrap();
    // Two threads lead to 67 degrees, three to 83.
    let mut board = SimulatedBoard::new(folder.path(), 35_000.0);
    let (slowed, share, changes) = mine_for(6, &mut board, 2);
    assert_eq!(slowed, 0, "the board never slowed itself down");
    assert!(share > 0.9, "{share} of what two threads could do");
    assert!(changes < 6 * 30, "{changes} changes in six hours");
}

#[test]
fn a_board_that_cools_down_mines_with_all_threads_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut board = SimulatedBoard::new(folder.path(), 35_000.0);
    let sensors = Sensors::open(&board.sys);
    let mut governor = Governor::new(4);
    let mut allowed = 4;
    let mut hours = |board: &mut SimulatedBoard, from: u64, to: u64| {
        for second in from * 3_600..to * 3_600 {
            let rate = board.second(allowed);
            allowed =
                governor.judge(Duration::from_secs(second), sensors.read(), (allowed > 0).then_some(rate));
        }
        allowed
    };
    assert!(hours(&mut board, 0, 2) < 4);
    // Somebody opens the window.
    board.around = 0.0;
    assert_eq!(hours(&mut board, 2, 4), 4);
    // And puts the board into an oven: nothing at all is mined near the limit.
    board.around = 90_000.0;
    assert_eq!(hours(&mut board, 4, 5), 0);
    board.around = 20_000.0;
    assert!(hours(&mut board, 5, 7) >= 2);
}

/// Mining stops at the limit, and does not come back before the board is cool.
#[test]
fn a_board_at_its_limit_rests_until_it_is_cool() {
    let heat =
        |degrees: i32| Heat { millidegrees: Some(degrees * 1_000), limit: 80_000, throttled: degrees > 75 };
    let mut governor = Governor::new(4);
    let mut judge = |second, degrees| governor.judge(Duration::from_secs(second), heat(degrees), None);
    assert_eq!(judge(1, 78), 0);
    for second in 2..600 {
        assert_eq!(judge(second, 76), 0, "throttled, second {second}");
    }
    for second in 600..1_200 {
        assert_eq!(judge(second, 66), 0, "still hot, second {second}");
    }
    for second in 1_200..2_400 {
        assert!(judge(second, 61) <= 1, "one thread is enough where the board is warm, second {second}");
    }
    assert_eq!(judge(2_400, 61), 1);
    assert_eq!((2_401..3_000).map(|second| judge(second, 50)).max(), Some(4));
}

/// A cool board that does other work is slow, and that is no reason to mine less.
#[test]
fn a_cool_board_keeps_its_threads_whatever_their_rate() {
    let mut governor = Governor::new(4);
    for second in 0..3_600 {
        let rate = if second % 7 < 3 { 300_000.0 } else { 1_000_000.0 };
        assert_eq!(governor.judge(Duration::from_secs(second), cool(), Some(rate)), 4);
    }
}

#[test]
fn trip_points_that_mean_nothing_are_ignored() {
    for (kind, trip, limit) in [
        ("cpu-thermal", "-274000", 80_000),
        ("cpu-thermal", "0", 80_000),
        ("cpu-thermal", "85000", 85_000),
        ("x86_pkg_temp", "-274000", 95_000),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let board = SimulatedBoard::new(folder.path(), 40_000.0);
        board.write("class/thermal/thermal_zone0/type", kind);
        board.write("class/thermal/thermal_zone0/trip_point_1_temp", trip);
        assert_eq!(Sensors::open(folder.path()).read().limit, limit, "{kind} {trip}");
    }
}

/// What the firmware of a Raspberry Pi does counts, be it that no other file tells.
#[test]
fn a_board_whose_firmware_throttles_is_throttled() {
    let folder = tempfile::tempdir().unwrap();
    let board = SimulatedBoard::new(folder.path(), 70_000.0);
    fs::create_dir_all(folder.path().join("devices/platform/soc/soc:firmware")).unwrap();
    let file = "devices/platform/soc/soc:firmware/get_throttled";
    board.write(file, "0");
    let sensors = Sensors::open(folder.path());
    // Each line: flags, whether the processor is slowed down now. The upper half says what has ever happened.
    for (flags, throttled) in [
        ("0", false),
        ("1", false),
        ("2", true),
        ("4", true),
        ("8", false),
        ("e0000", false),
        ("0xe0006", true),
    ] {
        board.write(file, flags);
        assert_eq!(sensors.read().throttled, throttled, "{flags}");
    }
    let mut governor = Governor::new(4);
    let allowed = (0..60).map(|second| governor.judge(Duration::from_secs(second), sensors.read(), None));
    assert_eq!(allowed.last(), Some(1), "one thread goes on");
}

/// Nobody knows how hot the board is: nothing is mined.
#[test]
fn a_sensor_that_fails_counts_as_too_hot() {
    let folder = tempfile::tempdir().unwrap();
    let board = SimulatedBoard::new(folder.path(), 40_000.0);
    let sensors = Sensors::open(folder.path());
    assert_eq!(sensors.read().millidegrees, Some(40_000));
    board.write("class/thermal/thermal_zone0/temp", "unknown");
    assert_eq!(Governor::new(4).judge(Duration::from_secs(1), sensors.read(), None), 0);
}

/// Whatever lies where the findings are kept, they are found again.
#[test]
fn damaged_findings_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let found = calibration::load_or_measure(folder.path()).tuning;
    let file = folder.path().join("pow.json");
    let text = fs::read_to_string(&file).unwrap();
    let rate = format!("\"rate\":{}", found.clusters[0].rate);
    for damaged in [
        "",
        "{}",
        &text[..text.len() / 2],
        &text.replace(&rate, "\"rate\":18446744073709551615"),
        &text.replace("\"cores\":[0", "\"cores\":[7000,0"),
    ] {
        fs::write(&file, damaged).unwrap();
        let again = calibration::load_or_measure(folder.path()).tuning;
        assert_eq!(again.cores(), found.cores(), "{damaged}");
        assert!(again.rate(again.cores()) < 1_000_000_000_000);
        assert_ne!(fs::read_to_string(&file).unwrap(), damaged, "kept anew");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(calibration::load_or_measure(folder.path()).tuning.cores(), found.cores());
}

/// What is kept up without a break is learned while mining, and known at the next start.
#[test]
fn what_was_learned_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut findings = calibration::load_or_measure(folder.path());
    assert_eq!(findings.tuning.sustained, 0);
    findings.learn(1_000);
    assert_eq!(calibration::load_or_measure(folder.path()).tuning.sustained, 1_000);
    assert_eq!(Miner::start(findings.tuning.clone(), 1, cool).sustained(), 1_000);
    // Nearly the same is not written.
    findings.learn(1_050);
    assert_eq!(calibration::load_or_measure(folder.path()).tuning.sustained, 1_000);
}

/// A board whose firmware says nothing, and just gets slower.
#[test]
fn a_board_that_only_gets_slower_is_noticed() {
    let mut governor = Governor::new(4);
    let mut allowed = 4;
    for second in 0..600 {
        let rate = if second > 60 && allowed > 2 { 700_000.0 } else { 1_000_000.0 };
        allowed = governor.judge(Duration::from_secs(second), Heat::default(), Some(rate));
    }
    assert!((1..=2).contains(&allowed), "{allowed} threads");
}

#[test]
fn sensors_of_a_machine_without_any_say_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let heat = Sensors::open(folder.path()).read();
    assert_eq!((heat.millidegrees, heat.throttled), (None, false));
    assert_eq!(Governor::new(3).judge(Duration::ZERO, heat, None), 3);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn tuning() -> Tuning {
    let folder = tempfile::tempdir().unwrap();
    let found = calibration::load_or_measure(folder.path()).tuning;
    // Kept, and taken again.
    assert_eq!(calibration::load_or_measure(folder.path()).tuning, found);
    found
}

fn cool() -> Heat {
    Heat { millidegrees: Some(40_000), limit: 80_000, throttled: false }
}

#[test]
fn nonces_are_found_and_a_search_ends_with_its_client() {
    runtime().block_on(async {
        let miner = Miner::start(tuning(), 2, cool);
        let turn = miner.turn(1).await.unwrap();
        for number in 0..4 {
            let digest = [number; 32];
            let nonce = turn.search(digest, 6).await.unwrap();
            assert!(curl::trailing_zeros(&digest, nonce) >= 6);
        }
        drop(turn);
        assert_eq!(miner.progress(), None);
        // A client that goes away: the next one gets the machine, and the search is over.
        let turn = miner.turn(1).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), turn.search([9; 32], 60)).await.is_err());
        let progress = miner.progress().unwrap();
        assert!(progress.hashes > 0 && progress.rate > 0 && progress.expected > Duration::from_secs(3_600));
        drop(turn);
        let turn = tokio::time::timeout(Duration::from_secs(60), miner.turn(2)).await.unwrap().unwrap();
        assert!(turn.search([10; 32], 6).await.is_some());
    });
}

#[test]
fn the_queue_is_bounded_and_a_newcomer_does_not_wait_for_the_greedy() {
    runtime().block_on(async {
        let miner = Miner::start(tuning(), 1, cool);
        let first = miner.turn(1).await.unwrap();
        let mut greedy = Vec::new();
        for _ in 0..8 {
            let mut turn = Box::pin(miner.turn(1));
            assert!(now(turn.as_mut()).await.is_none());
            greedy.push(turn);
        }
        let busy = miner.turn(1).await.unwrap_err();
        assert!((1..=60).contains(&busy.retry_after_s));
        let mut newcomer = Box::pin(miner.turn(2));
        assert!(now(newcomer.as_mut()).await.is_none());
        drop(first);
        let second = newcomer.await.unwrap();
        assert!(now(greedy[0].as_mut()).await.is_none(), "the newcomer's turn");
        // One that goes away after it was given its turn, and one before.
        drop(second);
        drop(greedy.remove(0));
        drop(greedy.remove(3));
        for turn in greedy {
            drop(turn.await.unwrap());
        }
        drop(miner.turn(3).await.unwrap());
    });
}

/// The result of a future if it has one now.
async fn now<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[test]
fn nothing_is_mined_while_the_board_is_too_hot() {
    runtime().block_on(async {
        let heat = Arc::new(AtomicI32::new(79_000));
        let sensor = heat.clone();
        let hot = move || Heat { millidegrees: Some(sensor.load(Ordering::Relaxed)), ..cool() };
        let miner = Miner::start(tuning(), 2, hot);
        let started = Instant::now();
        while miner.rate() > 0 && started.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(miner.rate(), 0);
        // Whether a search is hopeless is not judged by that: nobody would ever be let in again.
        assert!(miner.expected(5) < Duration::from_secs(60));
        let turn = miner.turn(1).await.unwrap();
        let search = turn.search([1; 32], 5);
        tokio::pin!(search);
        assert!(tokio::time::timeout(Duration::from_millis(500), search.as_mut()).await.is_err(), "too hot");
        heat.store(30_000, Ordering::Relaxed);
        assert!(tokio::time::timeout(Duration::from_secs(120), search).await.unwrap().is_some());
    });
}

#[test]
fn claims_are_judged_together_and_each_rightly() {
    let judge = Judge::start(&tuning());
    let judged = std::thread::scope(|scope| {
        let ask = |number: u8| {
            let judge = judge.clone();
            scope.spawn(move || {
                (0..50u64).all(|nonce| {
                    let holds = curl::trailing_zeros(&[number; 32], nonce) >= 2;
                    judge.holds(Claim::new(&[number; 32], nonce, 2)) == Ok(holds)
                })
            })
        };
        (0..32)
            .map(ask)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(judged.into_iter().all(|right| right));
}
