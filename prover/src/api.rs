//! What a caller does: commit, prove, verify, add. Bytes in, bytes out.
//!
//! An accuracy proof means something only together with a well-formedness proof of the identical
//! commitment under the same owner's context: **accept both or neither** (docs/proof-system.md,
//! section 1).

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::commitment::{blind, commit_bits, compress};
use crate::encoding::{Point, Proof, decode_blindings, decode_commitment, encode_points};
use crate::error::{Error, Result};
use crate::generators::Generators;
use crate::opening::prove::{Hedged, Secrets, Setting, prove as prove_opening};
use crate::opening::verify::{Equation, verify as verify_opening};
use crate::replay::Plan;
use crate::rows::BitMatrix;
use crate::statement::accuracy::{Accuracy, check_batch};
use crate::statement::layout::{AccuracyLayout, WellformedLayout, proof_bytes};
use crate::statement::model::{Model, points_from_bits};
use crate::statement::shape::Shape;
use crate::statement::wellformed::Wellformed;
use crate::statement::witness;
use crate::transcript::{Coins, Entropy, Transcript};

/// Proofs whose equations are added up at a time: bounds memory.
const VERIFY_CHUNK: usize = 128;

/// A batch and what is claimed about it.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// `N · d_0` bytes, row-major.
    pub inputs: &'a [u8],
    /// `N` class numbers.
    pub labels: &'a [u8],
}

/// A proof to be verified together with others about the same batch.
#[derive(Clone, Copy)]
pub struct AccuracyItem<'a> {
    /// The commitment.
    pub commitment: &'a [u8],
    /// 32 bytes.
    pub context: &'a [u8],
    /// The claimed number of correct samples.
    pub count: u64,
    /// The proof.
    pub proof: &'a [u8],
}

/// A well-formedness proof to be verified together with others.
#[derive(Clone, Copy)]
pub struct WellformedItem<'a> {
    /// The commitment.
    pub commitment: &'a [u8],
    /// 32 bytes.
    pub context: &'a [u8],
    /// The proof.
    pub proof: &'a [u8],
}

/// Length in bytes of an accuracy proof for a batch of that size.
pub fn accuracy_bytes(shape: &Shape, batch: usize) -> Result<usize> {
    let layout = AccuracyLayout::new(shape, batch)?;
    Ok(proof_bytes(shape, &layout.plan, layout.rows))
}

/// Length in bytes of a well-formedness proof.
pub fn wellformed_bytes(shape: &Shape) -> usize {
    let layout = WellformedLayout::new(shape);
    proof_bytes(shape, &layout.plan, layout.rows)
}

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
pub(crate) struct CommittedModel {
    pub(crate) bits: BitMatrix,
    pub(crate) bit_points: Vec<RistrettoPoint>,
    pub(crate) commitment: Vec<CompressedRistretto>,
}

impl CommittedModel {
    pub(crate) fn new(
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

/// Verifies an accuracy proof. Accept it only together with a well-formedness proof.
pub fn verify(shape: &Shape, batch: Batch, item: AccuracyItem) -> Result<()> {
    let (equation, plan) = accuracy_equation(shape, batch, item)?;
    holds(shape, &plan, equation)
}

/// Verifies a well-formedness proof.
pub fn verify_wellformed(shape: &Shape, item: WellformedItem) -> Result<()> {
    let (equation, plan) = wellformed_equation(shape, item)?;
    holds(shape, &plan, equation)
}

fn holds(shape: &Shape, plan: &Plan, equation: Equation) -> Result<()> {
    let generators = Generators::shared(shape.columns().max(plan.pads()));
    if equation.holds(&generators) {
        Ok(())
    } else {
        Err(Error::Equation)
    }
}

fn accuracy_equation(shape: &Shape, batch: Batch, item: AccuracyItem) -> Result<(Equation, Plan)> {
    let statement = Accuracy::new(shape, batch.inputs, batch.labels, item.context, item.count)?;
    let layout = &statement.layout;
    let commitment = decode_commitment(shape, item.commitment)?;
    let proof = Proof::decode(shape, &layout.plan, layout.rows, item.proof)?;
    let transcript = statement.transcript(&encodings(&commitment));
    let equation = verify_opening(
        shape,
        &layout.plan,
        transcript,
        &commitment,
        &proof,
        |replay| statement.replay(replay),
    )?;
    Ok((equation, statement.layout.plan))
}

fn wellformed_equation(shape: &Shape, item: WellformedItem) -> Result<(Equation, Plan)> {
    let statement = Wellformed::new(shape, item.context)?;
    let layout = &statement.layout;
    let commitment = decode_commitment(shape, item.commitment)?;
    let proof = Proof::decode(shape, &layout.plan, layout.rows, item.proof)?;
    let transcript = statement.transcript(&encodings(&commitment));
    let equation = verify_opening(
        shape,
        &layout.plan,
        transcript,
        &commitment,
        &proof,
        |replay| statement.replay(replay),
    )?;
    Ok((equation, statement.layout.plan))
}

fn encodings(points: &[Point]) -> Vec<CompressedRistretto> {
    points.iter().map(|point| point.bytes).collect()
}

/// Verifies many accuracy proofs about one batch; one result per item.
pub fn verify_many(shape: &Shape, batch: Batch, items: &[AccuracyItem]) -> Result<Vec<Result<()>>> {
    AccuracyLayout::new(shape, batch.labels.len())?;
    check_batch(shape, batch.inputs, batch.labels)?;
    many(shape, items, |item| accuracy_equation(shape, batch, *item))
}

/// Verifies many well-formedness proofs; one result per item.
pub fn verify_wellformed_many(shape: &Shape, items: &[WellformedItem]) -> Result<Vec<Result<()>>> {
    many(shape, items, |item| wellformed_equation(shape, *item))
}

/// Adds up the equations under random weights; only if the sum fails is each checked on its own.
fn many<T: Sync>(
    shape: &Shape,
    items: &[T],
    equation: impl Fn(&T) -> Result<(Equation, Plan)> + Sync,
) -> Result<Vec<Result<()>>> {
    let mut out = Vec::with_capacity(items.len());
    for chunk in items.chunks(VERIFY_CHUNK) {
        let equations: Vec<_> = chunk.par_iter().map(&equation).collect();
        let transcript = Transcript::new(b"zkpot/sumcheck/v1/verify-many");
        let weights = transcript
            .coins(&[], &Entropy::system()?)
            .scalars(chunk.len());
        let good = || {
            equations
                .iter()
                .zip(weights.iter())
                .filter_map(|(equation, weight)| {
                    equation
                        .as_ref()
                        .ok()
                        .map(|(equation, _)| (equation, *weight))
                })
        };
        let plan = equations.iter().find_map(|equation| equation.as_ref().ok());
        let all = match plan {
            Some((_, plan)) => holds(shape, plan, Equation::sum(good())),
            None => Ok(()),
        };
        out.extend(equations.into_iter().map(|equation| {
            let (equation, plan) = equation?;
            if all.is_ok() {
                Ok(())
            } else {
                holds(shape, &plan, equation)
            }
        }));
    }
    Ok(out)
}

/// Runs `f` on that many threads, or on rayon's default number.
pub fn with_threads<T: Send>(threads: Option<usize>, f: impl FnOnce() -> T + Send) -> Result<T> {
    match threads {
        None => Ok(f()),
        Some(1..=256) => {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads.unwrap_or(0))
                .build();
            Ok(pool.map_err(|_| Error::Threads)?.install(f))
        }
        Some(_) => Err(Error::Threads),
    }
}
