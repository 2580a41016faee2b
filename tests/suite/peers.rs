//! Several real nodes on one network.

use std::path::Path;

use osmia::coordinator;
use osmia::identity::Identity;
use osmia::protocol::address::Address;
use osmia::protocol::hex;
use serde_json::Value;

use crate::node::Node;

/// A node in `folder` that joins the network whose founder's data are in `founder`, by way of `peers`.
fn join(folder: &Path, founder: &Path, peers: &[&str]) -> Node {
    join_with(folder, founder, peers, "[network]\n")
}

/// The same; `more` is added to its configuration, and ends within its network.
pub(crate) fn join_with(folder: &Path, founder: &Path, peers: &[&str], more: &str) -> Node {
    let identity = founder.join("data/identity");
    let key = hex::encode(&coordinator::public_key(&identity).unwrap());
    let owner = Address::of_key(&coordinator::genesis_key(&identity).unwrap()).to_bech32("tst");
    let peers = peers.iter().map(|address| format!("{{ address = \"{address}\" }}")).collect::<Vec<_>>();
    let text = format!(
        "[health]\n[rest]\nbind = \"127.0.0.1:0\"\n[peering]\nbind = [\"127.0.0.1:0\"]\npeers = [{}]\n\
         {more}milestone_keys = [{{ public_key = \"{key}\" }}]\ngenesis_address = \"{owner}\"\n",
        peers.join(", ")
    );
    Node::start_with(&folder.join("node.toml"), &text, &folder.join("data"))
}

#[test]
fn nodes_join_late_follow_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let place = folder.path().join(name);
        std::fs::create_dir_all(&place).unwrap();
        place
    };
    let (one, two, three) = (place("one"), place("two"), place("three"));
    let founder = Node::start(&one, "");
    founder.wait_confirmed(3);
    let first = founder.attach("before anybody came");
    // The second knows the founder, the third only the second.
    let second = join(&two, &one, &[&founder.peer]);
    let third = join(&three, &one, &[&second.peer]);
    for node in [&second, &third] {
        node.wait_for("synced node", |node| node.get("/health").status == 200 && node.has_referenced(&first));
    }
    // Blocks of each of them reach all of them, and a milestone.
    for (from, text) in
        [(&founder, "from the founder"), (&second, "from the second"), (&third, "from the third")]
    {
        let id = from.attach(text);
        for node in [&founder, &second, &third] {
            node.wait_for("referenced block", |node| node.has_referenced(&id));
        }
    }
    // One that was away asks for what it missed.
    let peer = second.peer.clone();
    second.stop();
    let at = founder.confirmed();
    founder.wait_confirmed(at + 3);
    assert!(third.confirmed() <= at + 1, "the third hears of the founder by the second alone");
    let missed = founder.attach("while the second was away");
    let second = join(&two, &one, &[&founder.peer]);
    second.wait_for("referenced block", |node| node.has_referenced(&missed));
    let third = {
        third.stop();
        let _ = peer;
        join(&three, &one, &[&second.peer])
    };
    third.wait_for("referenced block", |node| node.has_referenced(&missed));
    // What one took while it was alone, the others hear of when they are back, though its plug was pulled meanwhile.
    founder.stop();
    third.stop();
    let alone = second.attach("nobody else is there");
    second.kill();
    let founder = Node::start(&one, "");
    let second = join(&two, &one, &[&founder.peer]);
    founder.wait_for("referenced block", |node| node.has_referenced(&alone));
    for node in [founder, second] {
        node.stop();
    }
}

/// Leaves nothing readable of the newest blocks.
fn ruin_the_newest_epoch(node: &Path) {
    let entries = std::fs::read_dir(node.join("data/store")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let newest = names.filter(|name| name.starts_with('e')).max().unwrap();
    let mut folders = vec![node.join("data/store").join(newest)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                std::fs::write(entry.path(), [0xa5; 999]).unwrap();
            }
        }
    }
}

/// The node that follows, and the founder, whose own signed milestones come back.
#[test]
fn what_damage_took_is_asked_of_peers() {
    // An epoch holds ten milestones then.
    let more = "[storage]\nkeep_milestones = 100\n[network]\nbelow_max_depth = 5\n";
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    for place in [&one, &two] {
        std::fs::create_dir(place).unwrap();
    }
    let founder = Node::start(&one, more);
    let second = join_with(&two, &one, &[&founder.peer], more);
    second.wait_confirmed(13);
    let before = second.attach("in the newest epoch");
    second.wait_for("referenced block", |node| node.has_referenced(&before));
    second.kill();
    ruin_the_newest_epoch(&two);
    let second = join_with(&two, &one, &[&founder.peer], more);
    second.wait_for("block that was lost", |node| node.has_referenced(&before));
    second.wait_confirmed(founder.confirmed() + 2);

    let newest = founder.confirmed();
    second.wait_confirmed(newest);
    founder.kill();
    ruin_the_newest_epoch(&one);
    let text = Node::config(&format!("{more}[coordinator]\nenabled = true\ninterval_s = 1\n"))
        .replace("[peering]\n", &format!("[peering]\npeers = [{{ address = \"{}\" }}]\n", second.peer));
    let founder = Node::start_with(&one.join("node.toml"), &text, &one.join("data"));
    founder.wait_confirmed(newest + 3);
    second.wait_confirmed(newest + 3);
    founder.stop();
    second.stop();
}

#[test]
fn a_network_of_four_nodes_runs_on_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    // Of the ports that the kernel gives nobody by itself.
    let rest = 20_000 + u16::try_from(std::process::id() % 4_000).unwrap();
    let mut devnet = std::process::Command::new(env!("CARGO_BIN_EXE_osmia"))
        .args(["devnet", "--nodes", "4", "--rest", &format!("127.0.0.1:{rest}"), "--data"])
        .arg(folder.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let info = |number: u16| {
        let answer = crate::http::request(
            ([127, 0, 0, 1], rest + number).into(),
            "GET",
            "/api/core/v2/info",
            &[],
            &[],
        )?;
        serde_json::from_slice::<Value>(&answer.body).ok()
    };
    let confirmed = |number| info(number)?["status"]["confirmedMilestone"]["index"].as_u64();
    let started = std::time::Instant::now();
    while !(0..4).all(|number| confirmed(number).is_some_and(|index| index >= 2)) {
        assert!(
            started.elapsed() < std::time::Duration::from_secs(60),
            "{:?}",
            (0..4).map(info).collect::<Vec<_>>()
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let pid = rustix::process::Pid::from_child(&devnet);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(devnet.wait().unwrap().success());
    assert!(info(3).is_none(), "a node goes on");
}

/// Nobody is named and no stranger is let in: nodes that know one entry node find each other, and are in step.
#[test]
fn nodes_are_found_by_an_entry_node() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let place = folder.path().join(name);
        std::fs::create_dir_all(&place).unwrap();
        place
    };
    let (one, two, three) = (place("one"), place("two"), place("three"));
    let identity = one.join("data/identity");
    let key = hex::encode(&coordinator::public_key(&identity).unwrap());
    let owner = Address::of_key(&coordinator::genesis_key(&identity).unwrap()).to_bech32("tst");
    let entry_key = Identity::load_or_create(&identity).unwrap().keypair().public();
    let entry_key = osmia::config::entry_key(&entry_key.try_into_ed25519().unwrap().to_bytes());
    // Ports that are free, each of its own.
    let ports = [(); 3].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let ports = ports.map(|socket| socket.local_addr().unwrap().port());
    let entry = format!("/ip4/127.0.0.1/udp/{}/autopeering/{entry_key}", ports[0]);
    let start = |folder: &Path, port: u16, more: &str| {
        let text = format!(
            "[rest]\nbind = \"127.0.0.1:0\"\n[peering]\nbind = [\"127.0.0.1:0\"]\nunknown_peers = 0\n[autopeering]\n\
             enabled = true\nbind = \"127.0.0.1:{port}\"\nentry_nodes = [\"{entry}\"]\n{more}"
        );
        Node::start_with(&folder.join("node.toml"), &text, &folder.join("data"))
    };
    let network = format!(
        "[network]\nmilestone_keys = [{{ public_key = \"{key}\" }}]\ngenesis_address = \"{owner}\"\n"
    );
    let founder = start(
        &one,
        ports[0],
        "[coordinator]\nenabled = true\ninterval_s = 1\n[health]\nrequire_peers = false\n",
    );
    let others = [start(&two, ports[1], &network), start(&three, ports[2], &network)];
    for node in &others {
        node.wait_for("peer found by autopeering", |node| node.get("/health").status == 200);
    }
    let id = others[0].attach("found");
    for node in [&founder, &others[0], &others[1]] {
        node.wait_for("referenced block", |node| node.has_referenced(&id));
    }
}
