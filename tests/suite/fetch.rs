//! A node's first snapshot, from web servers that are good, slow, old, cut off, false or strangers.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use crate::http;
use crate::node::Node;
use crate::snapshot::{Model, loaded, open};
use crate::web::{self, Authority, Manner, Server};
use osmia::config::{Source, Url};
use osmia::keeper::fetch::{FetchError, Judge};
use osmia::keeper::progress::Progress;
use osmia::keeper::web::{Names, Web};
use osmia::keeper::{Keeper, Sizes};
use osmia::protocol::id::MilestoneIndex;
use osmia::snapshot::full::FullReader;
use osmia::snapshot::load::Loaded;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn source(server: &Server, full: &str, delta: Option<&str>) -> Source {
    let url = |path: &str| Url::parse(&format!("https://{}{path}", server.address)).unwrap();
    Source { full: url(full), delta: delta.map(url) }
}

fn asked(server: &Server) -> Vec<(String, usize)> {
    web::lock(&server.asked).clone()
}

/// A network's snapshots: of milestone 20, that led on to 30 and to 50; and a full one of 40.
struct Snapshots {
    full_20: Vec<u8>,
    delta_30: Vec<u8>,
    delta_50: Vec<u8>,
    full_40: Vec<u8>,
    model: Model,
}

fn snapshots() -> Snapshots {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("store"));
    // Of about 50 KB.
    let mut model = Model::new(21, 200, &mut store);
    (0..60).for_each(|_| model.step(&mut store));
    let keeper = Keeper::open(folder.path().join("snapshots"));
    let take = |index| {
        keeper.lead_on(&store.reader(), MilestoneIndex(index), Sizes::HORNET).unwrap();
        let (full, delta) = keeper.files().unwrap();
        (fs::read(full).unwrap(), delta.map(|delta| fs::read(delta).unwrap()))
    };
    let full_20 = take(20).0;
    let (delta_30, delta_50) = (take(30).1.unwrap(), take(50).1.unwrap());
    let full_40 = fs::read(keeper.create(&store.reader(), MilestoneIndex(40)).unwrap()).unwrap();
    Snapshots { full_20, delta_30, delta_50, full_40, model }
}

struct Client {
    folder: tempfile::TempDir,
    web: Web,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    fn new(authority: &Authority, patience: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let web = Web::new(Some(&authority.pem()), Names::System, patience).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), web, runtime: runtime.unwrap() }
    }

    fn keeper(&self) -> Keeper {
        Keeper::open(self.folder.path().to_path_buf())
    }

    fn fetch(&self, sources: &[Source]) -> Result<u32, FetchError> {
        self.fetch_judged(sources, &|_| Ok(()))
    }

    fn fetch_judged(
        &self,
        sources: &[Source],
        likes: &(dyn Fn(&Loaded) -> Result<(), String> + Sync),
    ) -> Result<u32, FetchError> {
        let keeper = self.keeper();
        let progress = Progress::default();
        let judge = Judge { likes, ledger_hash: None };
        let fetch = keeper.fetch(sources, "osmia-private", &self.web, &judge, &progress);
        self.runtime.block_on(fetch).map(|base| base.target.index.0)
    }

    /// The ledger that was kept must be that of the model.
    fn check(&self, model: &Model, index: u32) {
        let keeper = self.keeper();
        let (full, delta) = keeper.files().unwrap();
        let delta = delta.map(|delta| fs::read(delta).unwrap());
        let (base, outputs) = loaded(&fs::read(full).unwrap(), delta.as_deref());
        assert_eq!(base.target.index.0, index);
        assert!(outputs == model.history[index as usize]);
        let left = fs::read_dir(self.folder.path()).unwrap().map(|one| one.unwrap().file_name());
        let left = left.filter(|name| !name.to_string_lossy().ends_with("snapshot.bin")).collect::<Vec<_>>();
        assert!(left.is_empty(), "{left:?}");
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_newest_snapshot_that_is_right_wins() {
    let (authority, all) = (Authority::new(), snapshots());
    // One base token more in the first output: the sum is not the supply.
    let mut false_full = all.full_20.clone();
    let head = FullReader::new(false_full.as_slice()).unwrap().header().to_bytes().len();
    false_full[head + 34 + 32 + 4 + 4 + 4 + 1] ^= 1;
    let old = authority.serve(HERE, &[("/full", &all.full_40)], Manner::Good);
    let new = authority.serve(HERE, &[("/full", &all.full_20), ("/delta", &all.delta_50)], Manner::Good);
    let wrong = authority.serve(HERE, &[("/full", &false_full), ("/delta", &all.delta_50)], Manner::Good);
    let unfit = authority.serve(HERE, &[("/full", &all.full_40), ("/delta", &all.delta_30)], Manner::Good);
    let client = Client::new(&authority, PATIENCE);
    let sources = [
        source(&unfit, "/full", Some("/delta")),
        source(&old, "/full", None),
        source(&old, "/nothing", None),
        source(&new, "/full", Some("/delta")),
    ];
    assert_eq!(client.fetch(&sources).unwrap(), 50);
    client.check(&all.model, 50);
    assert_eq!(asked(&old).len(), 2, "of the old one only the head, and what is not there");
    // The one with the highest index is not what it says: the next one is taken.
    let client = Client::new(&authority, PATIENCE);
    let sources = [source(&wrong, "/full", Some("/delta")), source(&unfit, "/full", Some("/delta"))];
    assert_eq!(client.fetch(&sources).unwrap(), 40);
    client.check(&all.model, 40);
    // So it is when the caller does not like it.
    let client = Client::new(&authority, PATIENCE);
    let judge =
        |loaded: &Loaded| if loaded.base.target.index.0 == 50 { Err("no".to_owned()) } else { Ok(()) };
    let sources = [source(&new, "/full", Some("/delta")), source(&old, "/moved/full", None)];
    assert_eq!(client.fetch_judged(&sources, &judge).unwrap(), 40);
    client.check(&all.model, 40);
}

/// Each attempt brings 10,000 bytes; none is sent twice, but for the last one, which is asked for again.
#[test]
fn a_download_goes_on_where_it_was_cut_short() {
    let (authority, all) = (Authority::new(), snapshots());
    let server = authority.serve(HERE, &[("/full", &all.full_20)], Manner::HangsUp(10_000));
    let client = Client::new(&authority, PATIENCE);
    let sources = [source(&server, "/full", None)];
    let attempts = (1..100).find(|_| client.fetch(&sources).is_ok()).unwrap();
    client.check(&all.model, 20);
    let firsts = asked(&server).iter().map(|(_, from)| *from).filter(|from| *from > 0).collect::<Vec<_>>();
    assert_eq!(attempts - 1, firsts.len());
    assert_eq!(firsts[0], 9_999);
    assert!(firsts.windows(2).all(|pair| pair[1] == pair[0] + 9_999), "{firsts:?}");
    assert!(firsts.len() >= 3);
}

/// The file has a successor of the same name before the rest was sent.
#[test]
fn a_file_that_changed_is_begun_anew() {
    let (authority, all) = (Authority::new(), snapshots());
    let server = authority.serve(HERE, &[("/full", &all.full_40)], Manner::HangsUp(10_000));
    let client = Client::new(&authority, PATIENCE);
    assert!(client.fetch(&[source(&server, "/full", None)]).is_err());
    let good = authority.serve(HERE, &[("/full", &all.full_20)], Manner::Good);
    server.files.lock().unwrap().insert("/full".to_owned(), all.full_20.clone());
    let attempts = (1..100).find(|_| client.fetch(&[source(&server, "/full", None)]).is_ok()).unwrap();
    assert!(attempts > 2);
    client.check(&all.model, 20);
    // One that knows no parts sends all of it again; one that was asked before does not matter to another.
    let client = Client::new(&authority, PATIENCE);
    assert!(client.fetch(&[source(&server, "/full", None)]).is_err());
    let whole = authority.serve(HERE, &[("/full", &all.full_20)], Manner::Whole);
    assert_eq!(client.fetch(&[source(&whole, "/full", None)]).unwrap(), 20);
    assert_eq!(client.fetch(&[source(&good, "/full", None)]).unwrap(), 20);
    client.check(&all.model, 20);
}

#[test]
fn who_falls_silent_is_left_for_another() {
    let (authority, all) = (Authority::new(), snapshots());
    let silent = authority.serve(
        HERE,
        &[("/full", &all.full_20), ("/delta", &all.delta_50)],
        Manner::FallsSilent(10_000),
    );
    let drips =
        authority.serve(HERE, &[("/full", &all.full_20), ("/delta", &all.delta_50)], Manner::Drips(10_000));
    let old = authority.serve(HERE, &[("/full", &all.full_40)], Manner::Good);
    let client = Client::new(&authority, Duration::from_secs(1));
    let sources = [
        source(&silent, "/full", Some("/delta")),
        source(&drips, "/full", Some("/delta")),
        source(&old, "/full", None),
    ];
    assert_eq!(client.fetch(&sources).unwrap(), 40);
    client.check(&all.model, 40);
}

#[test]
fn strangers_and_other_networks_are_refused() {
    let (authority, all) = (Authority::new(), snapshots());
    let server = authority.serve(HERE, &[("/full", &all.full_20)], Manner::Good);
    let stranger = Client::new(&Authority::new(), PATIENCE);
    assert!(stranger.fetch(&[source(&server, "/full", None)]).is_err());
    assert!(asked(&server).is_empty(), "nothing is asked of a server whose certificate is not trusted");
    let other = authority.serve(HERE, &[("/full", b"no snapshot")], Manner::Good);
    let client = Client::new(&authority, PATIENCE);
    assert!(client.fetch(&[source(&other, "/full", None)]).is_err());
    let keeper = client.keeper();
    let (sources, progress) = ([source(&server, "/full", None)], Progress::default());
    let judge = Judge { likes: &|_| Ok(()), ledger_hash: None };
    let fetch = keeper.fetch(&sources, "another", &client.web, &judge, &progress);
    assert!(client.runtime.block_on(fetch).is_err());
    assert_eq!(keeper.files(), None);
}

/// A name server of one name, which is this host.
fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            // RFC 1035 §4: the question is said again; an address is answered, and nothing for any other type.
            let name = b"\x09snapshots\x07example\x00\x00";
            let question_end = 12 + name.len() + 3;
            let known = query[..length].get(12..12 + name.len()) == Some(name);
            let is_a = query[12 + name.len()] == 1;
            let mut answer = query[..question_end].to_vec();
            answer[2..4].copy_from_slice(&[0x81, if known { 0x80 } else { 0x83 }]);
            answer[6..12].copy_from_slice(&[0, u8::from(known && is_a), 0, 0, 0, 0]);
            if known && is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

#[test]
fn names_are_looked_up_at_the_network_s_own_servers() {
    let (authority, all) = (Authority::new(), snapshots());
    let server = authority.serve(HERE, &[("/full", &all.full_20)], Manner::Good);
    let mut client = Client::new(&authority, PATIENCE);
    let (servers, known) = tokio::sync::watch::channel(Vec::new());
    client.web = Web::new(Some(&authority.pem()), Names::Servers(known), PATIENCE).unwrap();
    let url = |host: &str| Url::parse(&format!("https://{host}:{}/full", server.address.port())).unwrap();
    let source = |host: &str| [Source { full: url(host), delta: None }];
    assert!(client.fetch(&source(web::NAME)).is_err(), "no name server is known");
    servers.send_replace(vec![name_server()]);
    assert!(client.fetch(&source("other.example")).is_err());
    assert_eq!(client.fetch(&source(web::NAME)).unwrap(), 20);
    client.check(&all.model, 20);
}

/// A real node with an empty folder: it answers 503 while it waits for a source, then goes on from the snapshot.
#[test]
fn a_node_begins_with_a_downloaded_snapshot() {
    let founder = tempfile::tempdir().unwrap();
    let node = Node::start(
        founder.path(),
        "[network]\nname = \"handed out\"\nbelow_max_depth = 1\n[snapshots]\ndepth = 6\ninterval = 2\n",
    );
    let files = founder.path().join("data/snapshots");
    let (full, delta) = (files.join("full_snapshot.bin"), files.join("delta_snapshot.bin"));
    node.wait_for("delta snapshot", |_| delta.exists());
    node.stop();
    let authority = Authority::new();
    let (full, delta) = (fs::read(full).unwrap(), fs::read(delta).unwrap());
    let server = authority.serve(HERE, &[], Manner::Good);
    let key = osmia::coordinator::public_key(&founder.path().join("data/identity")).unwrap();
    // Free a moment ago.
    let api = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        "[network]\nname = \"handed out\"\nmilestone_keys = [{{ public_key = \"{}\" }}]\n\
         [rest]\nbind = \"{api}\"\n[peering]\nbind = []\n[snapshots]\nauthority = \"\"\"{}\"\"\"\n\
         sources = [{{ full = \"https://{address}/full\", delta = \"https://{address}/delta\" }}]\n",
        osmia::protocol::hex::encode(&key),
        authority.pem(),
        address = server.address,
    );
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (folder.path().join("node.toml"), folder.path().join("data"));
    let second = std::thread::scope(|scope| {
        let starting = scope.spawn(|| Node::start_with(&config, &text, &data));
        let started = Instant::now();
        let asked_in_vain = || !asked(&server).is_empty();
        while !asked_in_vain() {
            assert!(started.elapsed() < Duration::from_secs(60) && !starting.is_finished());
            std::thread::sleep(Duration::from_millis(20));
        }
        let answer = http::request(api, "GET", "/api/core/v2/info", &[], &[]).unwrap();
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 503, "{said}");
        assert!(said.contains("snapshots.sources") || said.contains("the node is starting"), "{said}");
        server.files.lock().unwrap().extend([("/full".to_owned(), full), ("/delta".to_owned(), delta)]);
        starting.join().unwrap()
    });
    let info = second.json("/api/core/v2/info");
    let index = info["status"]["confirmedMilestone"]["index"].as_u64().unwrap();
    assert!(index >= 9, "{info}");
    assert_eq!(info["status"]["pruningIndex"].as_u64(), Some(index));
}
