//! Words of x86-64: SSE2, AVX2, and AVX-512 with its ternary operation on 256 and 512 bits.
#![allow(unsafe_code, reason = "vector instructions; see the justification")]
// JUSTIFICATION: the compiler does not turn rows of u64 into vector instructions where fourteen of them stay in
// registers, and portable vectors are not stable. All unsafe code is a call of an instruction that the processor may
// lack, and is sound because `Kernel::detect` is the only way to a kernel with such words.

use core::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_and_si128, _mm_andnot_si128, _mm_castpd_si128, _mm_castsi128_pd,
    _mm_cvtsi64_si128, _mm_move_sd, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8, _mm_shuffle_epi32,
    _mm_sll_epi64, _mm_srl_epi64, _mm_ternarylogic_epi64, _mm_unpacklo_epi64, _mm_xor_si128,
    _mm256_and_si256, _mm256_andnot_si256, _mm256_or_si256, _mm256_set1_epi8, _mm256_ternarylogic_epi64,
    _mm256_xor_si256, _mm512_and_si512, _mm512_andnot_si512, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use super::ring::Pair;
use super::word::{Bits, Trit, Word};
use super::{Plan, Work};
use crate::pow::verify::Claim;

/// 128 lanes; every x86-64 processor has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sse2(__m128i);

/// 128 lanes with the three-operand forms of the same instructions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx(__m128i);

/// 128 lanes with the ternary operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ternary128(__m128i);

/// 256 lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(__m256i);

/// 256 lanes with the ternary operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ternary256(__m256i);

/// 512 lanes with the ternary operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ternary512(__m512i);

macro_rules! word {
    ($name:ident, $feature:literal, $register:ty, $lanes:literal, $set:ident, $and:ident, $or:ident, $xor:ident, $andn:ident
     $(, $ternary:ident)?) => {
        impl Word for $name {
            const LANES: usize = $lanes;

            #[inline(always)]
            fn splat(byte: u8) -> Self {
                // SAFETY: the processor has the instruction, as `Kernel::detect` found.
                Self(unsafe { $set(byte.cast_signed()) })
            }
            #[inline(always)]
            fn from_words(words: &[u64; 8]) -> Self {
                // SAFETY: any bits are a register, and eight words are at least as long.
                Self(unsafe { core::ptr::read_unaligned(words.as_ptr().cast::<$register>()) })
            }
            #[inline(always)]
            fn to_words(self) -> [u64; 8] {
                let mut words = [0; 8];
                // SAFETY: as above.
                unsafe { core::ptr::write_unaligned(words.as_mut_ptr().cast::<$register>(), self.0) };
                words
            }
            fn load(work: &mut Work<Self>, claims: &[Claim]) {
                #[target_feature(enable = $feature)]
                fn compiled(work: &mut Work<$name>, claims: &[Claim]) {
                    super::batch::load(work, claims);
                }
                // SAFETY: the processor has the feature, as `Kernel::detect` found.
                unsafe { compiled(work, claims) }
            }
            fn transform(work: &mut Work<Self>, plan: &Plan) {
                #[target_feature(enable = $feature)]
                fn compiled(work: &mut Work<$name>, plan: &Plan) {
                    super::transform(work, plan);
                }
                // SAFETY: the processor has the feature, as `Kernel::detect` found.
                unsafe { compiled(work, plan) }
            }
        }

        impl Bits for $name {
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                // SAFETY: the processor has the instruction, as `Kernel::detect` found.
                Self(unsafe { $and(self.0, other.0) })
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $or(self.0, other.0) })
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $xor(self.0, other.0) })
            }
            #[inline(always)]
            fn andn(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $andn(self.0, other.0) })
            }
            $(
                #[inline(always)]
                fn round_1(x: Trit<Self>, y: Trit<Self>) -> Trit<Self> {
                    let differs = x.high.xor(y.low);
                    // SAFETY: as above.
                    let high = unsafe { $ternary::<{ A & (B ^ C) }>(differs.0, x.low.0, y.high.0) };
                    Trit { low: differs.or(x.low), high: Self(high) }
                }
                #[inline(always)]
                fn round_2(x: Trit<Self>, y: Trit<Self>) -> Trit<Self> {
                    let differs = x.high.xor(y.low);
                    // SAFETY: as above.
                    let high = unsafe { $ternary::<{ A & (B ^ C) }>(differs.0, x.low.0, y.high.0) };
                    Trit { low: differs.andn(x.low), high: Self(high) }
                }
                #[inline(always)]
                fn round_3(x: Trit<Self>, y: Trit<Self>) -> Trit<Self> {
                    let differs = x.high.xor(y.low);
                    // SAFETY: as above.
                    let high = unsafe { $ternary::<{ A | (B ^ C) }>(differs.0, x.low.0, y.high.0) };
                    Trit { low: x.low.andn(differs), high: Self(high) }
                }
            )?
        }
    };
}

// Truth tables of the ternary operation's operands. It serves for one half of a trit only: processors can do the plain
// operations at twice its rate, and a mixture keeps all of their units busy.
const A: i32 = 0xf0;
const B: i32 = 0xcc;
const C: i32 = 0xaa;

word!(
    Sse2,
    "sse2",
    __m128i,
    128,
    _mm_set1_epi8,
    _mm_and_si128,
    _mm_or_si128,
    _mm_xor_si128,
    _mm_andnot_si128
);
word!(Avx, "avx", __m128i, 128, _mm_set1_epi8, _mm_and_si128, _mm_or_si128, _mm_xor_si128, _mm_andnot_si128);
word!(
    Ternary128,
    "avx512f,avx512vl",
    __m128i,
    128,
    _mm_set1_epi8,
    _mm_and_si128,
    _mm_or_si128,
    _mm_xor_si128,
    _mm_andnot_si128,
    _mm_ternarylogic_epi64
);
word!(
    Avx2,
    "avx2",
    __m256i,
    256,
    _mm256_set1_epi8,
    _mm256_and_si256,
    _mm256_or_si256,
    _mm256_xor_si256,
    _mm256_andnot_si256
);
word!(
    Ternary256,
    "avx512f,avx512vl",
    __m256i,
    256,
    _mm256_set1_epi8,
    _mm256_and_si256,
    _mm256_or_si256,
    _mm256_xor_si256,
    _mm256_andnot_si256,
    _mm256_ternarylogic_epi64
);
word!(
    Ternary512,
    "avx512f",
    __m512i,
    512,
    _mm512_set1_epi8,
    _mm512_and_si512,
    _mm512_or_si512,
    _mm512_xor_si512,
    _mm512_andnot_si512,
    _mm512_ternarylogic_epi64
);

/// Two words side by side, see [`Pair`]. Every x86-64 processor has SSE2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sse2Pair(__m128i);

impl Sse2Pair {
    /// `(low, high)` of two registers.
    #[inline(always)]
    fn joined(low: __m128i, high: __m128i) -> Self {
        // SAFETY: the processor has SSE2.
        Self(unsafe { _mm_castpd_si128(_mm_move_sd(_mm_castsi128_pd(high), _mm_castsi128_pd(low))) })
    }
}

impl Pair for Sse2Pair {
    #[inline(always)]
    fn new(low: u64, high: u64) -> Self {
        // SAFETY: the processor has SSE2.
        Self(unsafe { _mm_set_epi64x(high.cast_signed(), low.cast_signed()) })
    }
    #[inline(always)]
    fn get(self) -> (u64, u64) {
        // SAFETY: a register's bits are two words.
        let [low, high]: [u64; 2] = unsafe { core::mem::transmute(self.0) };
        (low, high)
    }
    #[inline(always)]
    fn funnel(self, next: Self, right: u32) -> Self {
        // SAFETY: the processor has SSE2; a shift by 64 gives 0.
        unsafe {
            let (right, left) = (_mm_cvtsi64_si128(right.into()), _mm_cvtsi64_si128(64 - i64::from(right)));
            Self(_mm_or_si128(_mm_srl_epi64(self.0, right), _mm_sll_epi64(next.0, left)))
        }
    }
    #[inline(always)]
    fn crossed(self, other: Self) -> Self {
        // SAFETY: the processor has SSE2.
        Self(unsafe { _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(self.0), other.0) })
    }
    #[inline(always)]
    fn end_1(self, differs: Self) -> Self {
        // SAFETY: the processor has SSE2.
        unsafe {
            let low = _mm_unpacklo_epi64(differs.0, differs.0);
            Self::joined(_mm_or_si128(low, self.0), _mm_and_si128(low, differs.0))
        }
    }
    #[inline(always)]
    fn end_2(self, differs: Self) -> Self {
        // SAFETY: the processor has SSE2.
        unsafe {
            let low = _mm_unpacklo_epi64(differs.0, differs.0);
            Self::joined(_mm_andnot_si128(low, self.0), _mm_and_si128(low, differs.0))
        }
    }
    #[inline(always)]
    fn end_3(self, differs: Self) -> Self {
        // SAFETY: the processor has SSE2.
        unsafe {
            let low = _mm_unpacklo_epi64(differs.0, differs.0);
            Self::joined(_mm_andnot_si128(self.0, low), _mm_or_si128(low, differs.0))
        }
    }
}
