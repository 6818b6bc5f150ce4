//! The secret parameters, laid out as the rows of the commitment (section 4 of the document).
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "offsets make every value non-negative before it is cast"
)]

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::traits::Identity;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::field::{Fq, IntegerSum};
use crate::generators::Generators;
use crate::rows::Rows;
use crate::statement::layout::WellformedLayout;
use crate::statement::shape::{Shape, WEIGHT_BITS};

/// What the accuracy prover needs of the parameters.
///
/// [`Model`] is the only implementation outside of tests, where field-valued weights take its
/// place to show what an accuracy proof without a well-formedness proof is worth.
pub trait Parameters: Rows {
    /// `Σ_h across[h] · W_layer[k][h]` for each of the layer's inputs `k`.
    fn weights_at(&self, layer: usize, across: &[Fq]) -> Zeroizing<Vec<Fq>>;

    /// `Σ_h across[h] · b_layer[h]`
    fn bias_at(&self, layer: usize, across: &[Fq]) -> Fq;
}

/// Parameters in range, as padded rows.
pub struct Model<'a> {
    shape: &'a Shape,
    rows: Zeroizing<Vec<i32>>,
}

impl<'a> Model<'a> {
    /// Reads `theta` (int32 little-endian; per layer `W` row-major, then `b`) and checks ranges.
    pub fn from_theta(shape: &'a Shape, theta: &[u8]) -> Result<Self> {
        if theta.len() != 4 * shape.parameters() {
            return Err(Error::ThetaLength);
        }
        let mut rows = Zeroizing::new(vec![0; shape.rows << shape.log_columns]);
        let mut outside = 0;
        place(shape, |index, place, limit| {
            let value = read_i32(theta, index);
            rows[place] = value;
            // Non-zero if the value is not in [-limit, limit): no early return on a secret.
            let value = i64::from(value);
            outside |= (value + limit) >> 63 | (limit - 1 - value) >> 63;
        });
        if outside != 0 {
            return Err(Error::ThetaRange);
        }
        Ok(Self { shape, rows })
    }

    /// `W_layer[k]`
    pub fn weights(&self, layer: usize, k: usize) -> &[i32] {
        let first = (self.shape.layer_rows[layer - 1].weights << self.shape.log_columns)
            + (k << self.shape.log_dims[layer]);
        &self.rows[first..][..self.shape.dims[layer]]
    }

    /// `b_layer`
    pub fn biases(&self, layer: usize) -> &[i32] {
        &self.rows[self.shape.layer_rows[layer - 1].bias << self.shape.log_columns..]
            [..self.shape.dims[layer]]
    }

    /// The bits of all parameters, offset to be positive (section 5, well-formedness).
    pub fn bits(&self, layout: &WellformedLayout) -> crate::rows::BitMatrix {
        let mut bits = crate::rows::BitMatrix::zeros(layout.rows, self.shape.columns());
        for l in 1..=self.shape.layers() {
            let weight_rows = self.shape.layer_rows[l - 1].weight_rows;
            for k in 0..self.shape.dims[l - 1] {
                for (h, weight) in self.weights(l, k).iter().enumerate() {
                    let offset = (*weight + 128) as u64;
                    for t in 0..WEIGHT_BITS {
                        let slab = layout.weights[l - 1] + t * weight_rows;
                        bits.put(slab, (k << self.shape.log_dims[l]) + h, offset >> t & 1);
                    }
                }
            }
            for (h, bias) in self.biases(l).iter().enumerate() {
                let offset = (i64::from(*bias) + (1 << self.shape.bias_bits)) as u64;
                for t in 0..=self.shape.bias_bits as usize {
                    bits.put(layout.biases[l - 1] + t, h, offset >> t & 1);
                }
            }
        }
        bits
    }
}

/// Calls `f(index in theta, index in the padded rows, range limit)` for each parameter.
pub fn place(shape: &Shape, mut f: impl FnMut(usize, usize, i64)) {
    let mut index = 0;
    for l in 1..=shape.layers() {
        let rows = shape.layer_rows[l - 1];
        for k in 0..shape.dims[l - 1] {
            for h in 0..shape.dims[l] {
                f(
                    index,
                    (rows.weights << shape.log_columns) + (k << shape.log_dims[l]) + h,
                    128,
                );
                index += 1;
            }
        }
        for h in 0..shape.dims[l] {
            f(
                index,
                (rows.bias << shape.log_columns) + h,
                1 << shape.bias_bits,
            );
            index += 1;
        }
    }
}

fn read_i32(bytes: &[u8], index: usize) -> i32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[4 * index..][..4]);
    i32::from_le_bytes(four)
}

/// The commitment's points without blindings, from the points of the bits: the offsets are
/// subtracted again. So the bits are committed once for both.
pub fn points_from_bits(
    generators: &Generators,
    shape: &Shape,
    layout: &WellformedLayout,
    bits: &[RistrettoPoint],
) -> Zeroizing<Vec<RistrettoPoint>> {
    let mut out = Zeroizing::new(Vec::with_capacity(shape.rows));
    for l in 1..=shape.layers() {
        let (width, padded) = (shape.dims[l], 1 << shape.log_dims[l]);
        let per_row = shape.columns() / padded;
        // The sum of the generators at the real entries of a row that holds that many inputs.
        let real = |inputs: usize| -> RistrettoPoint {
            (0..inputs)
                .flat_map(|k| &generators.g[k * padded..][..width])
                .sum()
        };
        let inputs = shape.dims[l - 1];
        let full = if inputs >= per_row {
            real(per_row)
        } else {
            RistrettoPoint::identity()
        };
        let weight_rows = shape.layer_rows[l - 1].weight_rows;
        for row in 0..weight_rows {
            let inputs = inputs - row * per_row;
            let offset = if inputs >= per_row {
                full
            } else {
                real(inputs)
            };
            let planes =
                (0..WEIGHT_BITS).map(|t| bits[layout.weights[l - 1] + t * weight_rows + row]);
            out.push(signed_sum(planes, offset));
        }
        let planes = (0..=shape.bias_bits as usize).map(|t| bits[layout.biases[l - 1] + t]);
        out.push(signed_sum(planes, generators.g[..width].iter().sum()));
    }
    out
}

/// `Σ 2^t plane_t - 2^top offset`
fn signed_sum(
    planes: impl DoubleEndedIterator<Item = RistrettoPoint>,
    offset: RistrettoPoint,
) -> RistrettoPoint {
    let mut planes = planes.rev();
    let top = planes.next().unwrap_or_default() - offset;
    planes.fold(top, |sum, plane| sum + sum + plane)
}

impl Rows for Model<'_> {
    fn combine(&self, terms: &[(usize, Fq)]) -> Zeroizing<Vec<Fq>> {
        let columns = self.shape.columns();
        let mut out = Zeroizing::new(vec![Fq::ZERO; columns]);
        out.par_iter_mut()
            .with_min_len(64)
            .enumerate()
            .for_each(|(column, out)| {
                let mut sum = IntegerSum::default();
                for (row, coefficient) in terms {
                    sum.add(coefficient, i64::from(self.rows[row * columns + column]));
                }
                *out = sum.finish();
            });
        out
    }
}

impl Parameters for Model<'_> {
    fn weights_at(&self, layer: usize, across: &[Fq]) -> Zeroizing<Vec<Fq>> {
        let mut out = Zeroizing::new(Vec::with_capacity(self.shape.dims[layer - 1]));
        (0..self.shape.dims[layer - 1])
            .into_par_iter()
            .with_min_len(16)
            .map(|k| integer_dot(across, self.weights(layer, k)))
            .collect_into_vec(&mut out);
        out
    }

    fn bias_at(&self, layer: usize, across: &[Fq]) -> Fq {
        integer_dot(across, self.biases(layer))
    }
}

fn integer_dot(scalars: &[Fq], integers: &[i32]) -> Fq {
    let mut sum = IntegerSum::default();
    for (scalar, integer) in scalars.iter().zip(integers) {
        sum.add(scalar, i64::from(*integer));
    }
    sum.finish()
}
