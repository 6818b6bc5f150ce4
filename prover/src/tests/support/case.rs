//! Random models and batches with fixed coins.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "random test data"
)]

use std::sync::Arc;

use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use zeroize::Zeroizing;

use crate::api::{AccuracyItem, Batch, WellformedItem};
use crate::encoding::decode_blindings;
use crate::error::Result;
use crate::field::Fq;
use crate::generators::Generators;
use crate::replay::Plan;
use crate::statement::accuracy::Accuracy;
use crate::statement::layout::AccuracyLayout;
use crate::statement::model::Model;
use crate::statement::shape::Shape;
use crate::statement::witness::{Witness, witness};
use crate::transcript::Entropy;

pub const CONTEXT: [u8; 32] = [7; 32];

/// A random model and batch.
pub struct Case {
    pub shape: Shape,
    pub theta: Vec<u8>,
    pub blinding: Vec<u8>,
    pub inputs: Vec<u8>,
    pub labels: Vec<u8>,
}

impl Case {
    pub fn random(dims: &[u64], shifts: &[u64], bias_bits: u64, batch: usize, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let shape = Shape::new(dims, shifts, bias_bits).expect("test shape");
        let mut theta = Vec::new();
        for d in dims.windows(2) {
            for _ in 0..d[0] * d[1] {
                theta.extend_from_slice(&(i32::from(rng.next_u32() as i8)).to_le_bytes());
            }
            for _ in 0..d[1] {
                let bias = (rng.next_u64() % (2 << bias_bits)) as i64 - (1 << bias_bits);
                theta.extend_from_slice(&(bias as i32).to_le_bytes());
            }
        }
        let inputs = (0..batch * shape.dims[0])
            .map(|_| rng.next_u32() as u8)
            .collect();
        let labels = (0..batch)
            .map(|_| (rng.next_u32() as usize % shape.classes()) as u8)
            .collect();
        let blinding = (0..shape.rows)
            .flat_map(|_| {
                let mut wide = [0; 64];
                rng.fill_bytes(&mut wide);
                Fq::from_wide_bytes(&wide).to_bytes()
            })
            .collect();
        Self {
            shape,
            theta,
            blinding,
            inputs,
            labels,
        }
    }

    pub fn batch(&self) -> Batch<'_> {
        Batch {
            inputs: &self.inputs,
            labels: &self.labels,
        }
    }

    pub fn model(&self) -> Model<'_> {
        Model::from_theta(&self.shape, &self.theta).expect("theta")
    }

    pub fn layout(&self) -> AccuracyLayout {
        AccuracyLayout::new(&self.shape, self.labels.len()).expect("layout")
    }

    pub fn commitment(&self) -> Vec<u8> {
        crate::api::commit(&self.shape, &self.theta, &self.blinding).expect("commitment")
    }

    pub fn blindings(&self) -> Zeroizing<Vec<Scalar>> {
        decode_blindings(&self.shape, &self.blinding).expect("blinding")
    }

    pub fn witness(&self) -> Witness {
        witness(
            &self.shape,
            &self.layout(),
            &self.model(),
            &self.inputs,
            &self.labels,
        )
    }

    pub fn statement(&self, count: u64) -> Accuracy<'_> {
        Accuracy::new(&self.shape, &self.inputs, &self.labels, &CONTEXT, count).expect("statement")
    }

    pub fn prove(&self) -> (u64, Vec<u8>) {
        let opened = crate::api::Opened {
            theta: &self.theta,
            blinding: &self.blinding,
            commitment: None,
        };
        crate::api::prove_with(
            &self.shape,
            opened,
            self.batch(),
            &CONTEXT,
            true,
            &entropy(1),
        )
        .expect("proof")
    }

    pub fn prove_wellformed(&self) -> Vec<u8> {
        crate::api::prove_wellformed_with(
            &self.shape,
            &self.theta,
            &self.blinding,
            &CONTEXT,
            true,
            &entropy(2),
        )
        .expect("proof")
    }

    pub fn verify(&self, commitment: &[u8], count: u64, proof: &[u8]) -> Result<()> {
        crate::api::verify(
            &self.shape,
            self.batch(),
            AccuracyItem {
                commitment,
                context: &CONTEXT,
                count,
                proof,
            },
        )
    }

    pub fn verify_wellformed(&self, commitment: &[u8], proof: &[u8]) -> Result<()> {
        crate::api::verify_wellformed(
            &self.shape,
            WellformedItem {
                commitment,
                context: &CONTEXT,
                proof,
            },
        )
    }
}

pub fn entropy(seed: u8) -> [Entropy; 2] {
    [
        Entropy(Zeroizing::new([seed; 32])),
        Entropy(Zeroizing::new([seed ^ 0x80; 32])),
    ]
}

pub fn generators(shape: &Shape, plan: &Plan) -> Arc<Generators> {
    Generators::shared(shape.columns().max(plan.pads()))
}
