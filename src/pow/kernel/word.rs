//! Machine words as rows of lanes, and Curl's three rounds on them.
//!
//! A trit is two bits in each lane. Between rounds their polarity moves on, so that no round needs a NOT:
//! `(L, h)` → `(l, H)` → `(L, H)` → `(L, h)`, where `L` is "the trit is 1", `h` is "the trit is not -1", and `l`, `H`
//! are their complements. Four operations a round with and, or, xor, and-not; two where a word has a ternary one.

use super::rounds::{self, State};
use super::{Plan, Work};
use crate::pow::verify::Claim;

/// One trit in each place of two rows of bits.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Trit<W> {
    /// `L` or `l`, by round.
    pub(crate) low: W,
    /// `h` or `H`, by round.
    pub(crate) high: W,
}

/// A row of bits, and Curl's rounds on two rows of trits.
pub(crate) trait Bits: Copy {
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    /// `!self & other`.
    fn andn(self, other: Self) -> Self;

    /// A round from `(L, h)` to `(l, H)`.
    #[inline(always)]
    fn round_1(x: Trit<Self>, y: Trit<Self>) -> Trit<Self> {
        let differs = x.high.xor(y.low);
        Trit { low: differs.or(x.low), high: differs.and(x.low.xor(y.high)) }
    }

    /// A round from `(l, H)` to `(L, H)`.
    #[inline(always)]
    fn round_2(x: Trit<Self>, y: Trit<Self>) -> Trit<Self> {
        let differs = x.high.xor(y.low);
        Trit { low: differs.andn(x.low), high: differs.and(x.low.xor(y.high)) }
    }

    /// A round from `(L, H)` to `(L, h)`.
    #[inline(always)]
    fn round_3(x: Trit<Self>, y: Trit<Self>) -> Trit<Self> {
        let differs = x.high.xor(y.low);
        Trit { low: x.low.andn(differs), high: differs.or(x.low.xor(y.high)) }
    }
}

/// A machine word of [`Word::LANES`] lanes. Values exist only inside a kernel that the processor can run.
pub(super) trait Word: Bits + Send + 'static {
    /// Lanes, a multiple of 64.
    const LANES: usize;

    /// The same eight bits over and over.
    fn splat(byte: u8) -> Self;
    /// Lane `i` is bit `i % 64` of word `i / 64`; words beyond the lanes are ignored.
    fn from_words(words: &[u64; 8]) -> Self;
    /// The inverse; words beyond the lanes are zero.
    fn to_words(self) -> [u64; 8];
    /// Three rounds from one state to another.
    #[inline(always)]
    fn across(from: &State<Self>, to: &mut State<Self>) {
        rounds::across(from, to);
    }
    /// [`load`](super::batch::load), compiled for this word.
    fn load(work: &mut Work<Self>, claims: &[Claim]);
    /// [`transform`](super::transform), compiled for this word.
    fn transform(work: &mut Work<Self>, plan: &Plan);
}

impl<W: Bits> Trit<W> {
    /// Lanes in which the trit, `(L, h)`, is 0.
    #[inline(always)]
    pub(super) fn zeros(self) -> W {
        self.low.andn(self.high)
    }
}

macro_rules! integer {
    ($name:ty) => {
        impl Bits for $name {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                self & other
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                self | other
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
            #[inline(always)]
            fn andn(self, other: Self) -> Self {
                !self & other
            }
        }
    };
}

integer!(u8);
integer!(u64);

impl Word for u64 {
    const LANES: usize = 64;

    #[inline(always)]
    fn splat(byte: u8) -> Self {
        u64::from_ne_bytes([byte; 8])
    }
    #[inline(always)]
    fn from_words(words: &[u64; 8]) -> Self {
        words[0]
    }
    #[inline(always)]
    fn to_words(self) -> [u64; 8] {
        [self, 0, 0, 0, 0, 0, 0, 0]
    }
    fn load(work: &mut Work<Self>, claims: &[Claim]) {
        super::batch::load(work, claims);
    }
    fn transform(work: &mut Work<Self>, plan: &Plan) {
        super::transform(work, plan);
    }
}
