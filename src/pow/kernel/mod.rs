//! Fast Curl-P-81: many hashes at once, one in each lane of a machine word.
//!
//! A batch costs 66 or 72 rounds of 729 trits in all lanes, and lists of a few hundred trits for the other rounds;
//! it holds two states of 23 KB for each 128 lanes.

mod batch;
mod check;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plan;
pub(super) mod ring;
mod rounds;
mod search;
mod word;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use batch::Check;
use plan::{Head, Tail, middle_rounds};
use rounds::{ROOM, RUN, State};
pub(super) use search::Batches;
use word::Word;
pub(crate) use word::{Bits, Trit};

use super::curl::STATE_TRITS;

/// An expression for the word of a kernel, which is a type in it.
macro_rules! with_word {
    (type $type:ty, $word:ident => $value:expr) => {{
        type $word = $type;
        $value
    }};
    ($kernel:expr, $word:ident => $value:expr) => {
        match $kernel.word {
            WordKind::U64 => with_word!(type u64, $word => $value),
            #[cfg(target_arch = "x86_64")]
            WordKind::Sse2 => with_word!(type x86::Sse2, $word => $value),
            #[cfg(target_arch = "x86_64")]
            WordKind::Avx => with_word!(type x86::Avx, $word => $value),
            #[cfg(target_arch = "x86_64")]
            WordKind::Ternary128 => with_word!(type x86::Ternary128, $word => $value),
            #[cfg(target_arch = "x86_64")]
            WordKind::Avx2 => with_word!(type x86::Avx2, $word => $value),
            #[cfg(target_arch = "x86_64")]
            WordKind::Ternary256 => with_word!(type x86::Ternary256, $word => $value),
            #[cfg(target_arch = "x86_64")]
            WordKind::Ternary512 => with_word!(type x86::Ternary512, $word => $value),
            #[cfg(target_arch = "aarch64")]
            WordKind::Neon => with_word!(type neon::Neon, $word => $value),
        }
    };
}

/// A kernel whose hashes are not those of the definition.
#[derive(Debug, thiserror::Error)]
#[error("kernel {kernel}: {what}")]
pub struct Wrong {
    kernel: &'static str,
    what: String,
}

/// A word of lanes and the form of its rounds, such that this processor can run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kernel {
    word: WordKind,
    in_place: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum WordKind {
    U64,
    #[cfg(target_arch = "x86_64")]
    Sse2,
    #[cfg(target_arch = "x86_64")]
    Avx,
    #[cfg(target_arch = "x86_64")]
    Ternary128,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Ternary256,
    #[cfg(target_arch = "x86_64")]
    Ternary512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl WordKind {
    fn detect() -> Vec<Self> {
        let mut found = vec![Self::U64];
        #[cfg(target_arch = "x86_64")]
        {
            let ternary = is_x86_feature_detected!("avx512f");
            found.extend(is_x86_feature_detected!("sse2").then_some(Self::Sse2));
            found.extend(is_x86_feature_detected!("avx").then_some(Self::Avx));
            found.extend((ternary && is_x86_feature_detected!("avx512vl")).then_some(Self::Ternary128));
            found.extend(is_x86_feature_detected!("avx2").then_some(Self::Avx2));
            found.extend((ternary && is_x86_feature_detected!("avx512vl")).then_some(Self::Ternary256));
            found.extend(ternary.then_some(Self::Ternary512));
        }
        #[cfg(target_arch = "aarch64")]
        found.extend(std::arch::is_aarch64_feature_detected!("neon").then_some(Self::Neon));
        found
    }
}

impl Kernel {
    /// Every kernel that this processor can run, the narrowest first.
    pub fn detect() -> Vec<Self> {
        let forms = |word| [true, false].map(|in_place| Self { word, in_place });
        WordKind::detect().into_iter().flat_map(forms).collect()
    }

    /// The kernel of that name, if this processor can run it.
    pub fn named(name: &str) -> Option<Self> {
        Self::detect().into_iter().find(|kernel| kernel.name() == name)
    }

    /// Its name: word and form, as in `neon/ping-pong`.
    pub fn name(self) -> &'static str {
        match (self.word, self.in_place) {
            (WordKind::U64, true) => "u64/in-place",
            (WordKind::U64, false) => "u64/ping-pong",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Sse2, true) => "sse2/in-place",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Sse2, false) => "sse2/ping-pong",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Avx, true) => "avx/in-place",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Avx, false) => "avx/ping-pong",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Ternary128, true) => "avx512vl-128/in-place",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Ternary128, false) => "avx512vl-128/ping-pong",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Avx2, true) => "avx2/in-place",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Avx2, false) => "avx2/ping-pong",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Ternary256, true) => "avx512vl-256/in-place",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Ternary256, false) => "avx512vl-256/ping-pong",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Ternary512, true) => "avx512/in-place",
            #[cfg(target_arch = "x86_64")]
            (WordKind::Ternary512, false) => "avx512/ping-pong",
            #[cfg(target_arch = "aarch64")]
            (WordKind::Neon, true) => "neon/in-place",
            #[cfg(target_arch = "aarch64")]
            (WordKind::Neon, false) => "neon/ping-pong",
        }
    }

    /// Hashes of one batch.
    pub fn lanes(self) -> usize {
        with_word!(self, W => W::LANES)
    }

    /// A search for nonces in share `share` of 256.
    pub(super) fn search(self, digest: &[u8; 32], zeros: u32, share: u8) -> Box<dyn Batches> {
        with_word!(self, W => Box::new(search::Lanes::<W>::new(digest, zeros, share, self.in_place)))
    }

    /// Room to hash up to [`Kernel::lanes`] blocks at once.
    pub(super) fn checker(self) -> Box<dyn Check> {
        with_word!(self, W => Box::new(batch::Lanes::<W>::new(self.in_place)))
    }

    /// Compares this kernel with the readable reference ([`curl`](super::curl)) on made-up blocks that follow from `seed`:
    /// what a search finds, what batches say of claims, and every trit that either evaluates. Gives the number of hashes
    /// compared, some 20 for each lane, each computed once more by the reference.
    ///
    /// # Errors
    /// The first difference: this processor or this build must not work with the kernel.
    pub fn check(self, seed: u64) -> Result<usize, Wrong> {
        let compared = with_word!(self, W => check::all::<W>(self, seed));
        compared.map_err(|what| Wrong { kernel: self.name(), what })
    }
}

/// Trailing zeros that a batch looks at: more than any block of any network needs, see
/// [`required_zeros`](super::required_zeros).
pub(super) const MAX_ZEROS: u32 = 61;

/// What a batch has to evaluate.
#[derive(Debug, Clone)]
struct Plan {
    /// Without one, all input trits may differ between lanes.
    head: Option<Head>,
    in_place: bool,
    passes: usize,
    tail: Tail,
}

impl Plan {
    fn new(head: Option<Head>, zeros: usize, in_place: bool) -> Self {
        let passes = middle_rounds(head.is_some()) / 3;
        let tail = Tail::new(zeros, rounds::scale(passes, in_place));
        Self { head, in_place, passes, tail }
    }
}

/// Trits that are the same in every lane, one byte each, twice over so that places need no reduction.
#[derive(Debug, Clone)]
struct Uniform {
    low: [u8; 2 * STATE_TRITS],
    high: [u8; 2 * STATE_TRITS],
}

impl Uniform {
    fn new() -> Self {
        Self { low: [0; 2 * STATE_TRITS], high: [!0; 2 * STATE_TRITS] }
    }

    fn set(&mut self, place: u16, trit: i8) {
        for place in [usize::from(place), usize::from(place) + STATE_TRITS] {
            self.low[place] = if trit == 1 { !0 } else { 0 };
            self.high[place] = if trit == -1 { 0 } else { !0 };
        }
    }

    #[inline(always)]
    fn round(&mut self, distance: usize, round: impl Fn(Trit<u8>, Trit<u8>) -> Trit<u8>) {
        let mut low = [0; STATE_TRITS];
        let mut high = [0; STATE_TRITS];
        let (low_y, high_y) = (&self.low[distance..], &self.high[distance..]);
        for place in 0..STATE_TRITS {
            let x = Trit { low: self.low[place], high: self.high[place] };
            let y = Trit { low: low_y[place], high: high_y[place] };
            let new = round(x, y);
            (low[place], high[place]) = (new.low, new.high);
        }
        for (half, new) in [(&mut self.low, &low), (&mut self.high, &high)] {
            half[..STATE_TRITS].copy_from_slice(new);
            half[STATE_TRITS..].copy_from_slice(new);
        }
    }
}

/// What a batch works on.
#[derive(Debug, Clone)]
struct Work<W> {
    state: Box<State<W>>,
    other: Box<State<W>>,
    /// Input trits that are the same in every lane, at the head's places.
    input: Uniform,
    scratch: Uniform,
    /// Input trits that differ: place and trit.
    lanes: Vec<(u16, Trit<W>)>,
}

impl<W: Word> Work<W> {
    fn new() -> Self {
        let (state, uniform) = (Box::new(State::new()), Uniform::new());
        Self { other: state.clone(), state, input: uniform.clone(), scratch: uniform, lanes: Vec::new() }
    }
}

/// The hash of every lane, as far as the plan's tail goes.
#[inline(always)]
fn transform<W: Word>(work: &mut Work<W>, plan: &Plan) {
    if let Some(head) = &plan.head {
        begin(work, head);
    }
    work.state.0[ROOM + STATE_TRITS] = work.state.0[ROOM];
    let mut e = RUN;
    for _ in 0..plan.passes {
        if plan.in_place {
            rounds::in_place(&mut work.state, e);
            e = e * RUN % STATE_TRITS;
        } else {
            W::across(&work.state, &mut work.other);
            std::mem::swap(&mut work.state, &mut work.other);
        }
    }
    let trits = work.state.trits();
    for (number, round) in plan.tail.rounds.iter().enumerate() {
        rounds::listed(trits, round, number);
    }
}

/// The first rounds: in all lanes only where they differ.
#[inline(always)]
fn begin<W: Word>(work: &mut Work<W>, head: &Head) {
    let trits = work.state.trits();
    let uniform = &mut work.scratch;
    uniform.clone_from(&work.input);
    for (place, trit) in &work.lanes {
        trits[usize::from(*place)] = *trit;
    }
    for (number, round) in head.rounds.iter().enumerate() {
        spread(trits, uniform, &round.spread);
        rounds::listed(trits, round, number);
        match number % 3 {
            0 => uniform.round(round.distance, u8::round_1),
            1 => uniform.round(round.distance, u8::round_2),
            _ => uniform.round(round.distance, u8::round_3),
        }
    }
    spread(trits, uniform, &head.rest);
}

#[inline(always)]
fn spread<W: Word>(trits: &mut [Trit<W>; STATE_TRITS], uniform: &Uniform, places: &[u16]) {
    for place in places {
        let place = usize::from(*place);
        trits[place] = Trit { low: W::splat(uniform.low[place]), high: W::splat(uniform.high[place]) };
    }
}

#[cfg(test)]
mod tests;
