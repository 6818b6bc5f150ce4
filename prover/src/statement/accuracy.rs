//! The public values of the accuracy statement, and what both sides compute from them (section 8).
//!
//! The verifier's pass is in [`super::accuracy_replay`], the prover's in
//! [`super::accuracy_prove`]; both follow the same order.

use curve25519_dalek::ristretto::CompressedRistretto;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::field::{Fq, IntegerSum};
use crate::poly::{dot, eq_table};
use crate::statement::layout::AccuracyLayout;
use crate::statement::shape::Shape;
use crate::transcript::Transcript;

/// The public values of an accuracy statement, of matching lengths.
pub struct Accuracy<'a> {
    pub(super) shape: &'a Shape,
    /// The auxiliary rows' layout.
    pub layout: AccuracyLayout,
    inputs: &'a [u8],
    pub(super) labels: &'a [u8],
    context: &'a [u8],
    pub(super) count: u64,
}

impl<'a> Accuracy<'a> {
    /// Checks lengths and ranges; the batch size is the number of labels.
    pub fn new(
        shape: &'a Shape,
        inputs: &'a [u8],
        labels: &'a [u8],
        context: &'a [u8],
        count: u64,
    ) -> Result<Self> {
        let layout = AccuracyLayout::new(shape, labels.len())?;
        check_batch(shape, inputs, labels)?;
        if context.len() != 32 {
            return Err(Error::ContextLength);
        }
        if count > labels.len() as u64 {
            return Err(Error::Count);
        }
        Ok(Self {
            shape,
            layout,
            inputs,
            labels,
            context,
            count,
        })
    }

    /// The transcript up to and including the public values (section 7).
    pub fn transcript(&self, commitment: &[CompressedRistretto]) -> Transcript {
        let mut transcript = Transcript::new(b"zkpot/sumcheck/v1/accuracy");
        absorb_shape(&mut transcript, self.shape);
        for shift in &self.shape.shifts {
            transcript.integer(b"shift", u64::from(*shift));
        }
        transcript.integer(b"batch", self.layout.batch as u64);
        absorb_commitment(&mut transcript, commitment);
        transcript.bytes(b"context", self.context);
        transcript.bytes(b"inputs", self.inputs);
        transcript.bytes(b"labels", self.labels);
        transcript.integer(b"count", self.count);
        transcript
    }
}

/// Inputs are whole samples of bytes, labels are classes.
pub fn check_batch(shape: &Shape, inputs: &[u8], labels: &[u8]) -> Result<()> {
    if inputs.len() != labels.len() * shape.dims[0] {
        return Err(Error::InputsLength);
    }
    if labels
        .iter()
        .any(|label| usize::from(*label) >= shape.classes())
    {
        return Err(Error::LabelRange);
    }
    Ok(())
}

/// What both statements absorb of the shape.
pub fn absorb_shape(transcript: &mut Transcript, shape: &Shape) {
    transcript.integer(b"layers", shape.layers() as u64);
    transcript.integer(b"bias-bits", u64::from(shape.bias_bits));
    transcript.integer(b"log-columns", shape.log_columns as u64);
    transcript.integer(b"folds", shape.folds as u64);
    for dim in &shape.dims {
        transcript.integer(b"dim", *dim as u64);
    }
}

/// What both statements absorb of the commitment.
pub fn absorb_commitment(transcript: &mut Transcript, commitment: &[CompressedRistretto]) {
    transcript.integer(b"rows", commitment.len() as u64);
    for row in commitment {
        transcript.point(b"C", row);
    }
}

impl Accuracy<'_> {
    /// The point of 8.1.
    pub(super) fn margin_point(&self, transcript: &mut Transcript) -> Vec<Fq> {
        transcript.challenge_point(self.layout.log_batch + self.shape.log_dims[self.shape.layers()])
    }

    /// `X~(samples, k)` for each input `k`; everything here is public.
    pub(super) fn inputs_at(&self, samples: &[Fq]) -> Vec<Fq> {
        let weights = eq_table(samples);
        let inputs = self.shape.dims[0];
        let mut sums = vec![IntegerSum::default(); inputs];
        sums.par_chunks_mut(64)
            .enumerate()
            .for_each(|(chunk, sums)| {
                for (sample, weight) in self.inputs.chunks_exact(inputs).zip(&weights) {
                    for (sum, x) in sums.iter_mut().zip(&sample[64 * chunk..]) {
                        if *x != 0 {
                            sum.add(weight, i64::from(*x));
                        }
                    }
                }
            });
        sums.iter().map(IntegerSum::finish).collect()
    }
}

/// `eq(point)` with 0 beyond the true dim.
pub(super) fn real_weights(point: &[Fq], dim: usize) -> Vec<Fq> {
    let mut weights = eq_table(point);
    weights[dim..].fill(Fq::ZERO);
    weights
}

/// The public table `Y` of 8.2 and what belongs to it.
pub(super) struct MarginTable<'a> {
    labels: &'a [u8],
    samples: Vec<Fq>,
    classes: Vec<Fq>,
    /// `pre(r_j, j)` for each class, and `pre(r_j, d_L)` last.
    prefixes: Vec<Fq>,
}

impl<'a> MarginTable<'a> {
    /// For the point of 8.1.
    pub(super) fn new(statement: &'a Accuracy, at: &[Fq]) -> Self {
        let (samples, classes) = at.split_at(statement.layout.log_batch);
        let (samples, classes) = (eq_table(samples), eq_table(classes));
        let mut prefixes = vec![Fq::ZERO];
        for weight in &classes[..statement.shape.classes()] {
            prefixes.push(prefixes[prefixes.len() - 1] + *weight);
        }
        Self {
            labels: statement.labels,
            samples,
            classes,
            prefixes,
        }
    }

    /// The share of `[j < y]`.
    pub(super) fn ties(&self) -> Fq {
        self.labels
            .iter()
            .zip(&self.samples)
            .map(|(y, weight)| *weight * self.prefixes[usize::from(*y)])
            .sum()
    }

    fn total(&self) -> Fq {
        self.prefixes[self.prefixes.len() - 1]
    }

    /// All entries of `Y`.
    pub(super) fn entries(&self) -> Vec<Fq> {
        let mut out: Vec<Fq> = self
            .samples
            .iter()
            .flat_map(|n| self.classes.iter().map(|j| -(*n * *j)))
            .collect();
        for (n, (label, weight)) in self.labels.iter().zip(&self.samples).enumerate() {
            out[n * self.classes.len() + usize::from(*label)] += *weight * self.total();
        }
        out
    }

    /// `Y~(point)`, without the table.
    pub(super) fn evaluate(&self, point: &[Fq]) -> Fq {
        let (samples, classes) =
            point.split_at(point.len() - self.classes.len().trailing_zeros() as usize);
        let (samples, classes) = (eq_table(samples), eq_table(classes));
        let labels = self.labels.iter().zip(samples.iter().zip(&self.samples));
        let labels: Fq = labels
            .map(|(label, (a, b))| *a * *b * classes[usize::from(*label)])
            .sum();
        self.total() * labels - dot(&samples, &self.samples) * dot(&classes, &self.classes)
    }
}
