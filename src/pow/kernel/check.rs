//! A kernel beside the readable reference.

use super::word::Word;
use super::{Kernel, MAX_ZEROS, Plan, Work};
use crate::pow::curl;
use crate::pow::verify::Claim;
use crate::protocol::blake2b_256;

/// A made-up digest.
fn digest(seed: u64, number: u64) -> [u8; 32] {
    blake2b_256(&[seed.to_le_bytes(), number.to_le_bytes()].concat())
}

/// Gives how many hashes were compared, or the first difference.
pub(super) fn all<W: Word>(kernel: Kernel, seed: u64) -> Result<usize, String> {
    let mut compared = 0;
    for zeros in 1..5 {
        let [share, ..] = digest(seed, zeros.into());
        compared += search(kernel, &digest(seed, 100 + u64::from(zeros)), share, zeros, 2)?;
    }
    compared += claims(kernel, seed)?;
    for zeros in [1, 2, 5, 8, 9, 13, 14, 20, 27, 30, 45, MAX_ZEROS] {
        compared += trits::<W>(seed, zeros as usize, kernel.in_place)?;
    }
    Ok(compared)
}

/// The nonces that a batch reports are those of its lanes that have the zeros, no more and no fewer.
pub(super) fn search(
    kernel: Kernel,
    digest: &[u8; 32],
    share: u8,
    zeros: u32,
    batches: usize,
) -> Result<usize, String> {
    let mut some = kernel.search(digest, zeros, share);
    let mut every = kernel.search(digest, 0, share);
    for batch in 0..batches {
        let (mut hits, mut nonces) = (Vec::new(), Vec::new());
        some.step(&mut |nonce| hits.push(nonce));
        every.step(&mut |nonce| nonces.push(nonce));
        if nonces.len() != kernel.lanes() || nonces.iter().any(|nonce| nonce >> 56 != u64::from(share)) {
            return Err(format!("batch {batch} of share {share} tries {nonces:x?}"));
        }
        nonces.retain(|nonce| curl::trailing_zeros(digest, *nonce) >= zeros);
        if hits != nonces {
            return Err(format!(
                "batch {batch} of share {share} of {digest:x?}: {zeros} zeros at {hits:x?}, not {nonces:x?}"
            ));
        }
    }
    Ok(batches * kernel.lanes())
}

/// A full batch, and one that is not, of claims that just hold and just do not.
fn claims(kernel: Kernel, seed: u64) -> Result<usize, String> {
    let lanes = kernel.lanes() as u64;
    for count in [lanes, lanes / 3] {
        let mut claims = Vec::new();
        for lane in 0..count {
            let (digest, nonce) = (digest(seed, 1000 + lane), seed.rotate_left(17) ^ lane);
            let zeros = curl::trailing_zeros(&digest, nonce);
            // One in three claims too much.
            claims.push((Claim::new(&digest, nonce, zeros + u32::from(lane % 3 == 1)), lane % 3 != 1));
        }
        let (claims, holds): (Vec<Claim>, Vec<bool>) = claims.into_iter().unzip();
        if kernel.checker().check(&claims) != holds {
            return Err(format!("a batch of {count} claims is judged wrongly"));
        }
        if claims.iter().map(Claim::holds).ne(holds) {
            return Err("a claim alone is judged wrongly".to_owned());
        }
    }
    Ok(kernel.lanes())
}

/// Every trit that is evaluated for so many zeros, in every lane.
fn trits<W: Word>(seed: u64, zeros: usize, in_place: bool) -> Result<usize, String> {
    let blocks = (0..W::LANES as u64).map(|lane| (digest(seed, lane), seed.rotate_left(31) ^ lane));
    let blocks = blocks.collect::<Vec<_>>();
    let claims = blocks.iter().map(|(digest, nonce)| Claim::new(digest, *nonce, 0)).collect::<Vec<_>>();
    let hashes = blocks.iter().map(|(digest, nonce)| curl::hash(&curl::input(digest, *nonce)));
    let hashes = hashes.collect::<Vec<_>>();
    let (mut work, plan) = (Work::<W>::new(), Plan::new(None, zeros, in_place));
    W::load(&mut work, &claims);
    W::transform(&mut work, &plan);
    let trits = work.state.trits();
    if plan.tail.output.len() != zeros {
        return Err(format!("{} trits are evaluated for {zeros} zeros", plan.tail.output.len()));
    }
    for (back, place) in plan.tail.output.iter().enumerate() {
        let trit = trits[usize::from(*place)];
        let (low, high) = (trit.low.to_words(), trit.high.to_words());
        for (lane, hash) in hashes.iter().enumerate() {
            let bit = |row: &[u64; 8]| row[lane / 64] >> (lane % 64) & 1 == 1;
            let expected = hash[curl::HASH_TRITS - 1 - back];
            if (bit(&low), bit(&high)) != (expected == 1, expected != -1) {
                return Err(format!("lane {lane}, trit {back} from the end of the hash, for {zeros} zeros"));
            }
        }
    }
    Ok(blocks.len())
}
