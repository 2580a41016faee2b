//! Asks time servers: a process of its own without rights. It measures, PID 1 judges and sets the clock.
//!
//! Standard input: a line `sources <ntp>,… <https>,…` whenever they change (`-` for none). Standard output: after
//! each round a line for each [`Sample`], and `round`. It ends when its input does.

mod https;

use std::io::{self, BufRead, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::boot::clock::{Kind, Sample};
use crate::sntp;

pub use https::{PORT as HTTPS_PORT, Roots};

/// An answer that has not come by then is lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Rounds until the first good one follow each other this fast (RFC 4330 section 10: > MUST NOT under any conditions
/// use a poll interval less than 15 seconds).
const EAGER: Duration = Duration::from_secs(16);

/// Time between rounds once the clock is confirmed.
const CALM: Duration = Duration::from_secs(900);

/// Eager rounds in a row; then each pause is twice as long.
const EAGER_ROUNDS: u32 = 6;

/// NTP answers that make a round good: web servers are left alone then.
const ENOUGH: usize = 3;

/// Port of NTP; tests use another.
pub const NTP_PORT: u16 = 123;

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// NTP servers.
    pub ntp: Vec<IpAddr>,
    /// Web servers with a certificate for their address.
    pub https: Vec<IpAddr>,
}

impl Sources {
    /// As a line of standard input.
    pub fn line(&self) -> String {
        let list = |list: &[IpAddr]| match list {
            [] => "-".to_owned(),
            _ => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        };
        format!("sources {} {}", list(&self.ntp), list(&self.https))
    }

    /// Reads such a line; words that are no address are left out.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("sources ")?.split(' ');
        let mut list = || Some(words.next()?.split(',').filter_map(|one| one.parse().ok()).collect());
        Some(Self { ntp: list()?, https: list()? })
    }
}

/// A line of standard output.
pub fn sample_line(sample: &Sample) -> String {
    let kind = match sample.kind {
        Kind::Ntp => "ntp",
        Kind::Https => "https",
    };
    format!("sample {kind} {} {} {}", sample.source, sample.offset_ns, sample.delay_ns)
}

/// Reads such a line.
pub fn parse_sample(line: &str) -> Option<Sample> {
    let mut words = line.strip_prefix("sample ")?.split(' ');
    let kind = match words.next()? {
        "ntp" => Kind::Ntp,
        "https" => Kind::Https,
        _ => return None,
    };
    let source = words.next()?.parse().ok()?;
    let mut number = || words.next()?.parse::<i64>().ok();
    Some(Sample { source, kind, offset_ns: number()?, delay_ns: number()?.max(0) })
}

/// PID 1's answers at the end of a round: the time is confirmed, or not.
pub const ACCEPTED: &str = "accepted";
/// See [`ACCEPTED`].
pub const REFUSED: &str = "refused";

/// What PID 1 says.
enum Heard {
    Sources(Sources),
    Accepted(bool),
}

impl Heard {
    fn parse(line: &str) -> Option<Self> {
        match line {
            ACCEPTED => Some(Self::Accepted(true)),
            REFUSED => Some(Self::Accepted(false)),
            _ => Sources::parse(line).map(Self::Sources),
        }
    }
}

/// Runs until standard input ends.
///
/// # Errors
/// Nobody reads standard output any more.
pub fn run() -> io::Result<()> {
    let (lines, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if let Some(line) = Heard::parse(&line)
                && lines.send(line).is_err()
            {
                return;
            }
        }
    });
    let roots = Roots::public();
    let mut sources = Sources::default();
    let mut pause = Pause::default();
    // Nothing to ask before the first list comes.
    let mut until = None;
    loop {
        let left = until.map(|until: Instant| until.saturating_duration_since(Instant::now()));
        let line = match left {
            Some(left) => heard.recv_timeout(left),
            None => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match line {
            Ok(Heard::Sources(new)) if new != sources => (sources, until) = (new, Some(Instant::now())),
            Ok(Heard::Sources(_)) => {}
            Ok(Heard::Accepted(accepted)) => until = Some(Instant::now() + pause.after(accepted)),
            Err(RecvTimeoutError::Timeout) => {
                report(&round(&sources, NTP_PORT, HTTPS_PORT, &roots))?;
                // The answer sets the time of the next round; should there be none, this does.
                until = Some(Instant::now() + CALM);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// How long to wait for the next round: after a good one [`CALM`], after others longer and longer.
#[derive(Debug, Default)]
struct Pause {
    refused: u32,
}

impl Pause {
    fn after(&mut self, accepted: bool) -> Duration {
        self.refused = if accepted { 0 } else { self.refused + 1 };
        match self.refused {
            0 => CALM,
            1..=EAGER_ROUNDS => EAGER,
            more => EAGER.saturating_mul(2_u32.saturating_pow((more - EAGER_ROUNDS).min(8))).min(CALM),
        }
    }
}

fn report(samples: &[Sample]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for sample in samples {
        writeln!(out, "{}", sample_line(sample))?;
    }
    writeln!(out, "round")?;
    out.flush()
}

/// Asks everybody at once; web servers only when too few time servers answer.
pub fn round(sources: &Sources, ntp_port: u16, https_port: u16, roots: &Roots) -> Vec<Sample> {
    let ask = |list: &[IpAddr], ask: &(dyn Fn(IpAddr) -> io::Result<Sample> + Sync)| {
        std::thread::scope(|scope| {
            let asked =
                list.iter().map(|source| scope.spawn(move || (source, ask(*source)))).collect::<Vec<_>>();
            let mut samples = Vec::new();
            for (source, result) in asked.into_iter().filter_map(|thread| thread.join().ok()) {
                match result {
                    Ok(sample) => samples.push(sample),
                    Err(error) => tracing::debug!(%source, %error, "no time"),
                }
            }
            samples
        })
    };
    let mut samples = ask(&sources.ntp, &|source| ntp((source, ntp_port).into()));
    if samples.len() < ENOUGH {
        samples.extend(ask(&sources.https, &|source| https::sample((source, https_port).into(), roots)));
    }
    samples
}

fn ntp(server: SocketAddr) -> io::Result<Sample> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Connected: answers from elsewhere do not arrive.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    let nonce = rand::random();
    let (sent, clock) = (unix_ns(), Instant::now());
    socket.send(&sntp::question(nonce))?;
    let mut packet = [0; 512];
    loop {
        let left = ANSWER_WITHIN.saturating_sub(clock.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut packet)?;
        let took = i64::try_from(clock.elapsed().as_nanos()).unwrap_or(i64::MAX);
        match sntp::answer(&packet[..length], nonce, sent, took) {
            Ok(sntp::Answer { offset_ns, delay_ns }) => {
                return Ok(Sample { source: server.ip(), kind: Kind::Ntp, offset_ns, delay_ns });
            }
            // Somebody guesses: the true answer may still come.
            Err(sntp::Error::NoAnswer) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// Nanoseconds since 1970 by the own clock.
fn unix_ns() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    i128::try_from(since).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;
