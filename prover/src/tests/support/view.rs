//! What the verifier computes from a proof, and what the prover kept to itself.

use crate::encoding::{Point, Proof, decode_commitment};
use crate::field::Fq;
use crate::opening::prove::{CoinSource, CommitmentCoins, MaskCoins};
use crate::opening::verify::{Challenges, challenges};
use crate::opening::{Linear, batch_claims, reduce};
use crate::replay::{Plan, Replay};
use crate::rows::{AuxiliaryRows, Rows};
use crate::tests::support::Case;
use crate::transcript::Transcript;

/// What the verifier computes from a proof.
pub struct View {
    pub proof: Proof,
    pub commitment: Vec<Point>,
    pub form: Linear,
    pub challenges: Challenges,
    /// The transcript just before the challenge `c`.
    pub before_c: Transcript,
}

/// The verifier's pass over an accuracy proof.
pub fn view(case: &Case, count: u64, commitment: &[u8], bytes: &[u8]) -> View {
    let statement = case.statement(count);
    let layout = &statement.layout;
    let proof = Proof::decode(&case.shape, &layout.plan, layout.rows, bytes).expect("decodes");
    let commitment = decode_commitment(&case.shape, commitment).expect("decodes");
    let mut transcript =
        statement.transcript(&commitment.iter().map(|row| row.bytes).collect::<Vec<_>>());
    for row in &proof.auxiliary {
        transcript.point(b"aux", &row.bytes);
    }
    transcript.point(b"pads", &proof.pads.bytes);
    let mut replay = Replay::new(
        transcript,
        &layout.plan,
        case.shape.log_columns,
        proof.clear.clone(),
    );
    statement.replay(&mut replay);
    let batched = batch_claims(&mut replay);
    let rows = layout.rows + case.shape.rows;
    let form = reduce(
        &mut replay,
        &batched,
        case.shape.log_columns,
        rows,
        layout.plan.products.len(),
    );
    let mut before_c = replay.transcript.clone();
    for delta in &proof.deltas {
        before_c.point(b"delta", &delta.bytes);
    }
    for value in proof.sigma {
        before_c.scalar(b"sigma", value);
    }
    let challenges = challenges(&mut replay.transcript, &proof);
    View {
        proof,
        commitment,
        form,
        challenges,
        before_c,
    }
}

/// `t*` for given rows.
pub fn combined_row(
    form: &Linear,
    auxiliary: &impl AuxiliaryRows,
    parameters: &impl Rows,
) -> Vec<Fq> {
    let terms: Vec<_> = form.row_coefficients.iter().copied().enumerate().collect();
    let (low, high) = terms.split_at(auxiliary.count());
    let high: Vec<_> = high
        .iter()
        .map(|(row, k)| (row - auxiliary.count(), *k))
        .collect();
    let sum = auxiliary.combine(low);
    sum.iter()
        .zip(parameters.combine(&high).iter())
        .map(|(a, b)| *a + *b)
        .collect()
}

/// Coins of another source, kept.
pub struct Recorder<S> {
    pub source: S,
    pub commitments: std::cell::RefCell<Option<CommitmentCoins>>,
    pub masks: std::cell::RefCell<Option<MaskCoins>>,
}

impl<S> Recorder<S> {
    pub fn new(source: S) -> Self {
        Self {
            source,
            commitments: None.into(),
            masks: None.into(),
        }
    }
}

impl<S: CoinSource> CoinSource for Recorder<S> {
    fn commitments(&self, transcript: &Transcript, plan: &Plan, rows: usize) -> CommitmentCoins {
        let coins = self.source.commitments(transcript, plan, rows);
        self.commitments.replace(Some(copy_commitments(&coins)));
        coins
    }

    fn masks(&self, transcript: &Transcript, plan: &Plan, columns: usize) -> MaskCoins {
        let coins = self.source.masks(transcript, plan, columns);
        self.masks.replace(Some(copy_masks(&coins)));
        coins
    }
}

pub fn copy_commitments(coins: &CommitmentCoins) -> CommitmentCoins {
    CommitmentCoins {
        rows: coins.rows.clone(),
        pads: coins.pads.clone(),
        pad_row: coins.pad_row.clone(),
    }
}

pub fn copy_masks(coins: &MaskCoins) -> MaskCoins {
    MaskCoins {
        row: coins.row.clone(),
        pads: coins.pads.clone(),
        blindings: coins.blindings.clone(),
    }
}
