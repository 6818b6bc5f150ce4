//! Sums of commitments, and their openings (section 13 of the document).
//!
//! At most one opened sum per commitment: two sums that differ by one member open that member.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::commitment::compress;
use crate::encoding::{decode_blindings, decode_commitment, encode_points};
use crate::error::{Error, Result};
use crate::field::Fq;
use crate::generators::Generators;
use crate::opening::verify::Equation;
use crate::poly;
use crate::statement::model::place;
use crate::statement::shape::Shape;
use crate::transcript::{Entropy, Transcript};

/// `Σ weight · commitment`; all weights are 1 if none are given.
pub fn add(shape: &Shape, commitments: &[&[u8]], weights: Option<&[i64]>) -> Result<Vec<u8>> {
    let weights = summand_weights(commitments.len(), weights)?;
    let mut sum = vec![RistrettoPoint::default(); shape.rows];
    for (commitment, weight) in commitments.iter().zip(weights) {
        let rows = decode_commitment(shape, commitment)?;
        sum.par_iter_mut().zip(rows).for_each(|(sum, row)| {
            *sum += if weight == Scalar::ONE {
                row.point
            } else {
                weight * row.point
            };
        });
    }
    Ok(encode_points(&compress(&sum)))
}

/// `Σ weight · blinding`; all weights are 1 if none are given.
pub fn add_blindings(
    shape: &Shape,
    blindings: &[&[u8]],
    weights: Option<&[i64]>,
) -> Result<Zeroizing<Vec<u8>>> {
    let weights = summand_weights(blindings.len(), weights)?;
    let mut sum = Zeroizing::new(vec![Scalar::ZERO; shape.rows]);
    for (blinding, weight) in blindings.iter().zip(weights) {
        let rows = decode_blindings(shape, blinding)?;
        sum.iter_mut()
            .zip(rows.iter())
            .for_each(|(sum, row)| *sum += weight * row);
    }
    let mut out = Zeroizing::new(Vec::with_capacity(32 * shape.rows));
    out.extend(sum.iter().flat_map(Scalar::to_bytes));
    Ok(out)
}

fn summand_weights(summands: usize, weights: Option<&[i64]>) -> Result<Vec<Scalar>> {
    if summands == 0 || weights.is_some_and(|weights| weights.len() != summands) {
        return Err(Error::Summands);
    }
    let scalar = |weight: &i64| Fq::from_i64(*weight).to_scalar();
    Ok(weights.map_or_else(
        || vec![Scalar::ONE; summands],
        |weights| weights.iter().map(scalar).collect(),
    ))
}

/// Checks that a commitment opens to `theta_sum` (int64 little-endian) under `blinding_sum`. Both
/// are public once a sum is opened, so this takes variable time.
pub fn check_opening(
    shape: &Shape,
    commitment: &[u8],
    theta_sum: &[u8],
    blinding_sum: &[u8],
) -> Result<()> {
    if theta_sum.len() != 8 * shape.parameters() {
        return Err(Error::ThetaLength);
    }
    let blindings = decode_blindings(shape, blinding_sum)?;
    let rows = decode_commitment(shape, commitment)?;
    // All rows are checked at once, under random weights: Σ_r w_r (C_r - Com(row_r)) = 0.
    let transcript = Transcript::new(b"zkpot/sumcheck/v1/check-opening");
    let weights = transcript
        .coins(&[], &Entropy::system()?)
        .scalars(shape.rows);
    let mut g = vec![Fq::ZERO; shape.columns()];
    let integers = theta_sum.as_chunks().0;
    place(shape, |index, place, _| {
        let value = Fq::from_i64(i64::from_le_bytes(integers[index]));
        g[place % shape.columns()] -= weights[place >> shape.log_columns] * value;
    });
    let h = -poly::dot(
        &weights,
        &blindings.iter().map(Fq::from_scalar).collect::<Vec<_>>(),
    );
    let generators = Generators::shared(shape.columns());
    let points = rows.iter().map(|row| row.point).collect();
    let equation = Equation::opening(g, h, weights.to_vec(), points);
    if equation.holds(&generators) {
        Ok(())
    } else {
        Err(Error::Opening)
    }
}
