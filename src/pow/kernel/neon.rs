//! The word of aarch64: 128 lanes.
//!
//! Its rounds from one state to another are written by hand: in-order cores such as the Cortex-A53 wait for each result
//! unless the three rounds of a step belong to three different trits, which compilers do not arrange.
#![allow(unsafe_code, reason = "vector instructions; see the justification")]
// JUSTIFICATION: as in `x86.rs`; and the hand-written loop needs two to three times fewer cycles on an in-order core
// (llvm-mca). It reads and writes within the room that `State` has around its trits.

use core::arch::aarch64::{uint64x2_t, vandq_u64, vbicq_u64, veorq_u64, vld1q_u64, vorrq_u64, vst1q_u64};
use core::arch::aarch64::{
    vcopyq_laneq_u64, vdupq_laneq_u64, vdupq_n_s64, vdupq_n_u8, vextq_u64, vreinterpretq_u64_u8, vshlq_u64,
};
use core::arch::asm;

use super::ring::Pair;
use super::rounds::{ROOM, RUN, State};
use super::word::{Bits, Trit, Word};
use super::{Plan, Work};
use crate::pow::curl::STATE_TRITS;
use crate::pow::verify::Claim;

/// 128 lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neon(uint64x2_t);

impl Bits for Neon {
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: the processor has NEON, as `Kernel::detect` found.
        Self(unsafe { vandq_u64(self.0, other.0) })
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vorrq_u64(self.0, other.0) })
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { veorq_u64(self.0, other.0) })
    }
    #[inline(always)]
    fn andn(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vbicq_u64(other.0, self.0) })
    }
}

impl Word for Neon {
    const LANES: usize = 128;

    #[inline(always)]
    fn splat(byte: u8) -> Self {
        // SAFETY: as above.
        Self(unsafe { vreinterpretq_u64_u8(vdupq_n_u8(byte)) })
    }
    #[inline(always)]
    fn from_words(words: &[u64; 8]) -> Self {
        // SAFETY: two of the eight words are read.
        Self(unsafe { vld1q_u64(words.as_ptr()) })
    }
    #[inline(always)]
    fn to_words(self) -> [u64; 8] {
        let mut words = [0; 8];
        // SAFETY: two of the eight words are written.
        unsafe { vst1q_u64(words.as_mut_ptr(), self.0) };
        words
    }
    fn across(from: &State<Self>, to: &mut State<Self>) {
        across(&from.0, &mut to.0);
    }
    fn load(work: &mut Work<Self>, claims: &[Claim]) {
        super::batch::load(work, claims);
    }
    fn transform(work: &mut Work<Self>, plan: &Plan) {
        super::transform(work, plan);
    }
}

/// Two words side by side, see [`Pair`].
#[derive(Debug, Clone, Copy)]
pub(super) struct NeonPair(uint64x2_t);

impl NeonPair {
    /// `(low, high)` of two registers.
    #[inline(always)]
    fn joined(low: uint64x2_t, high: uint64x2_t) -> Self {
        // SAFETY: every aarch64 target of Rust's has NEON.
        Self(unsafe { vcopyq_laneq_u64::<1, 1>(low, high) })
    }
}

impl Pair for NeonPair {
    #[inline(always)]
    fn new(low: u64, high: u64) -> Self {
        // SAFETY: two words are read.
        Self(unsafe { vld1q_u64([low, high].as_ptr()) })
    }
    #[inline(always)]
    fn get(self) -> (u64, u64) {
        let mut words = [0; 2];
        // SAFETY: two words are written.
        unsafe { vst1q_u64(words.as_mut_ptr(), self.0) };
        (words[0], words[1])
    }
    #[inline(always)]
    fn funnel(self, next: Self, right: u32) -> Self {
        let right = i64::from(right);
        // SAFETY: as above; a shift by 64 gives 0.
        unsafe {
            let (right, left) = (vdupq_n_s64(-right), vdupq_n_s64(64 - right));
            Self(vorrq_u64(vshlq_u64(self.0, right), vshlq_u64(next.0, left)))
        }
    }
    #[inline(always)]
    fn crossed(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { veorq_u64(vextq_u64::<1>(self.0, self.0), other.0) })
    }
    #[inline(always)]
    fn end_1(self, differs: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let low = vdupq_laneq_u64::<0>(differs.0);
            Self::joined(vorrq_u64(low, self.0), vandq_u64(low, differs.0))
        }
    }
    #[inline(always)]
    fn end_2(self, differs: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let low = vdupq_laneq_u64::<0>(differs.0);
            Self::joined(vbicq_u64(self.0, low), vandq_u64(low, differs.0))
        }
    }
    #[inline(always)]
    fn end_3(self, differs: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let low = vdupq_laneq_u64::<0>(differs.0);
            Self::joined(vbicq_u64(low, self.0), vorrq_u64(low, differs.0))
        }
    }
}

/// Trits of a state and the room around them.
type Buffer = [Trit<Neon>; ROOM + STATE_TRITS + ROOM];

/// First step: its load is the first operand that anything needs, `a[-2]`.
const FIRST: isize = -9;

/// Steps of one turn of the loop: twelve slots of registers, eight runs.
const TURN: usize = 24;

/// Turns: the last needed result is `d[729]`, which is `d[0]` again, at step 731.
const TURNS: usize = 31;

/// Three rounds from one state to another.
///
/// Step `j` stores `d[j - 3]`, loads `a[j + 7]`, and finishes `b[j + 1]`, `c[j]` and `d[j - 2]` (names as in
/// [`rounds`](super::rounds)): what one needs was made a step before at the latest, and the order within a step leaves
/// five instructions between any result and its use. `b[i]` takes the registers of `a[i]`, `c[i]` those of `b[i - 2]`,
/// `d[i]` those of `c[i]`; so twelve slots of two registers suffice. The first steps work on whatever the registers
/// hold: nothing of that is needed, and its results go to the room before the state.
fn across(from: &Buffer, to: &mut Buffer) {
    const {
        let last = FIRST + (TURN * TURNS).cast_signed() - 1;
        assert!(FIRST - 3 + ROOM.cast_signed() >= 0, "first result");
        assert!(last - 3 >= STATE_TRITS.cast_signed(), "d[729]");
        assert!(last - 3 < (STATE_TRITS + ROOM).cast_signed(), "last result");
        // Operands of run 1 are the last to be read below the state, those of run 0 the first above it.
        assert!(RUN.cast_signed() - (last + 7) / 8 >= -ROOM.cast_signed(), "last operand");
    }
    let run = |number: usize| {
        let at = ROOM + if number == 0 { STATE_TRITS + 1 } else { RUN * number + 1 };
        // Of the whole buffer, as the run goes on before this place.
        from.as_ptr().wrapping_add(at)
    };
    let results = to[ROOM.checked_add_signed(FIRST - 3).expect("asserted")..].as_mut_ptr();
    // SAFETY: the loop reads 32 bytes at `run(i) - 32 n` for n of 0 to 93 and writes 32 bytes at `results + 32 n` for
    // n of 0 to 743: within the buffers, by the assertions above. It uses no stack.
    unsafe {
        asm!(
            "low0 .req v0", "high0 .req v1", "first0 .req q0", "second0 .req q1",
            "low1 .req v2", "high1 .req v3", "first1 .req q2", "second1 .req q3",
            "low2 .req v4", "high2 .req v5", "first2 .req q4", "second2 .req q5",
            "low3 .req v6", "high3 .req v7", "first3 .req q6", "second3 .req q7",
            "low4 .req v8", "high4 .req v9", "first4 .req q8", "second4 .req q9",
            "low5 .req v10", "high5 .req v11", "first5 .req q10", "second5 .req q11",
            "low6 .req v12", "high6 .req v13", "first6 .req q12", "second6 .req q13",
            "low7 .req v14", "high7 .req v15", "first7 .req q14", "second7 .req q15",
            "low8 .req v16", "high8 .req v17", "first8 .req q16", "second8 .req q17",
            "low9 .req v18", "high9 .req v19", "first9 .req q18", "second9 .req q19",
            "low10 .req v20", "high10 .req v21", "first10 .req q20", "second10 .req q21",
            "low11 .req v22", "high11 .req v23", "first11 .req q22", "second11 .req q23",
            ".macro osmia_step b, b_y, c_x, c, d, d_y, next, from, offset, stored",
            "eor v24.16b, high\\b\\().16b, low\\b_y\\().16b",
            "eor v25.16b, low\\b\\().16b, high\\b_y\\().16b",
            "eor v28.16b, high\\d\\().16b, low\\d_y\\().16b",
            "eor v29.16b, low\\d\\().16b, high\\d_y\\().16b",
            "eor v26.16b, high\\c_x\\().16b, low\\c\\().16b",
            "eor v27.16b, low\\c_x\\().16b, high\\c\\().16b",
            "stp first\\next, second\\next, [{to}, #\\stored]",
            "ldp first\\next, second\\next, [\\from, #\\offset]",
            "orr low\\b\\().16b, v24.16b, low\\b\\().16b",
            "and high\\b\\().16b, v24.16b, v25.16b",
            "bic low\\c\\().16b, low\\c_x\\().16b, v26.16b",
            "and high\\c\\().16b, v26.16b, v27.16b",
            "bic low\\d\\().16b, v28.16b, low\\d\\().16b",
            "orr high\\d\\().16b, v28.16b, v29.16b",
            ".endm",
            "2:",
            "osmia_step 4, 8, 3, 1, 11, 0, 10, {from6}, 0, 0",
            "osmia_step 5, 9, 4, 2, 0, 1, 11, {from7}, 0, 32",
            "osmia_step 6, 10, 5, 3, 1, 2, 0, {from0}, -32, 64",
            "osmia_step 7, 11, 6, 4, 2, 3, 1, {from1}, -32, 96",
            "osmia_step 8, 0, 7, 5, 3, 4, 2, {from2}, -32, 128",
            "osmia_step 9, 1, 8, 6, 4, 5, 3, {from3}, -32, 160",
            "osmia_step 10, 2, 9, 7, 5, 6, 4, {from4}, -32, 192",
            "osmia_step 11, 3, 10, 8, 6, 7, 5, {from5}, -32, 224",
            "osmia_step 0, 4, 11, 9, 7, 8, 6, {from6}, -32, 256",
            "osmia_step 1, 5, 0, 10, 8, 9, 7, {from7}, -32, 288",
            "osmia_step 2, 6, 1, 11, 9, 10, 8, {from0}, -64, 320",
            "osmia_step 3, 7, 2, 0, 10, 11, 9, {from1}, -64, 352",
            "osmia_step 4, 8, 3, 1, 11, 0, 10, {from2}, -64, 384",
            "osmia_step 5, 9, 4, 2, 0, 1, 11, {from3}, -64, 416",
            "osmia_step 6, 10, 5, 3, 1, 2, 0, {from4}, -64, 448",
            "osmia_step 7, 11, 6, 4, 2, 3, 1, {from5}, -64, 480",
            "osmia_step 8, 0, 7, 5, 3, 4, 2, {from6}, -64, 512",
            "osmia_step 9, 1, 8, 6, 4, 5, 3, {from7}, -64, 544",
            "osmia_step 10, 2, 9, 7, 5, 6, 4, {from0}, -96, 576",
            "osmia_step 11, 3, 10, 8, 6, 7, 5, {from1}, -96, 608",
            "osmia_step 0, 4, 11, 9, 7, 8, 6, {from2}, -96, 640",
            "osmia_step 1, 5, 0, 10, 8, 9, 7, {from3}, -96, 672",
            "osmia_step 2, 6, 1, 11, 9, 10, 8, {from4}, -96, 704",
            "osmia_step 3, 7, 2, 0, 10, 11, 9, {from5}, -96, 736",
            "sub {from0}, {from0}, #96",
            "sub {from1}, {from1}, #96",
            "sub {from2}, {from2}, #96",
            "sub {from3}, {from3}, #96",
            "sub {from4}, {from4}, #96",
            "sub {from5}, {from5}, #96",
            "sub {from6}, {from6}, #96",
            "sub {from7}, {from7}, #96",
            "add {to}, {to}, #768",
            "subs {turns}, {turns}, #1",
            "b.ne 2b",
            ".purgem osmia_step",
            from0 = inout(reg) run(0) => _,
            from1 = inout(reg) run(1) => _,
            from2 = inout(reg) run(2) => _,
            from3 = inout(reg) run(3) => _,
            from4 = inout(reg) run(4) => _,
            from5 = inout(reg) run(5) => _,
            from6 = inout(reg) run(6) => _,
            from7 = inout(reg) run(7) => _,
            to = inout(reg) results => _,
            turns = inout(reg) TURNS => _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
            out("v6") _, out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _, out("v16") _, out("v17") _,
            out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _,
            options(nostack),
        );
    }
}
