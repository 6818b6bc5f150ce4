//! Random models, batches and proofs through the public interface.
#![allow(
    dead_code,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "shared by several test binaries; random test data"
)]

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use zkpot_prover::api::{self, AccuracyItem, Batch, WellformedItem};
use zkpot_prover::{Result, Shape};

pub const CONTEXT: [u8; 32] = [7; 32];
pub const OTHER_CONTEXT: [u8; 32] = [8; 32];

/// A random model, batch, commitment and both proofs.
#[derive(Clone)]
pub struct Sample {
    pub shape: Shape,
    pub theta: Vec<i32>,
    pub blinding: Vec<u8>,
    pub inputs: Vec<u8>,
    pub labels: Vec<u8>,
    pub commitment: Vec<u8>,
    pub count: u64,
    pub proof: Vec<u8>,
    pub wellformed: Vec<u8>,
}

pub fn theta_bytes(theta: &[i32]) -> Vec<u8> {
    theta.iter().flat_map(|x| x.to_le_bytes()).collect()
}

pub fn random_theta(dims: &[u64], bias_bits: u64, rng: &mut ChaCha20Rng) -> Vec<i32> {
    let mut theta = Vec::new();
    for d in dims.windows(2) {
        theta.extend((0..d[0] * d[1]).map(|_| i32::from(rng.next_u32() as i8)));
        theta.extend(
            (0..d[1])
                .map(|_| ((rng.next_u64() % (2 << bias_bits)) as i64 - (1 << bias_bits)) as i32),
        );
    }
    theta
}

impl Sample {
    pub fn random(dims: &[u64], shifts: &[u64], bias_bits: u64, batch: usize, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let shape = Shape::new(dims, shifts, bias_bits).expect("shape");
        let theta = random_theta(dims, bias_bits, &mut rng);
        let inputs = (0..batch * shape.dims[0])
            .map(|_| rng.next_u32() as u8)
            .collect();
        let labels = (0..batch)
            .map(|_| (rng.next_u32() as usize % shape.classes()) as u8)
            .collect();
        Self::prove(shape, theta, inputs, labels)
    }

    pub fn prove(shape: Shape, theta: Vec<i32>, inputs: Vec<u8>, labels: Vec<u8>) -> Self {
        let bytes = theta_bytes(&theta);
        let blinding = api::random_blinding(&shape).expect("blinding").to_vec();
        let commitment = api::commit(&shape, &bytes, &blinding).expect("commitment");
        let batch = Batch {
            inputs: &inputs,
            labels: &labels,
        };
        let (count, proof) =
            api::prove(&shape, &bytes, &blinding, None, batch, &CONTEXT, true).expect("proof");
        let wellformed =
            api::prove_wellformed(&shape, &bytes, &blinding, &CONTEXT, true).expect("proof");
        Self {
            shape,
            theta,
            blinding,
            inputs,
            labels,
            commitment,
            count,
            proof,
            wellformed,
        }
    }

    pub fn batch(&self) -> Batch<'_> {
        Batch {
            inputs: &self.inputs,
            labels: &self.labels,
        }
    }

    pub fn item(&self) -> AccuracyItem<'_> {
        AccuracyItem {
            commitment: &self.commitment,
            context: &CONTEXT,
            count: self.count,
            proof: &self.proof,
        }
    }

    pub fn wellformed_item(&self) -> WellformedItem<'_> {
        WellformedItem {
            commitment: &self.commitment,
            context: &CONTEXT,
            proof: &self.wellformed,
        }
    }

    pub fn verify(&self) -> Result<()> {
        api::verify(&self.shape, self.batch(), self.item())?;
        api::verify_wellformed(&self.shape, self.wellformed_item())
    }

    /// Verifies with another accuracy proof.
    pub fn verify_proof(&self, proof: &[u8]) -> Result<()> {
        api::verify(
            &self.shape,
            self.batch(),
            AccuracyItem {
                proof,
                ..self.item()
            },
        )
    }

    /// Verifies with another well-formedness proof.
    pub fn verify_wellformed(&self, proof: &[u8]) -> Result<()> {
        api::verify_wellformed(
            &self.shape,
            WellformedItem {
                proof,
                ..self.wellformed_item()
            },
        )
    }
}

/// The reference: plain integers, no tricks.
pub fn reference_count(sample: &Sample) -> u64 {
    let dims = &sample.shape.dims;
    let mut count = 0;
    for (input, label) in sample.inputs.chunks_exact(dims[0]).zip(&sample.labels) {
        let mut values: Vec<i128> = input.iter().map(|x| i128::from(*x)).collect();
        let mut theta = sample.theta.iter().map(|x| i128::from(*x));
        for l in 1..dims.len() {
            let mut sums = vec![0; dims[l]];
            for value in &values {
                for sum in &mut sums {
                    *sum += value * theta.next().expect("weight");
                }
            }
            for sum in &mut sums {
                *sum += theta.next().expect("bias");
            }
            if l + 1 < dims.len() {
                for sum in &mut sums {
                    *sum = (*sum).max(0) >> sample.shape.shifts[l - 1];
                }
            }
            values = sums;
        }
        let best = values.iter().max().expect("a class");
        let first = values
            .iter()
            .position(|value| value == best)
            .expect("a best");
        count += u64::from(first == usize::from(*label));
    }
    count
}
