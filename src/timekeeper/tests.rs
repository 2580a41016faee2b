//! Real servers on the loopback interface: one for each protocol.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};

use super::{Roots, Sources, parse_sample, round, sample_line};
use crate::boot::clock::{Kind, Sample};

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HOUR: u64 = 3_600;

/// Answers as a server that is `ahead` seconds ahead.
fn ntp_server(ahead: u64) -> u16 {
    let socket = UdpSocket::bind((SERVER, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut packet = [0; 64];
        loop {
            let Ok((48, client)) = socket.recv_from(&mut packet) else { continue };
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let seconds = u32::try_from(now.as_secs() + 2_208_988_800 + ahead).unwrap();
            let fraction = u32::try_from((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000).unwrap();
            let stamp = (u64::from(seconds) << 32 | u64::from(fraction)).to_be_bytes();
            let mut answer = [0; 48];
            (answer[0], answer[1]) = (4 << 3 | 4, 1);
            answer[24..32].copy_from_slice(&packet[40..48]);
            answer[32..40].copy_from_slice(&stamp);
            answer[40..48].copy_from_slice(&stamp);
            // Somebody who cannot see the question guesses first.
            let mut forged = answer;
            forged[24] ^= 1;
            let _ = socket.send_to(&forged, client);
            let _ = socket.send_to(&answer, client);
        }
    });
    port
}

/// A web server that claims `date`, with a certificate that is valid from `from` to `to` (years).
fn web_server(date: SystemTime, from: i32, to: i32) -> (u16, Roots) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![SERVER.to_string()]).unwrap();
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
    let certificate = params.self_signed(&key).unwrap();
    let roots = Roots::only(certificate.der().clone()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
    let listener = TcpListener::bind((SERVER, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::new(config.clone())).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let _ = stream.read(&mut [0; 1_024]);
            let date = httpdate::fmt_http_date(date);
            let _ = write!(stream, "HTTP/1.1 301 Moved\r\nServer: x\r\ndate: {date}\r\n\r\n");
        }
    });
    (port, roots)
}

fn sources() -> Sources {
    Sources { ntp: vec![SERVER], https: vec![SERVER] }
}

/// Nothing listens there.
fn closed() -> u16 {
    UdpSocket::bind((SERVER, 0)).unwrap().local_addr().unwrap().port()
}

fn seconds(sample: &Sample) -> f64 {
    sample.offset_ns as f64 / 1e9
}

#[test]
fn a_time_server_is_measured() {
    let sources = Sources { ntp: vec![SERVER; 3], https: vec![SERVER] };
    // Three answers are enough: no web server is asked, not even a wrong one.
    let samples = round(&sources, ntp_server(HOUR), closed(), &Roots::public());
    assert_eq!(samples.len(), 3);
    for sample in samples {
        assert_eq!((sample.kind, sample.source), (Kind::Ntp, SERVER));
        assert!((seconds(&sample) - HOUR as f64).abs() < 1.0, "{sample:?}");
    }
}

#[test]
fn a_web_server_is_asked_when_time_servers_are_silent() {
    let in_an_hour = SystemTime::now() + Duration::from_secs(HOUR);
    let (port, roots) = web_server(in_an_hour, 2_020, 2_090);
    let samples = round(&sources(), closed(), port, &roots);
    assert_eq!(samples.len(), 1);
    assert_eq!(samples[0].kind, Kind::Https);
    assert!((seconds(&samples[0]) - HOUR as f64).abs() < 3.0, "{samples:?}");
    // An authority that nobody knows.
    assert!(round(&sources(), closed(), port, &Roots::public()).is_empty());
}

#[test]
fn a_certificate_must_be_valid_at_the_time_that_it_claims() {
    let claimed = SystemTime::UNIX_EPOCH + Duration::from_secs(2_300_000_000); // in 2042
    // Valid then, though not by the own clock.
    let (port, roots) = web_server(claimed, 2_041, 2_045);
    assert_eq!(round(&sources(), closed(), port, &roots).len(), 1);
    // Valid by the own clock, but not then.
    let (port, roots) = web_server(claimed, 2_020, 2_035);
    assert!(round(&sources(), closed(), port, &roots).is_empty());
}

#[test]
fn lines_between_the_processes_read_back() {
    for kind in [Kind::Ntp, Kind::Https] {
        let sample = Sample { source: "2001:db8::1".parse().unwrap(), kind, offset_ns: -7, delay_ns: 9 };
        assert_eq!(parse_sample(&sample_line(&sample)), Some(sample));
    }
    assert_eq!(parse_sample("sample ntp 1.2.3.4 x 1"), None);
    assert_eq!(parse_sample("round"), None);
    for sources in [sources(), Sources::default(), Sources { ntp: vec![SERVER; 2], https: vec![] }] {
        assert_eq!(Sources::parse(&sources.line()), Some(sources));
    }
    assert_eq!(Sources::parse("sources x"), None);
}

#[test]
fn servers_are_left_alone_more_and_more() {
    let mut pause = super::Pause::default();
    let seconds = [(); 14].map(|()| pause.after(false).as_secs());
    assert_eq!(seconds, [16, 16, 16, 16, 16, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
    assert_eq!(pause.after(true).as_secs(), 900);
    assert_eq!(pause.after(false).as_secs(), 16);
}
