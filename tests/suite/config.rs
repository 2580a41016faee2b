//! Configuration: defaults, and every mistake with its line, key and fix.

use osmia::config::{Config, Url};

const FOUNDER: &str = "[coordinator]\nenabled = true\n";

/// The file that stands on every card says what holds without it.
#[test]
fn the_file_on_the_card_spells_out_the_defaults() {
    let card = Config::parse(include_str!("../../image/node.toml")).unwrap();
    let own = "[health]\nrequire_peers = false\n[network]\njoin = \"lan\"\n";
    let least = Config::parse(&format!("{FOUNDER}{own}")).unwrap();
    assert_eq!(card, least);
}

#[test]
fn windows_line_ends_and_byte_order_mark_are_read() {
    let text = format!("\u{feff}{}", FOUNDER.replace('\n', "\r\n"));
    assert_eq!(Config::parse_bytes(text.as_bytes()).unwrap(), Config::parse(FOUNDER).unwrap());
}

#[test]
fn a_member_names_the_keys_of_its_network() {
    let key = "ed3c3f1a319ff4e909cf2771d79fece0ac9bd9fd2ee49ea6c0885c9cb3b1248c";
    let text =
        format!("[network]\nname = \"other\"\nmilestone_keys = [{{ public_key = \"{key}\", end = 7 }}]\n");
    let config = Config::parse(&text).unwrap();
    assert_eq!(config.network.milestone_keys[0].public_key[0], 0xed);
    assert_eq!((config.network.milestone_keys[0].start, config.network.milestone_keys[0].end), (0, 7));
    assert!(config.require_peers);
}

/// Mistakes are told on a page that everybody on the local network may read.
#[test]
fn no_mistake_tells_a_password() {
    for text in [
        "[rest]\npassword = 123456789012",
        "[rest]\npassword = SECRET, SECRET",
        "[rest]\npassword = \"SECRET, SECRET",
        "[rest]\npassword: \"SECRET, SECRET\"",
        "[rest]\npassword \"SECRET, SECRET\"",
        "[rest]\npassword =\n\"SECRET, SECRET\"",
        "[rest]\nPassword = \"SECRET, SECRET\"",
        "[rest]\npassword = \"SECRET, SECRET\" SECRET",
        "[rest]\npassword = \"SECRET, SECRET\"\npassword = \"SECRET, SECRET\"",
        "rest = { password = 123456789012 }",
        "[ rest ]\n\"password\" = 123456789012",
        "[rest]\npassword = [\"SECRET, SECRET\"]",
    ] {
        let told = Config::parse(text).unwrap_err().to_string();
        assert!(!told.contains("SECRET") && !told.contains("123456789012"), "{text}: {told}");
        assert!(told.contains("rest.password") && told.contains("in quotation marks"), "{text}: {told}");
    }
}

#[test]
fn mistakes_are_told_with_line_key_and_fix() {
    for (text, expected) in [
        ("[rest]\nbind = \"x\"", "line 2: rest.bind: \"x\" is no address; write IP:PORT"),
        (
            "[rest]\nport = 1",
            "line 2: rest.port: unknown field `port`; expected one of `bind`, `public`, `password`, `jwt_salt`",
        ),
        ("[rest]\npassword = \"secret\"", "line 2: rest.password: 6 bytes long; write 12 to 128 bytes"),
        ("[system]\nhost_name = \"my box\"", "line 2: system.host_name: \"my box\" is no host name; write 1"),
        ("[clock]\nntp = [\"a.ntp.org\"]", "line 2: clock.ntp: \"a.ntp.org\" is no IP address; write"),
        ("[pow]\nenabled = \"yes\"", "line 2: pow.enabled: invalid type: string \"yes\"; expected a boolean"),
        (
            "[pow]\nworkers = 65",
            "line 2: pow.workers: 65 is too many; write 1 to 64, or 0 for as many as the machine can spare",
        ),
        ("\n[pwo]\n", "line 2: pwo: unknown field `pwo`; expected one of"),
        ("[coordinator]\ninterval_s = 0", "line 2: coordinator.interval_s: 0 is not allowed"),
        ("[network]\nname = \"\"", "line 2: network.name: 0 bytes long; write 1 to 255 bytes"),
        ("[network]\nbelow_max_depth = 0", "line 2: network.below_max_depth: 0 is not allowed"),
        ("[network]\nbech32_hrp = \"Tst\"", "line 2: network.bech32_hrp: not lower-case letters"),
        ("[network]\ntoken_supply = \"1e3\"", "line 2: network.token_supply: no number"),
        ("[network]\nmilestone_threshold = 2", "line 2: network.milestone_threshold: 2 is out of range"),
        (
            "[network]\nmilestone_keys = [{ public_key = \"00\" }]",
            "line 2: network.milestone_keys.public_key: not a 32-byte key",
        ),
        (
            "[storage]\nkeep_milestones = 5",
            "line 2: storage.keep_milestones: 5 is too few; write 200 or more",
        ),
        ("[snapshots]\ninterval = 0", "line 2: snapshots.interval: 0 is not allowed; write 1 or more"),
        (
            "[snapshots]\nsources = [{ full = \"http://a.example/full\" }]",
            "line 2: snapshots.sources.full: \"http://a.example/full\" is no address of HTTPS; write like https://",
        ),
        ("[snapshots]\nauthority = \"mine\"", "line 2: snapshots.authority: no certificate; write its"),
        (
            "[snapshots]\nledger_hash = \"0xab\"",
            "line 2: snapshots.ledger_hash: not a 32-byte hash; write 64",
        ),
        ("[rest\n", "line 1: rest: "),
    ] {
        let text =
            if text.starts_with("[coordinator]") { text.to_owned() } else { format!("{text}\n{FOUNDER}") };
        let text = if text.contains("interval_s") { format!("{text}\nenabled = true\n") } else { text };
        let error = Config::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error:?}, not {expected:?}");
    }
}

#[test]
fn a_node_without_keys_that_founds_nothing_is_refused() {
    let error = Config::parse("").unwrap_err();
    assert_eq!(error.key, "network.milestone_keys");
    assert!(error.fix.contains("coordinator.enabled = true"), "{error}");
}

#[test]
fn an_address_on_the_web_has_its_parts() {
    for (text, port, authority, host, path, shown) in [
        ("https://a.example/f?t=1", 443, "a.example", "a.example", "/f?t=1", "https://a.example/f"),
        ("https://a.example:8443", 8_443, "a.example:8443", "a.example", "/", "https://a.example:8443"),
        ("https://[2001:db8::1]:9/f", 9, "[2001:db8::1]:9", "2001:db8::1", "/f", "https://[2001:db8::1]:9/f"),
    ] {
        let url = Url::parse(text).unwrap();
        let parts = (url.port, url.authority(), url.host(), url.path(), url.shown());
        assert_eq!(parts, (port, authority, host, path, shown), "{text}");
    }
    for wrong in [
        "http://a/",
        "https://",
        "https:///f",
        "https://a:0/",
        "https://a:x/",
        "https://u@a/",
        "https://a b/",
    ] {
        assert_eq!(Url::parse(wrong), None, "{wrong}");
    }
}
