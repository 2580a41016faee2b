//! What can go wrong with a card: each ends in a running board that says so plainly.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::board::Board;
use crate::card::{self, Card};
use crate::{client, host};

/// Power cuts while the data partition grows, a few milliseconds apart, and as many spread over the first start.
const CUTS: u32 = 15;

/// Between two cuts while it grows.
const STEP: Duration = Duration::from_millis(20);

/// Boards that are cut at the same time.
const BOARDS: u16 = 3;

/// The plug is pulled at thirty moments of a first start; the next start of each card serves the API. qemu is killed:
/// what the board had flushed is on the card, and of the rest what qemu had taken already, so this is the milder kind
/// of cut, without writes out of order.
pub(crate) fn power_cuts_during_the_first_start(_: &Card, _: &host::Lan) {
    let image = card::build_image();
    let begun_anew = std::thread::scope(|scope| {
        let boards = (0..BOARDS).map(|number| {
            scope.spawn({
                let image = &image;
                move || cut_again_and_again(image, number)
            })
        });
        // All of them are started before one is waited for.
        let boards = boards.collect::<Vec<_>>();
        boards.into_iter().map(|board| board.join().unwrap()).sum::<u32>()
    });
    println!("  growing was begun anew in {begun_anew} of {} starts", 2 * CUTS);
    assert!(begun_anew > 0, "no cut came while the partition grew");
}

/// A board's share of the cuts; gives how often growing was begun anew.
fn cut_again_and_again(image: &Path, number: u16) -> u32 {
    let name = format!("cut{number}");
    let boot = |card: &Card| Board::boot_apart(&name, card, Board::API + 1 + number);
    let whole = {
        let started = Instant::now();
        let board = boot(&Card::new(image, &name));
        board.wait_healthy();
        started.elapsed()
    };
    let mut begun_anew = 0;
    for cut in (u32::from(number)..2 * CUTS).step_by(BOARDS.into()) {
        let card = Card::new(image, &name);
        let board = boot(&card);
        if cut < CUTS {
            board.console_says("data partition grown");
            std::thread::sleep(STEP * cut);
        } else {
            std::thread::sleep(whole * (cut + 1 - CUTS) / CUTS);
        }
        board.pull_plug();
        let board = boot(&card);
        board.wait_healthy();
        assert!(client::try_confirmed(board.api()).is_some_and(|index| index >= 1), "cut {cut}");
        begun_anew += u32::from(board.console_has("begun anew"));
    }
    begun_anew
}

/// Waits until the status page says `why`, in this state.
fn page_says(board: &Board, lan: &host::Lan, state: &str, why: &str) {
    let address = lan.lease_of_board(board);
    board.wait_for(&format!("the page to say {why:?}"), || {
        client::try_status(address).is_some_and(|status| {
            status["state"] == state
                && (status["why"].to_string() + &status["notices"].to_string()).contains(why)
        })
    });
}

/// autoboot.txt, the node's identity, the data partition: each damaged, each told.
pub(crate) fn damage_is_told(_: &Card, lan: &host::Lan) {
    let card = Card::new(&card::build_image(), "damaged");
    {
        let board = Board::boot(&card, &[]);
        board.wait_healthy();
        board.press_power_button();
        board.wait_for("the board to switch itself off", || board.has_ended());
    }
    lan.forget();
    let whole = card.read_boot("autoboot.txt");
    card.write_boot("autoboot.txt", &vec![0xff; whole.len()]);
    {
        let board = Board::boot(&card, &[]);
        page_says(&board, lan, "healthy", "autoboot.txt was damaged");
        // In order, as files are written below past the file system's journal.
        board.press_power_button();
        board.wait_for("the board to switch itself off", || board.has_ended());
    }
    assert_eq!(card.read_boot("autoboot.txt"), whole, "not mended");
    lan.forget();
    // Of one of the two, it is healed.
    for name in ["coordinator.key", "coordinator.key.copy"] {
        card.write_data(&format!("/node/identity/{name}"), b"damaged");
    }
    {
        let board = Board::boot(&card, &[]);
        page_says(&board, lan, "failing", "identity");
        board.pull_plug();
    }
    lan.forget();
    let damaged = card.damage_data();
    {
        let board = Board::boot(&card, &[]);
        page_says(&board, lan, "needs-owner", "data partition cannot be used");
        std::thread::sleep(Duration::from_secs(2));
        board.pull_plug();
    }
    assert!(card.data_is(&damaged), "something was written to a partition that cannot be read");
}
