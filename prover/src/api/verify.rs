//! Verification, one proof at a time or many together.

use curve25519_dalek::ristretto::CompressedRistretto;
use rayon::prelude::*;

use crate::api::Batch;
use crate::encoding::{Point, Proof, decode_commitment};
use crate::error::{Error, Result};
use crate::generators::Generators;
use crate::opening::verify::{Equation, verify as verify_opening};
use crate::replay::Plan;
use crate::statement::accuracy::{Accuracy, check_batch};
use crate::statement::layout::AccuracyLayout;
use crate::statement::shape::Shape;
use crate::statement::wellformed::Wellformed;
use crate::transcript::{Entropy, Transcript};

/// Proofs whose equations are added up at a time: bounds memory.
const VERIFY_CHUNK: usize = 128;

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
    let equation = verify_opening(
        shape,
        &layout.plan,
        statement.transcript(&encodings(&commitment)),
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
    let equation = verify_opening(
        shape,
        &layout.plan,
        statement.transcript(&encodings(&commitment)),
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
