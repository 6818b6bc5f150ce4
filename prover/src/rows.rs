//! Secret rows: bit matrices and what the proof needs of them.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "bits move between signed and unsigned words"
)]

use curve25519_dalek::ristretto::RistrettoPoint;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::booleanity;
use crate::commitment;
use crate::field::{BitSum, Fq, lanes};
use crate::generators::Generators;
use crate::sumcheck::Prover;

/// Columns that one task of a combination covers.
const CHUNK: usize = 128;

/// Rows that can be combined linearly under public coefficients.
pub trait Rows: Sync {
    /// `Σ coefficient · row` over (row number, coefficient).
    fn combine(&self, terms: &[(usize, Fq)]) -> Zeroizing<Vec<Fq>>;
}

/// The auxiliary rows of a proof.
///
/// [`BitMatrix`] is the only implementation outside of tests, where rows that are not bits take
/// its place to show that a dishonest prover fails.
pub trait AuxiliaryRows: Rows {
    /// Number of rows.
    fn count(&self) -> usize;

    /// Commitments to the rows, without blindings.
    fn commit(
        &self,
        generators: &Generators,
        constant_time: bool,
    ) -> Zeroizing<Vec<RistrettoPoint>>;

    /// The first `len` integers of a table whose bits lie in consecutive slabs of `rows` rows.
    fn gather(
        &self,
        first_row: usize,
        rows: usize,
        slabs: usize,
        len: usize,
    ) -> Zeroizing<Vec<i64>>;

    /// Proves that all entries are bits, at `at`; returns the rows' extension at the last point.
    fn prove_booleanity(&self, prover: &mut Prover, at: &[Fq]) -> Fq;
}

/// Rows of bits, 64 to a word; column `c` is bit `c mod 64` of word `c div 64`.
pub struct BitMatrix {
    words_per_row: usize,
    words: Zeroizing<Vec<u64>>,
}

impl BitMatrix {
    /// Zeros. `columns` is a multiple of 64.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        let words_per_row = columns / 64;
        Self {
            words_per_row,
            words: Zeroizing::new(vec![0; rows * words_per_row]),
        }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.words_per_row * 64
    }

    /// The words of a row.
    pub fn row(&self, row: usize) -> &[u64] {
        &self.words[row * self.words_per_row..][..self.words_per_row]
    }

    /// Sets the entry at `index` of the slab that starts at `first_row`; it must have been 0.
    #[inline]
    pub fn put(&mut self, first_row: usize, index: usize, bit: u64) {
        self.words[first_row * self.words_per_row + index / 64] |= bit << (index % 64);
    }
}

impl Rows for BitMatrix {
    fn combine(&self, terms: &[(usize, Fq)]) -> Zeroizing<Vec<Fq>> {
        let terms: Vec<_> = terms
            .iter()
            .map(|(row, coefficient)| (self.row(*row), lanes(coefficient)))
            .collect();
        let mut out = Zeroizing::new(vec![Fq::ZERO; self.columns()]);
        out.par_chunks_mut(CHUNK)
            .enumerate()
            .for_each(|(chunk, out)| {
                let mut sums = Zeroizing::new([BitSum::default(); CHUNK]);
                for (row, coefficient) in &terms {
                    let words = row[chunk * CHUNK / 64..].iter();
                    for (word, sums) in words.zip(sums.chunks_exact_mut(64)) {
                        for (bit, sum) in sums.iter_mut().enumerate() {
                            sum.add(coefficient, 0u64.wrapping_sub(word >> bit & 1));
                        }
                    }
                }
                for (out, sum) in out.iter_mut().zip(sums.iter()) {
                    *out = sum.finish();
                }
            });
        out
    }
}

impl AuxiliaryRows for BitMatrix {
    fn count(&self) -> usize {
        self.words.len() / self.words_per_row
    }

    fn commit(
        &self,
        generators: &Generators,
        constant_time: bool,
    ) -> Zeroizing<Vec<RistrettoPoint>> {
        commitment::commit_bits(generators, self, constant_time)
    }

    fn gather(
        &self,
        first_row: usize,
        rows: usize,
        slabs: usize,
        len: usize,
    ) -> Zeroizing<Vec<i64>> {
        let mut out = Zeroizing::new(vec![0; len]);
        let slab_words = rows * self.words_per_row;
        for slab in 0..slabs {
            let words =
                &self.words[first_row * self.words_per_row + slab * slab_words..][..slab_words];
            for (word, out) in words.iter().zip(out.chunks_mut(64)) {
                for (bit, out) in out.iter_mut().enumerate() {
                    *out |= ((word >> bit & 1) as i64) << slab;
                }
            }
        }
        out
    }

    fn prove_booleanity(&self, prover: &mut Prover, at: &[Fq]) -> Fq {
        booleanity::prove(self, prover, at)
    }
}
