//! The prover: from committed rows and a statement to the bytes of a proof.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::commitment::{blind, commit_scalars, compress};
use crate::encoding::Writer;
use crate::field::Fq;
use crate::generators::Generators;
use crate::opening::{Batched, Linear, batch_claims, fold, reduce};
use crate::poly;
use crate::replay::{Plan, Replay};
use crate::rows::{AuxiliaryRows, Rows};
use crate::statement::shape::Shape;
use crate::sumcheck::{Prover, Table};
use crate::transcript::{Entropy, Transcript};

/// Everything that does not depend on the witness.
pub struct Setting<'a> {
    /// At least as many generators as columns and as pads.
    pub generators: &'a Generators,
    /// The shape.
    pub shape: &'a Shape,
    /// Messages and products of the statement.
    pub plan: &'a Plan,
    /// Whether secret multiplications take constant time.
    pub constant_time: bool,
}

/// The witness.
pub struct Secrets<'a, A, M> {
    /// Auxiliary rows.
    pub auxiliary: &'a A,
    /// Commitments to them, without blindings.
    pub auxiliary_points: Zeroizing<Vec<RistrettoPoint>>,
    /// The rows of the commitment.
    pub parameters: &'a M,
    /// Their blindings.
    pub blindings: &'a [Scalar],
}

/// Coins of the commitments that precede the first challenge.
pub struct CommitmentCoins {
    /// Blindings of the auxiliary rows.
    pub rows: Zeroizing<Vec<Scalar>>,
    /// The pad row: pads, products of pads, mask.
    pub pads: Zeroizing<Vec<Fq>>,
    /// Its blinding.
    pub pad_row: Zeroizing<Scalar>,
}

/// Coins of the sigma protocol.
pub struct MaskCoins {
    /// `y1`
    pub row: Table,
    /// `y2`
    pub pads: Table,
    /// Blindings of `δ1` and `δ2`.
    pub blindings: Zeroizing<Vec<Scalar>>,
}

/// Where the coins come from. [`Hedged`] is the only implementation outside of tests.
pub trait CoinSource {
    /// Before the first challenge.
    fn commitments(&self, transcript: &Transcript, plan: &Plan, rows: usize) -> CommitmentCoins;

    /// After the last message.
    fn masks(&self, transcript: &Transcript, plan: &Plan, columns: usize) -> MaskCoins;
}

/// Coins from transcript, witness and operating system together (section 16).
pub struct Hedged<'a> {
    /// Bytes that determine the witness.
    pub witness: &'a [&'a [u8]],
    /// For the coins before and after the messages.
    pub entropy: &'a [Entropy; 2],
}

impl CoinSource for Hedged<'_> {
    fn commitments(&self, transcript: &Transcript, plan: &Plan, rows: usize) -> CommitmentCoins {
        let mut coins = transcript.coins(self.witness, &self.entropy[0]);
        let rows = coins.blindings(rows);
        let pad_row = Zeroizing::new(coins.blindings(1)[0]);
        let mut pads = coins.scalars(plan.pads());
        for (k, (i, j)) in plan.products.iter().enumerate() {
            pads[plan.messages + k] = pads[*i] * pads[*j];
        }
        CommitmentCoins {
            rows,
            pads,
            pad_row,
        }
    }

    fn masks(&self, transcript: &Transcript, plan: &Plan, columns: usize) -> MaskCoins {
        let mut coins = transcript.coins(self.witness, &self.entropy[1]);
        MaskCoins {
            row: coins.scalars(columns),
            pads: coins.scalars(plan.pads()),
            blindings: coins.blindings(2),
        }
    }
}

/// Makes a proof. `transcript` holds the public values; `run` sends the statement's messages and
/// `replay` is the verifier's pass over them.
pub fn prove<A: AuxiliaryRows, M: Rows>(
    setting: &Setting,
    mut transcript: Transcript,
    secrets: Secrets<A, M>,
    source: &impl CoinSource,
    run: impl FnOnce(&mut Prover),
    replay_statement: impl FnOnce(&mut Replay),
) -> Vec<u8> {
    let Setting {
        generators,
        shape,
        plan,
        constant_time,
    } = *setting;
    let mut writer = Writer::default();

    // Rows and pads are committed before the first challenge.
    let CommitmentCoins {
        rows: row_blindings,
        pads,
        pad_row: pad_blinding,
    } = source.commitments(&transcript, plan, secrets.auxiliary.count());
    let mut points = secrets.auxiliary_points;
    blind(generators, &mut points, &row_blindings);
    for point in compress(&points) {
        transcript.point(b"aux", &point);
        writer.point(&point);
    }
    let pad_row = commit_scalars(generators, &pads, &pad_blinding, constant_time).compress();
    transcript.point(b"pads", &pad_row);
    writer.point(&pad_row);

    // The statement, then its replay for the linear forms.
    let mut prover = Prover::new(transcript.clone(), &pads);
    run(&mut prover);
    let mut replay = Replay::new(transcript, plan, shape.log_columns, prover.clear);
    replay_statement(&mut replay);

    // The opening.
    let batched = batch_claims(&mut replay);
    let mut prover = Prover::resume(
        replay.transcript.clone(),
        &pads,
        std::mem::take(&mut replay.clear),
    );
    let combined = combine(&batched, secrets.auxiliary, secrets.parameters);
    prove_columns(&mut prover, &replay.columns, combined.clone());
    replay.clear = prover.clear;
    let rows = secrets.auxiliary.count() + secrets.blindings.len();
    let form = reduce(
        &mut replay,
        &batched,
        shape.log_columns,
        rows,
        plan.products.len(),
    );
    debug_assert!(replay.is_complete());
    for clear in &replay.clear {
        writer.scalar(*clear);
    }
    let opening = Opening {
        row: weighted_sum(&combined, &form.column_weights),
        row_blinding: Zeroizing::new(
            row_blindings
                .iter()
                .chain(secrets.blindings)
                .zip(&form.row_coefficients)
                .map(|(blinding, coefficient)| blinding * coefficient.to_scalar())
                .sum(),
        ),
        pads: &pads,
        pad_blinding,
    };
    let mut transcript = replay.transcript;
    let masks = source.masks(&transcript, plan, shape.columns());
    let z1 = prove_linear(
        setting,
        &mut transcript,
        &mut writer,
        &masks,
        &form,
        &opening,
    );
    fold::prove(
        generators,
        &mut transcript,
        &mut writer,
        shape.folds,
        z1,
        form.eq,
    );
    writer.finish()
}

/// What is opened: `t*` and the pads, with their blindings.
struct Opening<'a> {
    row: Table,
    row_blinding: Zeroizing<Scalar>,
    pads: &'a [Fq],
    pad_blinding: Zeroizing<Scalar>,
}

/// The combined row of each column.
fn combine(
    batched: &Batched,
    auxiliary: &impl AuxiliaryRows,
    parameters: &impl Rows,
) -> Vec<Table> {
    let rows = auxiliary.count();
    let combine = |terms: &Vec<(usize, Fq)>| {
        let (low, high): (Vec<_>, Vec<_>) = terms.iter().copied().partition(|(row, _)| *row < rows);
        let high: Vec<_> = high
            .into_iter()
            .map(|(row, coefficient)| (row - rows, coefficient))
            .collect();
        match (low.is_empty(), high.is_empty()) {
            (_, true) => auxiliary.combine(&low),
            (true, false) => parameters.combine(&high),
            (false, false) => {
                let mut sum = auxiliary.combine(&low);
                sum.iter_mut()
                    .zip(parameters.combine(&high).iter())
                    .for_each(|(a, b)| *a += *b);
                sum
            }
        }
    };
    batched.columns.par_iter().map(combine).collect()
}

/// The sumcheck over columns of `Σ_G t_G · column_G`, and the values `t_G~(r*)`.
fn prove_columns(prover: &mut Prover, columns: &[Vec<Fq>], combined: Vec<Table>) {
    let mut pairs: Vec<(Table, Vec<Fq>)> =
        combined.into_iter().zip(columns.iter().cloned()).collect();
    while pairs[0].0.len() > 1 {
        let round = |(t, column): &(Table, Vec<Fq>)| {
            let half = t.len() / 2;
            let g0 = poly::dot(&t[..half], &column[..half]);
            let beyond = |v: &[Fq], i: usize| v[i + half].double() - v[i];
            (
                g0,
                (0..half).map(|i| beyond(t, i) * beyond(column, i)).sum(),
            )
        };
        let add = |a: (Fq, Fq), b: (Fq, Fq)| (a.0 + b.0, a.1 + b.1);
        let (g0, g2) = pairs.par_iter().map(round).reduce(Default::default, add);
        let r = prover.round(g0, g2);
        pairs.par_iter_mut().for_each(|(t, column)| {
            poly::fold(t, r);
            poly::fold(column, r);
        });
    }
    for (t, _) in &pairs {
        prover.send(t[0]);
    }
}

fn weighted_sum(rows: &[Table], weights: &[Fq]) -> Table {
    let mut out = Zeroizing::new(vec![Fq::ZERO; rows[0].len()]);
    for (row, weight) in rows.iter().zip(weights) {
        out.iter_mut()
            .zip(row.iter())
            .for_each(|(sum, value)| *sum += *value * *weight);
    }
    out
}

/// 10.3; returns `z1`.
fn prove_linear(
    setting: &Setting,
    transcript: &mut Transcript,
    writer: &mut Writer,
    masks: &MaskCoins,
    form: &Linear,
    opening: &Opening,
) -> Vec<Fq> {
    let Setting {
        generators,
        plan,
        constant_time,
        ..
    } = *setting;
    let pads = opening.pads;
    let MaskCoins {
        row: y1,
        pads: y2,
        blindings,
    } = masks;
    for delta in [
        commit_scalars(generators, y1, &blindings[0], constant_time),
        commit_scalars(generators, y2, &blindings[1], constant_time),
    ] {
        let delta = delta.compress();
        transcript.point(b"delta", &delta);
        writer.point(&delta);
    }
    let (mut e0, mut e1) = (y2[pads.len() - 1], pads[pads.len() - 1]);
    for (k, ((i, j), weight)) in plan.products.iter().zip(&form.product_weights).enumerate() {
        e0 += *weight * y2[*i] * y2[*j];
        e1 += *weight * (y2[*i] * pads[*j] + y2[*j] * pads[*i] - y2[plan.messages + k]);
    }
    for value in [
        poly::dot(y1, &form.eq) + poly::dot(y2, &form.linear),
        e0,
        e1,
    ] {
        transcript.scalar(b"sigma", value);
        writer.scalar(value);
    }
    let c = transcript.challenge();
    let respond = |mask: &[Fq], secret: &[Fq]| -> Vec<Fq> {
        mask.iter().zip(secret).map(|(y, s)| *y + c * *s).collect()
    };
    let z1 = respond(y1, &opening.row);
    for z in respond(y2, pads) {
        transcript.scalar(b"z2", z);
        writer.scalar(z);
    }
    for (mask, secret) in blindings
        .iter()
        .zip([&opening.row_blinding, &opening.pad_blinding])
    {
        let response = Fq::from_scalar(&(mask + c.to_scalar() * **secret));
        transcript.scalar(b"blind", response);
        writer.scalar(response);
    }
    z1
}
