//! The rounds themselves: three at a time over all trits, or over a list of places.
//!
//! With `e` the distance of the third of three rounds, the other two have `4 e` and `-2 e`. Along the line of places
//! `e j`, three rounds are `b[j] = g(a[j], a[j + 4])`, `c[j] = g(b[j], b[j - 2])`, `d[j] = g(c[j], c[j + 1])`: seven
//! trits in registers, one load and one store of a trit for three rounds. Two forms: in place, where each pass walks
//! places of its own, and from one state to another, where the results stand in order and the operands are eight
//! descending runs.

#![allow(unsafe_code, reason = "a loop whose places need no check")]
// JUSTIFICATION: two checks in each step cost a third of the time of the form in place.

use super::plan::{Pair, Round, power};
use super::word::{Trit, Word};
use crate::pow::curl::STATE_TRITS;

/// Trits of room before and behind the state: what a pass reads or writes beyond its ends.
pub(super) const ROOM: usize = 16;

/// Results that come out before that of trit 0: those of the last trits.
const EARLY: usize = 5;

/// `364^3` modulo 729, which is -1/8: distance of the third round of the first pass, and what each pass multiplies it by;
/// also the length of a run.
pub(super) const RUN: usize = 91;

/// A state with room around it. The trit behind the last is trit 0 again when a pass from one state to another begins.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct State<W>(pub(super) [Trit<W>; ROOM + STATE_TRITS + ROOM]);

impl<W: Word> State<W> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        let zero = Trit { low: W::splat(0), high: W::splat(!0) };
        Self([zero; ROOM + STATE_TRITS + ROOM])
    }

    /// The 729 trits.
    #[inline(always)]
    pub(super) fn trits(&mut self) -> &mut [Trit<W>; STATE_TRITS] {
        (&mut self.0[ROOM..ROOM + STATE_TRITS]).try_into().expect("as long")
    }
}

/// The trits that three rounds along a line hold, by step modulo four, two and one.
struct Line<W> {
    a: [Trit<W>; 4],
    b: [Trit<W>; 2],
    c: Trit<W>,
}

impl<W: Word> Line<W> {
    /// Takes the next `a`, gives the next `d`. `STEP`, modulo four, is a constant so that all stay in registers.
    #[inline(always)]
    fn step<const STEP: usize>(&mut self, a: Trit<W>) -> Trit<W> {
        let b = W::round_1(self.a[STEP % 4], a);
        let c = W::round_2(b, self.b[STEP % 2]);
        let d = W::round_3(self.c, c);
        (self.a[STEP % 4], self.b[STEP % 2], self.c) = (a, b, c);
        d
    }
}

/// A walk along a line: the places whose trits a [`Line`] holds, by step modulo five, as offsets in bytes.
struct Walk<'a, W> {
    trits: &'a mut [Trit<W>; STATE_TRITS],
    // Invariant: each is a multiple of a trit's size, below that of all.
    places: [usize; 5],
    /// From a place to the next, less the size of all.
    distance: usize,
}

impl<'a, W: Word> Walk<'a, W> {
    const ALL: usize = size_of::<[Trit<W>; STATE_TRITS]>();

    /// Places 0 to 4 times `e`, before step 1.
    #[inline(always)]
    fn new(trits: &'a mut [Trit<W>; STATE_TRITS], e: usize) -> Self {
        let place = |j: usize| j * e % STATE_TRITS * size_of::<Trit<W>>();
        let places = [place(4), place(0), place(1), place(2), place(3)];
        Self { trits, places, distance: place(1).wrapping_sub(Self::ALL) }
    }

    /// Loads the next operand and stores a result at the oldest place.
    #[inline(always)]
    fn step<const STEP: usize>(&mut self, line: &mut Line<W>) {
        let beyond = self.places[(STEP + 4) % 5].wrapping_add(self.distance);
        // Of a place beyond all and the same less all, the other one has wrapped around to a huge number.
        let next = beyond.min(beyond.wrapping_add(Self::ALL));
        // SAFETY: both summands of a place are multiples of a trit's size below ALL, so `next` is one, too.
        let new = unsafe { *self.trits.as_ptr().byte_add(next) };
        self.store::<STEP>(line.step::<STEP>(new));
        self.places[STEP % 5] = next;
    }

    #[inline(always)]
    fn store<const STEP: usize>(&mut self, trit: Trit<W>) {
        // SAFETY: by the invariant.
        unsafe { *self.trits.as_mut_ptr().byte_add(self.places[STEP % 5]) = trit };
    }
}

/// Three rounds in place; `e`, below 729, is the distance of the third.
#[inline(always)]
pub(super) fn in_place<W: Word>(state: &mut State<W>, e: usize) {
    let state = state.trits();
    let at = |j: usize| state[j * e % STATE_TRITS];
    // The last steps want these again, when they are overwritten.
    let first = [at(0), at(1), at(2), at(3)];
    let b = [W::round_1(first[0], at(4)), W::round_1(at(STATE_TRITS - 1), first[3])];
    let c_first = W::round_2(b[0], W::round_1(at(STATE_TRITS - 2), first[2]));
    let mut line = Line { a: [at(4), first[1], first[2], first[3]], b, c: c_first };
    let mut walk = Walk::new(state, e);
    // 724 steps, and four with operands that are kept.
    for _ in 0..36 {
        walk.step::<1>(&mut line);
        walk.step::<2>(&mut line);
        walk.step::<3>(&mut line);
        walk.step::<4>(&mut line);
        walk.step::<5>(&mut line);
        walk.step::<6>(&mut line);
        walk.step::<7>(&mut line);
        walk.step::<8>(&mut line);
        walk.step::<9>(&mut line);
        walk.step::<10>(&mut line);
        walk.step::<11>(&mut line);
        walk.step::<12>(&mut line);
        walk.step::<13>(&mut line);
        walk.step::<14>(&mut line);
        walk.step::<15>(&mut line);
        walk.step::<16>(&mut line);
        walk.step::<17>(&mut line);
        walk.step::<18>(&mut line);
        walk.step::<19>(&mut line);
        walk.step::<20>(&mut line);
    }
    walk.step::<1>(&mut line);
    walk.step::<2>(&mut line);
    walk.step::<3>(&mut line);
    walk.step::<4>(&mut line);
    walk.store::<5>(line.step::<5>(first[0]));
    walk.store::<6>(line.step::<6>(first[1]));
    walk.store::<7>(line.step::<7>(first[2]));
    walk.store::<8>(line.step::<8>(first[3]));
    walk.store::<9>(W::round_3(line.c, c_first));
}

/// Three rounds from one state to another.
#[inline(always)]
pub(super) fn across<W: Word>(from: &State<W>, to: &mut State<W>) {
    let from = &from.0;
    let at = |back: usize| from[ROOM + (STATE_TRITS - back) * RUN % STATE_TRITS];
    let a = [at(4), at(3), at(2), at(1)];
    let b = [W::round_1(at(6), a[2]), W::round_1(at(5), a[3])];
    let c = W::round_2(b[1], W::round_1(at(7), a[1]));
    let mut line = Line { a, b, c };
    let run = |number: usize| -> &[Trit<W>; RUN] {
        let last = ROOM + if number == 0 { STATE_TRITS } else { RUN * number };
        from[last + 1 - RUN..=last].try_into().expect("as long")
    };
    let runs: [&[Trit<W>; RUN]; 8] = [run(0), run(1), run(2), run(3), run(4), run(5), run(6), run(7)];
    let to = &mut to.0[ROOM - EARLY..];
    let (chunks, _) = to[..RUN * 8].as_chunks_mut::<8>();
    let chunks: &mut [[Trit<W>; 8]; RUN] = chunks.try_into().expect("as many");
    for (back, chunk) in chunks.iter_mut().enumerate() {
        let back = RUN - 1 - back;
        chunk[0] = line.step::<0>(runs[0][back]);
        chunk[1] = line.step::<1>(runs[1][back]);
        chunk[2] = line.step::<2>(runs[2][back]);
        chunk[3] = line.step::<3>(runs[3][back]);
        chunk[4] = line.step::<0>(runs[4][back]);
        chunk[5] = line.step::<1>(runs[5][back]);
        chunk[6] = line.step::<2>(runs[6][back]);
        chunk[7] = line.step::<3>(runs[7][back]);
    }
    to[RUN * 8] = line.step::<0>(from[ROOM + STATE_TRITS - RUN]);
    to.copy_within(..EARLY, STATE_TRITS);
    to[EARLY + STATE_TRITS] = to[EARLY];
}

/// `number` passes of three rounds; where trit `i` stands afterwards, as a factor of `i`.
pub(super) fn scale(passes: usize, in_place: bool) -> usize {
    if in_place { power(3 * passes.cast_signed()) } else { 1 }
}

/// One round of a list; `number` counts from 0.
#[inline(always)]
pub(super) fn listed<W: Word>(trits: &mut [Trit<W>; STATE_TRITS], round: &Round, number: usize) {
    match number % 3 {
        0 => each(trits, &round.pairs, W::round_1),
        1 => each(trits, &round.pairs, W::round_2),
        _ => each(trits, &round.pairs, W::round_3),
    }
}

#[inline(always)]
fn each<W: Word>(
    trits: &mut [Trit<W>; STATE_TRITS],
    pairs: &[Pair],
    round: impl Fn(Trit<W>, Trit<W>) -> Trit<W>,
) {
    for pair in pairs {
        let (x, y) = (usize::from(pair.x), usize::from(pair.y));
        trits[x] = round(trits[x], trits[y]);
    }
}
