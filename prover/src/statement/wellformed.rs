//! The well-formedness statement: parameters in range, zeros in padding (section 9).

use curve25519_dalek::ristretto::CompressedRistretto;

use crate::booleanity;
use crate::error::{Error, Result};
use crate::field::Fq;
use crate::forms::Form;
use crate::poly::{eq_table, prefix};
use crate::replay::{Entry, Replay};
use crate::rows::AuxiliaryRows;
use crate::statement::accuracy::{absorb_commitment, absorb_shape};
use crate::statement::layout::{WellformedLayout, wellformed_point};
use crate::statement::shape::{Shape, WEIGHT_BITS};
use crate::sumcheck::Prover;
use crate::transcript::Transcript;

/// The public values of a well-formedness statement.
pub struct Wellformed<'a> {
    shape: &'a Shape,
    /// The auxiliary rows' layout.
    pub layout: WellformedLayout,
    context: &'a [u8],
}

impl<'a> Wellformed<'a> {
    /// Checks the context's length.
    pub fn new(shape: &'a Shape, context: &'a [u8]) -> Result<Self> {
        if context.len() != 32 {
            return Err(Error::ContextLength);
        }
        Ok(Self {
            shape,
            layout: WellformedLayout::new(shape),
            context,
        })
    }

    /// The transcript up to and including the public values: neither batch nor shifts (section 7).
    pub fn transcript(&self, commitment: &[CompressedRistretto]) -> Transcript {
        let mut transcript = Transcript::new(b"zkpot/sumcheck/v1/wellformed");
        absorb_shape(&mut transcript, self.shape);
        absorb_commitment(&mut transcript, commitment);
        transcript.bytes(b"context", self.context);
        transcript
    }

    /// The statement up to the opening.
    pub fn replay(&self, replay: &mut Replay) {
        for layer in 1..=self.shape.layers() {
            self.replay_weights(replay, layer);
            self.replay_biases(replay, layer);
        }
        booleanity::replay(replay, self.layout.rows, self.shape.log_columns);
    }

    fn replay_weights(&self, replay: &mut Replay, layer: usize) {
        let (inputs, outputs) = (self.shape.dims[layer - 1], self.shape.dims[layer]);
        let rows = self.shape.layer_rows[layer - 1];
        let input_point = replay
            .transcript
            .challenge_point(wellformed_point(self.shape, layer));
        let output_point = replay
            .transcript
            .challenge_point(self.shape.log_dims[layer]);
        let across = eq_table(&output_point);
        let mut real = across.clone();
        real[outputs..].fill(Fq::ZERO);
        let base = self.layout.rows + rows.weights;
        let mut entries = replay.tensor(&[(base, Fq::ONE)], inputs, &input_point, &across, false);
        let bits: Vec<_> = (0..WEIGHT_BITS)
            .map(|t| {
                (
                    self.layout.weights[layer - 1] + t * rows.weight_rows,
                    -Fq::from_u64(1 << t),
                )
            })
            .collect();
        entries.extend(replay.tensor(&bits, inputs, &input_point, &real, true));
        let mask = prefix(&input_point, inputs) * prefix(&output_point, outputs);
        replay.claim(entries, Form::constant(-Fq::from_u64(128) * mask));
    }

    fn replay_biases(&self, replay: &mut Replay, layer: usize) {
        let outputs = self.shape.dims[layer];
        let point = replay.transcript.challenge_point(self.shape.log_columns);
        let weights = eq_table(&point);
        let mut real = weights.clone();
        real[outputs..].fill(Fq::ZERO);
        let column = replay.column(weights);
        let row = self.layout.rows + self.shape.layer_rows[layer - 1].bias;
        let mut entries = vec![Entry {
            column,
            row,
            coefficient: Fq::ONE,
        }];
        let column = replay.column(real);
        entries.extend((0..=self.shape.bias_bits).map(|t| Entry {
            column,
            row: self.layout.biases[layer - 1] + t as usize,
            coefficient: -Fq::power_of_two(t),
        }));
        let value = -Fq::power_of_two(self.shape.bias_bits) * prefix(&point, outputs);
        replay.claim(entries, Form::constant(value));
    }

    /// The prover's side: the layers' points are drawn, but nothing is sent before booleanity.
    pub fn prove(&self, prover: &mut Prover, rows: &impl AuxiliaryRows) {
        for layer in 1..=self.shape.layers() {
            prover
                .transcript
                .challenge_point(wellformed_point(self.shape, layer));
            prover
                .transcript
                .challenge_point(self.shape.log_dims[layer]);
            prover.transcript.challenge_point(self.shape.log_columns);
        }
        booleanity::run(prover, rows, self.shape.log_columns);
    }
}
