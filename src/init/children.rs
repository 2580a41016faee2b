//! How each child is started: arguments, folder, limits.

use super::service::{Role, Spec};
use super::setup;
use crate::board::Run;
use crate::firmware::cgroup::Limits;
use crate::hardware;

/// Kernel, PID 1, the other children, page cache to work with.
const RESERVED_MIB: u64 = 192;

/// The node may use all memory but a reserve; `small` is its profile for little memory.
pub(super) fn node(small: bool, board: &Run) -> Spec {
    let mut arguments =
        words(&["node", "--config", setup::CONFIG, "--data", setup::NODE_DATA, "--ballast", "--supervised"]);
    if small {
        arguments.push("--small".to_owned());
    }
    if let Some(mib) = board.cache_mib {
        arguments.extend(["--most-cache-mib".to_owned(), mib.to_string()]);
    }
    if let Some(kernel) = &board.pow.kernel {
        arguments.extend(["--pow-kernel".to_owned(), kernel.clone()]);
    }
    if let Some(threads) = board.pow.threads {
        arguments.extend(["--pow-threads".to_owned(), threads.to_string()]);
    }
    let memory_mib =
        hardware::machine::memory_mib().map_or(512, |mib| mib.saturating_sub(RESERVED_MIB).max(256));
    Spec { role: Role::Node, arguments, folder: setup::NODE_DATA, limits: Limits { memory_mib, tasks: 512 } }
}

/// The status page.
pub(super) fn rescue() -> Spec {
    Spec {
        role: Role::Rescue,
        arguments: words(&["rescue", "--folder", setup::RUN, "--listen", "[::]:80"]),
        folder: setup::RUN,
        limits: Limits { memory_mib: 32, tasks: 32 },
    }
}

/// The one that asks time servers.
pub(super) fn time() -> Spec {
    Spec {
        role: Role::Time,
        arguments: words(&["time"]),
        folder: "/",
        limits: Limits { memory_mib: 64, tasks: 64 },
    }
}

/// The one that attacks the process `victim`.
#[cfg(feature = "attack")]
pub(super) fn attack(victim: i32) -> Spec {
    Spec {
        role: Role::Attack,
        arguments: words(&["attack", "--victim", &victim.to_string(), "--data", setup::NODE_DATA]),
        folder: setup::NODE_DATA,
        limits: Limits { memory_mib: 64, tasks: 64 },
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::node;
    use crate::board::Board;

    #[test]
    fn a_boards_word_reaches_the_node() {
        let run_of = |name| Board::all().unwrap().into_iter().find(|board| board.name == name).unwrap().run;
        let mut run = run_of("zero2w");
        run.pow.kernel = Some("neon/in-place".to_owned());
        run.pow.threads = Some(2);
        let arguments = node(true, &run).arguments.join(" ");
        let expected = "--small --most-cache-mib 2 --pow-kernel neon/in-place --pow-threads 2";
        assert!(arguments.ends_with(expected), "{arguments}");
        let arguments = node(false, &run_of("rpi5")).arguments.join(" ");
        assert!(arguments.ends_with("--supervised"), "{arguments}");
    }
}
