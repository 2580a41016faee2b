//! A data partition that somebody fills to the last byte from outside.

use std::net::SocketAddr;
use std::ops::Range;

use osmia::protocol::blake2b_256;

use crate::board::Board;
use crate::card::{self, Card};
use crate::{client, host};

/// What the last milestones need to stay alive is a quarter of the partition.
const CONFIG: &str = "[coordinator]\nenabled = true\ninterval_s = 1\n[health]\nrequire_peers = false\n[network]\n\
                      name = \"osmia-boot-test\"\nmin_pow_score = 0\n[storage]\nkeep_milestones = 200\n";

/// Posted after each milestone, of 16 KB.
const BLOCKS: u64 = 40;

/// Of these, on the same tips: on a slow machine, they grow old.
const TOGETHER: u64 = 8;

/// Of the partition, in percent, before somebody else fills it: with what is held back and kept free, there is room for more.
const OWN: u64 = 45;

/// Of the partition, in percent: a tenth is the node's reserve.
const MOST_USED: u64 = 90;

/// Old epochs make room; what was confirmed stays confirmed, and milestones go on. The card is no larger than the image, so
/// that its data partition is small.
pub(crate) fn a_filled_partition_is_made_room_on(_: &Card, _: &host::Lan) {
    let card = Card::as_flashed(&card::build_image(), "full");
    card.write_boot("node.toml", CONFIG.as_bytes());
    let boot = || Board::boot_apart("full", &card, Board::API + 1);
    let switch_off = |board: Board| {
        board.press_power_button();
        board.wait_for("the board to switch itself off", || board.has_ended());
    };
    let mut newest = 0;
    let mut posted = 0;
    {
        let board = boot();
        board.wait_healthy();
        while posted * 16_384 * 100 < card.data_bytes() * OWN {
            newest = client::confirmed(board.api());
            post(board.api(), posted..posted + BLOCKS);
            posted += BLOCKS;
            board.wait_for("the next milestone", || client::confirmed(board.api()) > newest);
        }
        switch_off(board);
    }
    card.fill_data();
    assert_eq!(card.data_used_percent(), 100);
    {
        let board = boot();
        board.wait_for("milestones on a full disk", || {
            client::try_confirmed(board.api()).is_some_and(|index| index >= newest + 3)
        });
        board.wait_healthy();
        client::assert_follows_its_predecessor(board.api(), newest);
        post(board.api(), posted..posted + 1);
        switch_off(board);
    }
    println!("  {posted} blocks of 16 KB; {} % used in the end", card.data_used_percent());
    assert!(card.data_used_percent() <= MOST_USED);
    card.check_data_is_clean();
}

/// Blocks of 16 KB that do not compress.
fn post(api: SocketAddr, numbers: Range<u64>) {
    let mut tips = client::tips(api);
    for number in numbers {
        if number.is_multiple_of(TOGETHER) {
            tips = client::tips(api);
        }
        let piece = |piece: u64| blake2b_256(&(number << 16 | piece).to_le_bytes());
        client::post_plain(api, tips.clone(), &(0..512).flat_map(piece).collect::<Vec<_>>());
    }
}
