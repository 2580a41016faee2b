use super::*;

const MAC: Mac = [2, 0, 0, 0, 0, 1];

fn request() -> Request<'static> {
    Request {
        kind: RequestKind::Request,
        xid: 0x0102_0304,
        secs: 7,
        client_address: Ipv4Addr::UNSPECIFIED,
        mac: MAC,
        host_name: "box",
        requested_address: Some(Ipv4Addr::new(10, 0, 0, 9)),
        server_id: Some(Ipv4Addr::new(10, 0, 0, 1)),
    }
}

/// A reply with the given options after the cookie.
fn reply(options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    bytes[..3].copy_from_slice(&[BOOT_REPLY, ETHERNET, 6]);
    bytes[16..20].copy_from_slice(&[10, 0, 0, 9]);
    bytes[28..34].copy_from_slice(&MAC);
    bytes[236..].copy_from_slice(&MAGIC_COOKIE);
    bytes.extend(options);
    bytes
}

#[test]
fn encodes_all_options() {
    let bytes = encode(&request());
    assert_eq!(bytes[4..10], [1, 2, 3, 4, 0, 7]);
    let mut options = BTreeMap::new();
    read_options(&bytes[HEADER_LEN..], &mut options);
    assert_eq!(options[&option::MESSAGE_TYPE], [3]);
    assert_eq!(options[&option::HOST_NAME], b"box");
    assert_eq!(options[&option::CLIENT_ID], [1, 2, 0, 0, 0, 0, 1]);
    assert_eq!(options[&option::REQUESTED_ADDRESS], [10, 0, 0, 9]);
    assert_eq!(options[&option::SERVER_ID], [10, 0, 0, 1]);
    assert!(options[&option::PARAMETER_LIST].contains(&option::NTP_SERVERS));
    assert!(bytes.len() >= MIN_MESSAGE_LEN);
}

#[test]
fn leaves_out_an_empty_or_oversized_host_name() {
    for host_name in ["", &"x".repeat(256)] {
        let bytes = encode(&Request { host_name, ..request() });
        let mut options = BTreeMap::new();
        read_options(&bytes[HEADER_LEN..], &mut options);
        assert!(!options.contains_key(&option::HOST_NAME));
    }
}

#[test]
fn decodes_padding_and_split_options() {
    let options = [53, 1, 5, 0, 0, 6, 4, 1, 1, 1, 1, 6, 4, 2, 2, 2, 2, 51, 4, 0, 0, 1, 0, 255, 9];
    let reply = decode(&reply(&options), MAC).unwrap();
    assert_eq!(reply.kind, ReplyKind::Ack);
    assert_eq!(reply.number(option::LEASE_TIME), Some(256));
    let dns = [Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(2, 2, 2, 2)];
    assert_eq!(reply.addresses(option::DNS_SERVERS), dns);
}

#[test]
fn decodes_a_trailing_end_marker() {
    assert_eq!(decode(&reply(&[53, 1, 6, 255]), MAC).unwrap().kind, ReplyKind::Nak);
}

#[test]
fn decodes_overloaded_fields() {
    for (overload, file, sname) in [(0, false, false), (1, true, false), (2, false, true), (3, true, true)] {
        let mut bytes = reply(&[53, 1, 2, 52, 1, overload, 255]);
        bytes[108..115].copy_from_slice(&[6, 4, 9, 9, 9, 9, 255]);
        bytes[44..51].copy_from_slice(&[3, 4, 10, 0, 0, 1, 255]);
        let reply = decode(&bytes, MAC).unwrap();
        assert_eq!(reply.address(option::DNS_SERVERS).is_some(), file);
        assert_eq!(reply.address(option::ROUTERS).is_some(), sname);
    }
}

#[test]
fn rejects_other_messages() {
    let good = reply(&[53, 1, 5, 255]);
    assert!(decode(&good, MAC).is_some());
    assert!(decode(&good, [9; 6]).is_none(), "other client");
    for at in [0, 1, 2, 28, 236] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(decode(&bad, MAC).is_none(), "byte {at}");
    }
    assert!(decode(&reply(&[255]), MAC).is_none(), "no message type");
    assert!(decode(&encode(&request()), MAC).is_none(), "a request");
}

#[test]
fn ignores_a_wrongly_sized_value() {
    let reply = decode(&reply(&[53, 1, 5, 51, 3, 0, 0, 1, 6, 5, 1, 1, 1, 1, 2, 255]), MAC).unwrap();
    assert_eq!(reply.number(option::LEASE_TIME), None);
    assert_eq!(reply.addresses(option::DNS_SERVERS), [Ipv4Addr::new(1, 1, 1, 1)]);
}

/// A server's frame around `payload`.
fn server_frame(payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(payload, MAC, Ipv4Addr::new(10, 0, 0, 1));
    bytes[34..38].copy_from_slice(&[0, 67, 0, 68]);
    bytes
}

#[test]
fn frames_have_valid_checksums() {
    for payload in [&b"odd"[..], b"even"] {
        let bytes = frame(payload, MAC, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(checksum(&bytes[14..34]), 0);
        let udp = &bytes[34..];
        let pseudo = [&bytes[26..34], &[0, PROTOCOL_UDP], &udp[4..6], udp].concat();
        assert_eq!(checksum(&pseudo), 0);
    }
}

#[test]
fn unframes_what_was_framed() {
    let mut bytes = server_frame(b"payload");
    assert_eq!(unframe(&bytes), Some(&b"payload"[..]));
    bytes.extend([0; 20]);
    assert_eq!(unframe(&bytes), Some(&b"payload"[..]), "Ethernet padding");
    assert_eq!(unframe(&frame(b"payload", MAC, Ipv4Addr::UNSPECIFIED)), None, "to a server");
    for (at, value) in [(12, 0x86), (14, 0x65), (14, 0x44), (20, 0x20), (21, 1), (23, 6)] {
        let mut bad = bytes.clone();
        bad[at] = value;
        assert_eq!(unframe(&bad), None, "byte {at}");
    }
}

/// Every prefix and many random corruptions of valid input must not panic.
#[test]
fn survives_malformed_input() {
    let options = [53, 1, 5, 52, 1, 3, 51, 4, 0, 0, 1, 0, 6, 8, 1, 1, 1, 1, 2, 2, 2, 2, 255];
    let good = server_frame(&reply(&options));
    let check = |bytes: &[u8]| {
        if let Some(payload) = unframe(bytes) {
            let _ = decode(payload, MAC);
        }
        let _ = decode(bytes.get(42..).unwrap_or(bytes), MAC);
    };
    (0..=good.len()).for_each(|len| check(&good[..len]));
    let mut seed = 1_u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize
    };
    for _ in 0..200_000 {
        let mut bad = good.clone();
        for _ in 0..=random() % 4 {
            let at = random() % bad.len();
            bad[at] = random().to_le_bytes()[0];
        }
        check(&bad[..bad.len() - random() % 32]);
    }
}
