//! Pedersen commitments to rows: bits in constant time or fast, secret scalars, flat parameters.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a pattern has at most 8 bits"
)]

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, MultiscalarMul, VartimeMultiscalarMul};
use rayon::prelude::*;
use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::field::Fq;
use crate::generators::{Generators, LOOKUP_BITS, SCAN_BITS};
use crate::rows::BitMatrix;

/// Rows that one task commits to: enough to keep a table in the cache while it serves them all.
const ROWS_PER_TASK: usize = 32;

/// Points for each row `Σ_j bit_j G_j`. Without blindings they are as secret as the bits: whoever
/// sees one can test guesses.
pub fn commit_bits(
    generators: &Generators,
    bits: &BitMatrix,
    constant_time: bool,
) -> Zeroizing<Vec<RistrettoPoint>> {
    let width = if constant_time {
        SCAN_BITS
    } else {
        LOOKUP_BITS
    };
    let tables = if constant_time {
        generators.scan_table()
    } else {
        generators.lookup_table()
    };
    let rows = crate::rows::AuxiliaryRows::count(bits);
    let mut out = Zeroizing::new(vec![RistrettoPoint::identity(); rows]);
    out.par_chunks_mut(ROWS_PER_TASK)
        .enumerate()
        .for_each(|(task, points)| {
            let blocks = tables.chunks_exact(1 << width).take(bits.columns() / width);
            for (block, table) in blocks.enumerate() {
                let (word, shift) = (block * width / 64, block * width % 64);
                for (i, point) in points.iter_mut().enumerate() {
                    let pattern =
                        bits.row(task * ROWS_PER_TASK + i)[word] >> shift & ((1 << width) - 1);
                    if constant_time {
                        *point += scan(table, pattern);
                    } else if pattern != 0 {
                        *point += table[pattern as usize];
                    }
                }
            }
        });
    out
}

/// `table[index]`, reading every entry.
fn scan(table: &[RistrettoPoint], index: u64) -> RistrettoPoint {
    let mut out = table[0];
    for (i, entry) in (1u64..).zip(&table[1..]) {
        out.conditional_assign(entry, i.ct_eq(&index));
    }
    out
}

/// Adds `blinding · H` to each point, in constant time.
pub fn blind(generators: &Generators, points: &mut [RistrettoPoint], blindings: &[Scalar]) {
    points
        .par_iter_mut()
        .zip(blindings)
        .for_each(|(point, blinding)| {
            *point += generators.h_table() * blinding;
        });
}

/// Encodings of points.
pub fn compress(points: &[RistrettoPoint]) -> Vec<CompressedRistretto> {
    points.par_iter().map(RistrettoPoint::compress).collect()
}

/// `Σ_j values_j G_j + blinding · H` for secret scalars.
pub fn commit_scalars(
    generators: &Generators,
    values: &[Fq],
    blinding: &Scalar,
    constant_time: bool,
) -> RistrettoPoint {
    let g = &generators.g[..values.len()];
    let chunk = chunk_size(values.len());
    let sum: RistrettoPoint = values
        .par_chunks(chunk)
        .zip(g.par_chunks(chunk))
        .map(|(values, g)| {
            let mut scalars = Zeroizing::new(Vec::with_capacity(values.len()));
            scalars.extend(values.iter().map(|value| value.to_scalar()));
            if constant_time {
                RistrettoPoint::multiscalar_mul(scalars.iter(), g)
            } else {
                RistrettoPoint::vartime_multiscalar_mul(scalars.iter(), g)
            }
        })
        .sum();
    sum + generators.h_table() * blinding
}

/// `Σ scalars_i points_i` for public values.
pub fn multi_scalar_mul(scalars: &[Fq], points: &[RistrettoPoint]) -> RistrettoPoint {
    let chunk = chunk_size(scalars.len());
    scalars
        .par_chunks(chunk)
        .zip(points.par_chunks(chunk))
        .map(|(scalars, points)| {
            RistrettoPoint::vartime_multiscalar_mul(
                scalars.iter().map(|scalar| scalar.to_scalar()),
                points,
            )
        })
        .sum()
}

/// One chunk per thread: the fixed cost of a multiplication is then paid least often.
fn chunk_size(len: usize) -> usize {
    len.div_ceil(rayon::current_num_threads()).max(64)
}
