use super::*;

const MAC: Mac = [2, 0, 0, 0, 0, 1];
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OFFER: u8 = 2;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// A client with a clock.
struct Bench {
    client: Client,
    begin: Instant,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let begin = Instant::now();
        let config = Config { mac: MAC, host_name: "box".into() };
        Self { client: Client::new(config, 1, begin), begin, now: begin }
    }

    /// A client that has just been granted a lease of `seconds`.
    fn bound(seconds: u32) -> Self {
        let mut bench = Self::new();
        bench.sent();
        bench.reply(OFFER, SERVER, &[]);
        bench.sent();
        bench.reply(ACK, SERVER, &lease_time(seconds));
        assert!(matches!(bench.poll(), Some(Output::Acquired(_))));
        assert_eq!(bench.state(), State::Bound);
        bench
    }

    fn state(&self) -> State {
        self.client.state()
    }

    fn poll(&mut self) -> Option<Output> {
        self.client.poll(self.now)
    }

    /// The only output, which must be a packet.
    fn sent(&mut self) -> Packet {
        let Some(Output::Send(packet)) = self.poll() else { panic!("nothing sent") };
        assert_eq!(self.poll(), None);
        packet
    }

    /// Advances to the next deadline and returns its distance from the start.
    fn skip(&mut self) -> f32 {
        let deadline = self.client.next_deadline().expect("a deadline");
        assert!(deadline > self.now, "a deadline in the past");
        self.now = deadline;
        (deadline - self.begin).as_secs_f32()
    }

    /// Delivers a reply from `server` with more options.
    fn reply(&mut self, kind: u8, server: Ipv4Addr, more: &[u8]) {
        self.deliver(self.client.xid, kind, ADDRESS, server, more);
    }

    fn deliver(&mut self, xid: u32, kind: u8, address: Ipv4Addr, server: Ipv4Addr, more: &[u8]) {
        let mut bytes = vec![2, 1, 6, 0];
        bytes.extend(xid.to_be_bytes());
        bytes.resize(16, 0);
        bytes.extend(address.octets());
        bytes.resize(28, 0);
        bytes.extend(MAC);
        bytes.resize(236, 0);
        bytes.extend([99, 130, 83, 99, 53, 1, kind, 54, 4]);
        bytes.extend(server.octets());
        bytes.extend(more);
        bytes.push(255);
        self.client.handle(&bytes, self.now);
    }
}

fn lease_time(seconds: u32) -> Vec<u8> {
    [&[51, 4][..], &seconds.to_be_bytes()].concat()
}

fn contains(packet: &Packet, option: &[u8]) -> bool {
    packet.payload[240..].windows(option.len()).any(|window| window == option)
}

fn is_about(seconds: f32, expected: f32) -> bool {
    (seconds - expected).abs() <= 1.01
}

#[test]
fn obtains_a_lease_with_all_settings() {
    let mut bench = Bench::new();
    let discover = bench.sent();
    assert!(contains(&discover, &[53, 1, 1]) && contains(&discover, b"\x0c\x03box"));
    assert_eq!((discover.source, discover.server), (Ipv4Addr::UNSPECIFIED, None));
    assert!(bench.client.is_listening());

    bench.reply(OFFER, SERVER, &[]);
    assert_eq!(bench.state(), State::Requesting);
    let request = bench.sent();
    assert!(contains(&request, &[53, 1, 3]));
    assert!(contains(&request, &[50, 4, 10, 0, 0, 9]) && contains(&request, &[54, 4, 10, 0, 0, 1]));
    assert_eq!(discover.payload[4..8], request.payload[4..8], "same exchange");

    let more = [1, 4, 255, 255, 240, 0, 3, 4, 10, 0, 0, 1, 6, 4, 9, 9, 9, 9, 42, 4, 8, 8, 8, 8];
    bench.reply(ACK, SERVER, &[&lease_time(3600)[..], &more].concat());
    let lease = Lease {
        address: ADDRESS,
        prefix: 20,
        routers: vec![SERVER],
        dns: vec![Ipv4Addr::new(9, 9, 9, 9)],
        ntp: vec![Ipv4Addr::new(8, 8, 8, 8)],
        server: SERVER,
        lifetime: Some(Duration::from_secs(3600)),
    };
    assert_eq!(bench.poll(), Some(Output::Acquired(lease)));
    assert_eq!(bench.poll(), None);
    assert!(!bench.client.is_listening());
    assert_eq!(bench.skip(), 1800.0);
}

#[test]
fn discovers_with_growing_random_delays() {
    let mut bench = Bench::new();
    let mut last = 0.0;
    let mut fractions = 0;
    for expected in [4.0, 8.0, 16.0, 32.0, 64.0, 64.0, 64.0] {
        let first = bench.sent();
        let at = bench.skip();
        assert!(is_about(at - last, expected), "{} is not about {expected}", at - last);
        fractions += i32::from((at - last).fract() != 0.0);
        assert!(contains(&first, &[53, 1, 1]));
        last = at;
    }
    assert!(fractions > 0, "not random");
    let packet = bench.sent();
    let secs = u16::from_be_bytes([packet.payload[8], packet.payload[9]]);
    assert!(is_about(secs.into(), last));
}

#[test]
fn starts_over_when_a_request_stays_unanswered() {
    let mut bench = Bench::new();
    let discover = bench.sent();
    bench.reply(OFFER, SERVER, &[]);
    for _ in 0..REQUEST_ATTEMPTS {
        assert!(contains(&bench.sent(), &[53, 1, 3]));
        bench.skip();
    }
    let again = bench.sent();
    assert_eq!(bench.state(), State::Selecting);
    assert!(contains(&again, &[53, 1, 1]));
    assert_ne!(discover.payload[4..8], again.payload[4..8], "a new exchange");
}

#[test]
fn waits_longer_after_each_refusal() {
    let mut bench = Bench::new();
    for expected in [0.0, 4.0, 8.0, 16.0, 32.0, 64.0, 64.0] {
        bench.sent();
        bench.reply(OFFER, SERVER, &[]);
        bench.sent();
        bench.reply(NAK, SERVER, &[]);
        assert_eq!(bench.state(), State::Init);
        let delay = bench.client.next_deadline().unwrap() - bench.now;
        assert!(is_about(delay.as_secs_f32(), expected), "{delay:?} is not about {expected}");
        bench.now += delay;
    }
    let discover = bench.sent();
    assert!(!contains(&discover, &[50, 4, 10, 0, 0, 9]), "asks for a refused address");
}

#[test]
fn ignores_answers_from_the_wrong_server() {
    let mut bench = Bench::new();
    bench.sent();
    bench.reply(ACK, SERVER, &lease_time(60));
    bench.reply(NAK, SERVER, &[]);
    assert_eq!((bench.state(), bench.poll()), (State::Selecting, None));
    bench.reply(OFFER, SERVER, &[]);
    bench.sent();
    bench.reply(NAK, OTHER, &[]);
    bench.reply(ACK, OTHER, &lease_time(60));
    bench.reply(OFFER, OTHER, &[]);
    assert_eq!((bench.state(), bench.poll()), (State::Requesting, None));
}

#[test]
fn ignores_answers_to_another_exchange() {
    let mut bench = Bench::new();
    bench.sent();
    let stale = bench.client.xid ^ 1;
    bench.deliver(stale, OFFER, ADDRESS, SERVER, &[]);
    assert_eq!((bench.state(), bench.poll()), (State::Selecting, None));
    bench.reply(OFFER, SERVER, &[]);
    bench.sent();
    bench.deliver(stale, ACK, ADDRESS, SERVER, &lease_time(60));
    bench.deliver(stale, NAK, ADDRESS, SERVER, &[]);
    assert_eq!((bench.state(), bench.poll()), (State::Requesting, None));
}

#[test]
fn ignores_impossible_addresses() {
    let mut bench = Bench::new();
    bench.sent();
    for address in [[0; 4], [255; 4], [127, 0, 0, 1], [224, 0, 0, 1]].map(Ipv4Addr::from) {
        bench.deliver(bench.client.xid, OFFER, address, SERVER, &[]);
        assert_eq!((bench.state(), bench.poll()), (State::Selecting, None));
    }
    bench.reply(OFFER, SERVER, &[]);
    bench.sent();
    bench.deliver(bench.client.xid, ACK, Ipv4Addr::UNSPECIFIED, SERVER, &lease_time(60));
    assert_eq!((bench.state(), bench.poll()), (State::Requesting, None));
}

#[test]
fn forgets_failures_once_bound() {
    let mut bench = Bench::bound(1000);
    for _ in 0..3 {
        bench.skip();
        bench.sent();
        bench.reply(NAK, SERVER, &[]);
        assert_eq!(bench.client.next_deadline(), Some(bench.now), "starts over at once");
        assert!(matches!(bench.poll(), Some(Output::Lost(_))));
        bench.sent();
        bench.reply(OFFER, SERVER, &[]);
        bench.sent();
        bench.reply(ACK, SERVER, &lease_time(1000));
        bench.poll();
    }
}

#[test]
fn ignores_an_acknowledgement_without_a_lease_time() {
    let mut bench = Bench::new();
    bench.sent();
    bench.reply(OFFER, SERVER, &[]);
    bench.sent();
    bench.reply(ACK, SERVER, &[]);
    bench.reply(ACK, SERVER, &lease_time(0));
    assert_eq!((bench.state(), bench.poll()), (State::Requesting, None));
}

#[test]
fn renews_by_unicast() {
    let mut bench = Bench::bound(1000);
    assert_eq!(bench.skip(), 500.0);
    let request = bench.sent();
    assert_eq!(bench.state(), State::Renewing);
    assert_eq!((request.source, request.server), (ADDRESS, Some(SERVER)));
    assert_eq!(request.payload[12..16], ADDRESS.octets());
    assert!(!contains(&request, &[50, 4]) && !contains(&request, &[54, 4]));
    bench.reply(ACK, SERVER, &lease_time(2000));
    assert!(matches!(bench.poll(), Some(Output::Acquired(_))));
    assert_eq!((bench.state(), bench.skip()), (State::Bound, 1500.0));
}

#[test]
fn rebinds_by_broadcast_with_any_server() {
    let mut bench = Bench::bound(1000);
    let mut at = vec![];
    while bench.state() != State::Rebinding {
        at.push(bench.skip());
        bench.sent();
    }
    // T1, half of the time to T2, then at least a minute apart, then T2.
    assert_eq!(at, [500.0, 687.5, 781.25, 841.25, 875.0]);
    bench.reply(ACK, OTHER, &lease_time(1000));
    let Some(Output::Acquired(lease)) = bench.poll() else { panic!("not rebound") };
    assert_eq!((lease.server, bench.state()), (OTHER, State::Bound));
}

#[test]
fn drops_an_expired_lease_and_asks_for_it_again() {
    let mut bench = Bench::bound(1000);
    let expired = loop {
        let at = bench.skip();
        match bench.poll() {
            Some(Output::Send(packet)) => assert_eq!(packet.source, ADDRESS),
            output => {
                assert_eq!(output, Some(Output::Lost(Loss::Expired)));
                break at;
            }
        }
    };
    assert_eq!(expired, 1000.0);
    let discover = bench.sent();
    assert_eq!((bench.state(), discover.source), (State::Selecting, Ipv4Addr::UNSPECIFIED));
    assert!(contains(&discover, &[50, 4, 10, 0, 0, 9]));
}

#[test]
fn drops_a_refused_lease() {
    let mut bench = Bench::bound(1000);
    bench.skip();
    bench.sent();
    bench.reply(NAK, OTHER, &[]);
    assert_eq!(bench.state(), State::Renewing, "not our server");
    bench.reply(NAK, SERVER, &[]);
    assert_eq!(bench.poll(), Some(Output::Lost(Loss::Refused)));
    assert!(contains(&bench.sent(), &[53, 1, 1]));
}

#[test]
fn drops_the_lease_when_it_slept_past_the_end() {
    let mut bench = Bench::bound(1000);
    bench.now += Duration::from_secs(5000);
    assert_eq!(bench.poll(), Some(Output::Lost(Loss::Expired)));
    bench.sent();
    assert_eq!(bench.state(), State::Selecting);
}

#[test]
fn rebinds_when_it_slept_past_t2() {
    let mut bench = Bench::bound(1000);
    bench.now += Duration::from_secs(900);
    assert_eq!(bench.sent().server, None);
    assert_eq!(bench.state(), State::Rebinding);
}

#[test]
fn honours_t1_and_t2_unless_absurd() {
    // (T1, T2, expected T1, expected T2) for a lease of 1000 seconds.
    for (t1, t2, first, second) in
        [(100, 200, 100.0, 200.0), (0, 0, 500.0, 875.0), (900, 2000, 500.0, 875.0), (300, 100, 100.0, 100.0)]
    {
        let mut bench = Bench::new();
        bench.sent();
        bench.reply(OFFER, SERVER, &[]);
        bench.sent();
        let mut more = lease_time(1000);
        more.extend([&[58, 4][..], &u32::to_be_bytes(t1), &[59, 4], &u32::to_be_bytes(t2)].concat());
        bench.reply(ACK, SERVER, &more);
        bench.poll();
        assert_eq!(bench.skip(), first, "{t1} {t2}");
        while bench.sent().server.is_some() {
            bench.skip();
        }
        assert_eq!((bench.now - bench.begin).as_secs_f32(), second, "{t1} {t2}");
    }
}

#[test]
fn keeps_an_infinite_lease() {
    let mut bench = Bench::bound(INFINITE);
    assert_eq!(bench.client.next_deadline(), None);
    bench.now += Duration::from_secs(1_000_000_000);
    assert_eq!(bench.poll(), None);
}

#[test]
fn counts_the_lease_from_the_first_request() {
    let mut bench = Bench::new();
    bench.sent();
    bench.reply(OFFER, SERVER, &[]);
    bench.sent();
    bench.now += Duration::from_secs(3);
    bench.reply(ACK, SERVER, &lease_time(1000));
    bench.poll();
    assert_eq!(bench.skip(), 500.0);
}

#[test]
fn does_not_spin_on_a_tiny_lease() {
    let mut bench = Bench::bound(1);
    for _ in 0..20 {
        let before = bench.now;
        bench.skip();
        assert!(bench.now - before >= Duration::from_secs(1));
        while let Some(output) = bench.poll() {
            if let Output::Send(packet) = output {
                let kind = if contains(&packet, &[53, 1, 1]) { OFFER } else { ACK };
                bench.reply(kind, SERVER, &lease_time(1));
            }
        }
    }
}

#[test]
fn derives_the_prefix() {
    let given = |mask: [u8; 4], address: [u8; 4]| prefix(Some(mask.into()), address.into());
    assert_eq!(given([255, 255, 255, 255], [10, 0, 0, 1]), 32);
    assert_eq!(given([255, 254, 0, 0], [10, 0, 0, 1]), 15);
    assert_eq!(given([255, 0, 255, 0], [192, 168, 0, 1]), 24);
    assert_eq!(given([0, 0, 0, 0], [172, 16, 0, 1]), 16);
    assert_eq!(prefix(None, ADDRESS), 8);
}

#[test]
fn survives_malformed_replies() {
    let mut bench = Bench::new();
    bench.sent();
    for len in 0..300 {
        for fill in [0, 1, 2, 53, 255] {
            bench.client.handle(&vec![fill; len], bench.now);
        }
    }
    assert_eq!((bench.state(), bench.poll()), (State::Selecting, None));
}
