//! The auxiliary bits of an accuracy proof, computed without branching on a secret.
//!
//! Section 5 of the document. Inputs and labels are public; everything else is masks and shifts.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "bits move between signed and unsigned words; the layer bounds hold every integer"
)]

use std::ops::{AddAssign, Mul};

use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use crate::rows::BitMatrix;
use crate::statement::layout::{AccuracyLayout, Slabs};
use crate::statement::model::Model;
use crate::statement::shape::Shape;

/// Auxiliary rows and the number of correct samples.
pub struct Witness {
    /// The rows.
    pub rows: BitMatrix,
    /// `Z_L`, row-major, unpadded.
    pub logits: Zeroizing<Vec<i64>>,
    /// Correct samples.
    pub count: u64,
}

/// Runs the model on the batch.
pub fn witness(
    shape: &Shape,
    layout: &AccuracyLayout,
    model: &Model,
    inputs: &[u8],
    labels: &[u8],
) -> Witness {
    let mut rows = BitMatrix::zeros(layout.rows, shape.columns());
    let layers = shape.layers();
    let mut activations = Zeroizing::new(inputs.iter().map(|x| i64::from(*x)).collect::<Vec<_>>());
    for (l, slabs) in (1..layers).zip(&layout.hidden) {
        let sums = layer_sums(shape, model, l, &activations, layout.batch);
        activations.zeroize();
        activations.resize(sums.len(), 0);
        let entries = sums.iter().zip(activations.iter_mut()).enumerate();
        for (i, (z, activation)) in entries {
            let (n, h) = (i / shape.dims[l], i % shape.dims[l]);
            let magnitude = put(&mut rows, slabs, (n << shape.log_dims[l]) + h, *z);
            *activation = (magnitude >> shape.shifts[l - 1]) & !sign_mask(*z);
        }
    }
    let logits = layer_sums(shape, model, layers, &activations, layout.batch);
    let mut count = 0;
    for (n, (logits, label)) in logits.chunks_exact(shape.classes()).zip(labels).enumerate() {
        let mut losses = 0;
        for (j, logit) in logits.iter().enumerate() {
            let margin = margin(logits, usize::from(*label), j, *logit);
            put(
                &mut rows,
                &layout.comparison,
                (n << shape.log_dims[layers]) + j,
                margin,
            );
            losses -= sign_mask(margin);
        }
        let win = -sign_mask(losses - 1);
        let excess = losses - 1 + win;
        put_bits(&mut rows, &layout.winner, n, win, excess);
        count += win as u64;
    }
    Witness {
        rows,
        logits,
        count,
    }
}

/// Number of correct samples.
pub fn count(shape: &Shape, model: &Model, inputs: &[u8], labels: &[u8]) -> u64 {
    let layers = shape.layers();
    let mut activations = Zeroizing::new(inputs.iter().map(|x| i64::from(*x)).collect::<Vec<_>>());
    for l in 1..layers {
        let mut sums = layer_sums(shape, model, l, &activations, labels.len());
        for z in sums.iter_mut() {
            *z = (*z >> shape.shifts[l - 1]) & !sign_mask(*z);
        }
        activations = sums;
    }
    let logits = layer_sums(shape, model, layers, &activations, labels.len());
    logits
        .chunks_exact(shape.classes())
        .zip(labels)
        .map(|(logits, label)| {
            let losses = |(j, logit): (usize, &i64)| {
                -sign_mask(margin(logits, usize::from(*label), j, *logit))
            };
            let losses: i64 = logits.iter().enumerate().map(losses).sum();
            (-sign_mask(losses - 1)) as u64
        })
        .sum()
}

/// `Δ`: at least 0 iff the label beats class `j`, the lower index winning ties.
pub fn margin(logits: &[i64], label: usize, j: usize, logit: i64) -> i64 {
    logits[label] - logit - i64::from(j < label)
}

/// All ones for negative values, else 0.
fn sign_mask(value: i64) -> i64 {
    value >> 63
}

/// Writes sign and magnitude (`z` or `-z-1`) of `value`; returns the magnitude.
fn put(rows: &mut BitMatrix, slabs: &Slabs, index: usize, value: i64) -> i64 {
    let magnitude = value ^ sign_mask(value);
    put_bits(rows, slabs, index, -sign_mask(value), magnitude);
    magnitude
}

fn put_bits(rows: &mut BitMatrix, slabs: &Slabs, index: usize, flag: i64, value: i64) {
    rows.put(slabs.flag, index, flag as u64);
    for bit in 0..slabs.bits {
        rows.put(slabs.bit(bit), index, (value >> bit & 1) as u64);
    }
}

/// `Z_layer` for all samples, row-major, from activations `[batch, d_{layer-1}]`.
pub fn layer_sums(
    shape: &Shape,
    model: &Model,
    layer: usize,
    activations: &[i64],
    batch: usize,
) -> Zeroizing<Vec<i64>> {
    // Partial sums never exceed the bound of the whole sum.
    if shape.bits[layer - 1] < 32 {
        multiply::<i32>(shape, model, layer, activations, batch, |a| a as i32)
    } else {
        multiply::<i64>(shape, model, layer, activations, batch, |a| a)
    }
}

fn multiply<T>(
    shape: &Shape,
    model: &Model,
    layer: usize,
    activations: &[i64],
    batch: usize,
    narrow: impl Fn(i64) -> T + Sync,
) -> Zeroizing<Vec<i64>>
where
    T: Copy + Send + Sync + From<i32> + Into<i64> + AddAssign + Mul<Output = T> + Zeroize,
{
    let (inputs, outputs) = (shape.dims[layer - 1], shape.dims[layer]);
    let mut out = Zeroizing::new(vec![0; batch * outputs]);
    out.par_chunks_mut(outputs)
        .zip(activations.par_chunks(inputs))
        .with_min_len(4)
        .for_each(|(out, activations)| {
            let mut sums = Zeroizing::new(
                model
                    .biases(layer)
                    .iter()
                    .map(|b| T::from(*b))
                    .collect::<Vec<_>>(),
            );
            for (k, activation) in activations.iter().enumerate() {
                // Only the first layer's inputs are public.
                if layer == 1 && *activation == 0 {
                    continue;
                }
                let activation = narrow(*activation);
                for (sum, weight) in sums.iter_mut().zip(model.weights(layer, k)) {
                    *sum += activation * T::from(*weight);
                }
            }
            for (out, sum) in out.iter_mut().zip(sums.iter()) {
                *out = (*sum).into();
            }
        });
    out
}
