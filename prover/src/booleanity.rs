//! The zero-check that all auxiliary entries are bits (section 8.4 of the document).
//!
//! The prover's first three rounds work on bits alone: eight rows at a time, every round
//! polynomial is a quadratic form in eight bits whose public coefficients change with the
//! challenges, so the weighted sums of all products of two bits, taken once, serve all three
//! rounds (after the small-value technique of Bagad, Dao, Domb and Thaler 2024). Masked additions
//! only: nothing branches on a bit or is indexed by one.

use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::field::{BitSum, Fq, Lanes, lanes};
use crate::poly::eq_table;
use crate::replay::{Entry, Replay};
use crate::rows::{AuxiliaryRows, BitMatrix};
use crate::sumcheck::Prover;

/// Rows bound together by the first three rounds.
const GROUP: usize = 8;
/// Unordered pairs of rows of a group, a row with itself included.
const PAIRS: usize = GROUP * (GROUP + 1) / 2;

/// The verifier's side, for `rows` auxiliary rows.
pub fn replay(replay: &mut Replay, rows: usize, log_columns: usize) {
    let log_rows = rows.next_power_of_two().trailing_zeros() as usize;
    let at = replay.transcript.challenge_point(log_rows + log_columns);
    let zero = crate::forms::Form::constant(Fq::ZERO);
    let (last, point) = replay.zero_check(zero, &at);
    let bit = replay.message();
    let square = replay.product(bit, bit);
    replay.constrain(&[(last, Fq::ONE), (square, -Fq::ONE), (bit.form, Fq::ONE)]);
    let (row_point, column_point) = point.split_at(log_rows);
    let weights = eq_table(row_point);
    let column = replay.column(eq_table(column_point));
    let entries = weights[..rows].iter().enumerate();
    let entries = entries
        .map(|(row, weight)| Entry {
            column,
            row,
            coefficient: *weight,
        })
        .collect();
    replay.claim(entries, bit.form);
}

/// The prover's side: draws the point, proves, sends the last message.
pub fn run(prover: &mut Prover, rows: &impl AuxiliaryRows, log_columns: usize) {
    let log_rows = rows.count().next_power_of_two().trailing_zeros() as usize;
    let at = prover.transcript.challenge_point(log_rows + log_columns);
    let bit = rows.prove_booleanity(prover, &at);
    prover.send(bit);
}

/// The rounds of the zero-check over a bit matrix of more than 8 rows.
pub fn prove(bits: &BitMatrix, prover: &mut Prover, at: &[Fq]) -> Fq {
    let log_columns = bits.columns().trailing_zeros() as usize;
    let log_rows = at.len() - log_columns;
    let groups = 1 << (log_rows - 3);
    let group_weights = eq_table(&at[3..log_rows]);
    let column_weights: Vec<Lanes> = eq_table(&at[log_rows..]).iter().map(lanes).collect();
    let zeros = vec![0; bits.columns() / 64];
    let group = |i: usize| -> [&[u64]; GROUP] {
        std::array::from_fn(|k| {
            if i + k * groups < bits.count() {
                bits.row(i + k * groups)
            } else {
                &zeros
            }
        })
    };

    let sums = (0..groups)
        .into_par_iter()
        .map(|i| pair_sums(&group(i), &column_weights).map(|sum| sum * group_weights[i]))
        .reduce(
            || [Fq::ZERO; PAIRS],
            |a, b| std::array::from_fn(|pair| a[pair] + b[pair]),
        );
    let sums = Zeroizing::new(sums);

    // Row k of the group is the k-th bit; `values` are linear in the eight bits.
    let mut values: Vec<[Fq; GROUP]> = (0..GROUP)
        .map(|k| std::array::from_fn(|i| if i == k { Fq::ONE } else { Fq::ZERO }))
        .collect();
    let mut challenges = Vec::with_capacity(at.len());
    for round in 0..3 {
        let half = values.len() / 2;
        let weights = eq_table(&at[round + 1..3]);
        let (mut g0, mut g2) = (Fq::ZERO, Fq::ZERO);
        for (k, weight) in weights.iter().enumerate() {
            let beyond = std::array::from_fn(|i| values[k + half][i].double() - values[k][i]);
            g0 += *weight * quadratic_form(&values[k], &sums);
            g2 += *weight * quadratic_form(&beyond, &sums);
        }
        let r = prover.round(g0, g2);
        challenges.push(r);
        for k in 0..half {
            values[k] =
                std::array::from_fn(|i| values[k][i] + r * (values[k + half][i] - values[k][i]));
        }
        values.truncate(half);
    }

    let coefficients = values[0];
    let mut table = Zeroizing::new(vec![Fq::ZERO; groups << log_columns]);
    table
        .par_chunks_mut(bits.columns())
        .enumerate()
        .for_each(|(i, out)| {
            for (word, out) in out.chunks_exact_mut(64).enumerate() {
                for (row, coefficient) in group(i).iter().zip(coefficients) {
                    for (bit, out) in out.iter_mut().enumerate() {
                        *out += coefficient.masked(0u64.wrapping_sub(row[word] >> bit & 1));
                    }
                }
            }
        });
    let ([bit], _) = prover.zero_check(&at[3..], [table], |[bit]| bit.square() - *bit);
    bit
}

/// `Σ_columns weight · bit_k · bit_l` for all `k ≤ l`.
fn pair_sums(rows: &[&[u64]; GROUP], weights: &[Lanes]) -> [Fq; PAIRS] {
    let mut out = [Fq::ZERO; PAIRS];
    let mut pair = 0;
    for k in 0..GROUP {
        for l in k..GROUP {
            let mut sum = BitSum::default();
            for ((a, b), weights) in rows[k].iter().zip(rows[l]).zip(weights.chunks_exact(64)) {
                let both = a & b;
                for (bit, weight) in weights.iter().enumerate() {
                    sum.add(weight, 0u64.wrapping_sub(both >> bit & 1));
                }
            }
            out[pair] = sum.finish();
            pair += 1;
        }
    }
    out
}

/// The weighted sum of `x² - x` for `x = Σ coefficient_k · bit_k`, from the sums of pairs.
fn quadratic_form(coefficients: &[Fq; GROUP], sums: &[Fq; PAIRS]) -> Fq {
    let mut out = Fq::ZERO;
    let mut pair = 0;
    for k in 0..GROUP {
        for l in k..GROUP {
            let product = coefficients[k] * coefficients[l];
            let factor = if k == l {
                product - coefficients[k]
            } else {
                product.double()
            };
            out += factor * sums[pair];
            pair += 1;
        }
    }
    out
}
