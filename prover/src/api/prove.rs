//! Commitments and proofs, from the secret parameters.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use crate::api::Batch;
use crate::commitment::{blind, commit_bits, compress};
use crate::encoding::{decode_blindings, decode_commitment, encode_points};
use crate::error::Result;
use crate::generators::Generators;
use crate::opening::prove::{Hedged, Secrets, Setting, prove as prove_opening};
use crate::rows::BitMatrix;
use crate::statement::accuracy::{Accuracy, check_batch};
use crate::statement::layout::{AccuracyLayout, WellformedLayout};
use crate::statement::model::{Model, points_from_bits};
use crate::statement::shape::Shape;
use crate::statement::wellformed::Wellformed;
use crate::statement::witness;
use crate::transcript::{Coins, Entropy, Transcript};

/// Fresh blindings for a commitment, from the operating system.
pub fn random_blinding(shape: &Shape) -> Result<Zeroizing<Vec<u8>>> {
    let transcript = Transcript::new(b"zkpot/sumcheck/v1/blinding");
    let mut coins: Coins = transcript.coins(&[], &Entropy::system()?);
    let mut out = Zeroizing::new(Vec::with_capacity(32 * shape.rows));
    out.extend(
        coins
            .scalars(shape.rows)
            .iter()
            .flat_map(|scalar| scalar.to_bytes()),
    );
    Ok(out)
}

/// A commitment to `theta` (int32 little-endian), in constant time.
pub fn commit(shape: &Shape, theta: &[u8], blinding: &[u8]) -> Result<Vec<u8>> {
    let model = Model::from_theta(shape, theta)?;
    let blindings = decode_blindings(shape, blinding)?;
    let generators = Generators::shared(shape.columns());
    let committed = CommittedModel::new(&generators, shape, &model, &blindings, true);
    Ok(encode_points(&committed.commitment))
}

/// A commitment and the bits it was computed from.
struct CommittedModel {
    bits: BitMatrix,
    /// Not yet blinded, hence secret.
    bit_points: Zeroizing<Vec<RistrettoPoint>>,
    commitment: Vec<CompressedRistretto>,
}

impl CommittedModel {
    fn new(
        generators: &Generators,
        shape: &Shape,
        model: &Model,
        blindings: &[Scalar],
        constant_time: bool,
    ) -> Self {
        let layout = WellformedLayout::new(shape);
        let bits = model.bits(&layout);
        let bit_points = commit_bits(generators, &bits, constant_time);
        let mut points = points_from_bits(generators, shape, &layout, &bit_points);
        blind(generators, &mut points, blindings);
        Self {
            bits,
            bit_points,
            commitment: compress(&points),
        }
    }
}

/// Number of samples that the model gets right.
pub fn count(shape: &Shape, theta: &[u8], batch: Batch) -> Result<u64> {
    AccuracyLayout::new(shape, batch.labels.len())?;
    check_batch(shape, batch.inputs, batch.labels)?;
    let model = Model::from_theta(shape, theta)?;
    Ok(witness::count(shape, &model, batch.inputs, batch.labels))
}

/// Proves that the commitment to `theta` under `blinding` is well formed.
pub fn prove_wellformed(
    shape: &Shape,
    theta: &[u8],
    blinding: &[u8],
    context: &[u8],
    constant_time: bool,
) -> Result<Vec<u8>> {
    let entropy = [Entropy::system()?, Entropy::system()?];
    prove_wellformed_with(shape, theta, blinding, context, constant_time, &entropy)
}

pub(crate) fn prove_wellformed_with(
    shape: &Shape,
    theta: &[u8],
    blinding: &[u8],
    context: &[u8],
    constant_time: bool,
    entropy: &[Entropy; 2],
) -> Result<Vec<u8>> {
    let statement = Wellformed::new(shape, context)?;
    let model = Model::from_theta(shape, theta)?;
    let blindings = decode_blindings(shape, blinding)?;
    let plan = &statement.layout.plan;
    let generators = Generators::shared(shape.columns().max(plan.pads()));
    let committed = CommittedModel::new(&generators, shape, &model, &blindings, constant_time);
    let setting = Setting {
        generators: &generators,
        shape,
        plan,
        constant_time,
    };
    let secrets = Secrets {
        auxiliary: &committed.bits,
        auxiliary_points: committed.bit_points,
        parameters: &model,
        blindings: &blindings,
    };
    Ok(prove_opening(
        &setting,
        statement.transcript(&committed.commitment),
        secrets,
        &Hedged {
            witness: &[theta, blinding],
            entropy,
        },
        |prover| statement.prove(prover, &committed.bits),
        |replay| statement.replay(replay),
    ))
}

/// Proves how many samples the committed model gets right; returns the count and the proof.
///
/// `commitment` may be given if it is at hand; it is recomputed otherwise. A commitment to
/// something else gives a proof that does not verify.
pub fn prove(
    shape: &Shape,
    theta: &[u8],
    blinding: &[u8],
    commitment: Option<&[u8]>,
    batch: Batch,
    context: &[u8],
    constant_time: bool,
) -> Result<(u64, Vec<u8>)> {
    let entropy = [Entropy::system()?, Entropy::system()?];
    let secrets = Opened {
        theta,
        blinding,
        commitment,
    };
    prove_with(shape, secrets, batch, context, constant_time, &entropy)
}

/// A model, its blindings, and its commitment if at hand.
#[derive(Clone, Copy)]
pub(crate) struct Opened<'a> {
    pub(crate) theta: &'a [u8],
    pub(crate) blinding: &'a [u8],
    pub(crate) commitment: Option<&'a [u8]>,
}

pub(crate) fn prove_with(
    shape: &Shape,
    opened: Opened,
    batch: Batch,
    context: &[u8],
    constant_time: bool,
    entropy: &[Entropy; 2],
) -> Result<(u64, Vec<u8>)> {
    let Opened {
        theta,
        blinding,
        commitment,
    } = opened;
    let model = Model::from_theta(shape, theta)?;
    let blindings = decode_blindings(shape, blinding)?;
    Accuracy::new(shape, batch.inputs, batch.labels, context, 0)?;
    let layout = AccuracyLayout::new(shape, batch.labels.len())?;
    let generators = Generators::shared(shape.columns().max(layout.plan.pads()));
    let commitment: Vec<CompressedRistretto> = match commitment {
        Some(bytes) => decode_commitment(shape, bytes)?
            .iter()
            .map(|row| row.bytes)
            .collect(),
        None => {
            CommittedModel::new(&generators, shape, &model, &blindings, constant_time).commitment
        }
    };
    let witness = witness::witness(shape, &layout, &model, batch.inputs, batch.labels);
    let statement = Accuracy::new(shape, batch.inputs, batch.labels, context, witness.count)?;
    let tables = statement.tables(&witness.rows, &witness.logits);
    let setting = Setting {
        generators: &generators,
        shape,
        plan: &statement.layout.plan,
        constant_time,
    };
    let secrets = Secrets {
        auxiliary: &witness.rows,
        auxiliary_points: commit_bits(&generators, &witness.rows, constant_time),
        parameters: &model,
        blindings: &blindings,
    };
    let proof = prove_opening(
        &setting,
        statement.transcript(&commitment),
        secrets,
        &Hedged {
            witness: &[theta, blinding],
            entropy,
        },
        |prover| statement.prove(prover, &witness.rows, &tables, &model),
        |replay| statement.replay(replay),
    );
    Ok((witness.count, proof))
}
