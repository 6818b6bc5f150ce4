//! Random cases, and rows and parameters that honest code could not hold.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "random test data"
)]

use std::sync::Arc;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use zeroize::Zeroizing;

use crate::api::{AccuracyItem, Batch, WellformedItem};
use crate::commitment::{blind, compress, multi_scalar_mul};
use crate::encoding::{Point, Proof, decode_blindings, decode_commitment, encode_points};
use crate::error::Result;
use crate::field::Fq;
use crate::generators::Generators;
use crate::opening::prove::{
    CoinSource, CommitmentCoins, Hedged, MaskCoins, Secrets, Setting, prove as prove_opening,
};
use crate::opening::verify::{Challenges, challenges};
use crate::opening::{Linear, batch_claims, reduce};
use crate::poly::dot;
use crate::replay::{Plan, Replay};
use crate::rows::{AuxiliaryRows, BitMatrix, Rows};
use crate::statement::accuracy::Accuracy;
use crate::statement::accuracy_prove::Tables;
use crate::statement::layout::{AccuracyLayout, WellformedLayout};
use crate::statement::model::{Model, Parameters};
use crate::statement::shape::Shape;
use crate::statement::wellformed::Wellformed;
use crate::statement::witness::{Witness, witness};
use crate::sumcheck::Prover;
use crate::transcript::{Entropy, Transcript};

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

/// Rows of arbitrary scalars.
#[derive(Clone)]
pub struct ScalarRows {
    pub rows: Vec<Vec<Fq>>,
    /// What booleanity is proven about, if not the rows themselves.
    pub claimed: Option<Vec<Vec<Fq>>>,
}

impl ScalarRows {
    pub fn from_bits(bits: &BitMatrix) -> Self {
        let row = |r: usize| {
            (0..bits.columns())
                .map(|c| Fq::from_u64(bits.row(r)[c / 64] >> (c % 64) & 1))
                .collect()
        };
        Self {
            rows: (0..bits.count()).map(row).collect(),
            claimed: None,
        }
    }

    /// The entry at `index` of the slab that starts at `first_row`.
    pub fn at(&mut self, first_row: usize, index: usize) -> &mut Fq {
        let columns = self.rows[0].len();
        &mut self.rows[first_row + index / columns][index % columns]
    }

    pub fn set(&mut self, first_row: usize, index: usize, value: i64) {
        *self.at(first_row, index) = Fq::from_i64(value);
    }

    /// Sets flag and bits.
    pub fn set_slabs(
        &mut self,
        slabs: &crate::statement::layout::Slabs,
        index: usize,
        flag: i64,
        value: i64,
    ) {
        self.set(slabs.flag, index, flag);
        for bit in 0..slabs.bits {
            self.set(slabs.bit(bit), index, value >> bit & 1);
        }
    }
}

fn combine(rows: &[Vec<Fq>], terms: &[(usize, Fq)]) -> Zeroizing<Vec<Fq>> {
    let mut out = Zeroizing::new(vec![Fq::ZERO; rows[0].len()]);
    for (row, coefficient) in terms {
        out.iter_mut()
            .zip(&rows[*row])
            .for_each(|(sum, value)| *sum += *coefficient * *value);
    }
    out
}

fn commit(generators: &Generators, rows: &[Vec<Fq>]) -> Vec<RistrettoPoint> {
    rows.iter()
        .map(|row| multi_scalar_mul(row, &generators.g[..row.len()]))
        .collect()
}

impl Rows for ScalarRows {
    fn combine(&self, terms: &[(usize, Fq)]) -> Zeroizing<Vec<Fq>> {
        combine(&self.rows, terms)
    }
}

impl AuxiliaryRows for ScalarRows {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn commit(&self, generators: &Generators, _: bool) -> Zeroizing<Vec<RistrettoPoint>> {
        Zeroizing::new(commit(generators, &self.rows))
    }

    fn gather(
        &self,
        first_row: usize,
        rows: usize,
        slabs: usize,
        len: usize,
    ) -> Zeroizing<Vec<i64>> {
        let columns = self.rows[0].len();
        let small = |value: &Fq| {
            (-4..=4)
                .find(|i| Fq::from_i64(*i) == *value)
                .expect("test rows hold small integers")
        };
        let mut out = Zeroizing::new(vec![0; len]);
        for slab in 0..slabs {
            for (i, out) in out.iter_mut().enumerate().take(rows * columns) {
                let row = first_row + slab * rows + i / columns;
                *out += small(&self.rows[row][i % columns]) << slab;
            }
        }
        out
    }

    fn prove_booleanity(&self, prover: &mut Prover, at: &[Fq]) -> Fq {
        let mut table: Vec<Fq> = self.claimed.as_ref().unwrap_or(&self.rows).concat();
        table.resize(1 << at.len(), Fq::ZERO);
        let ([bit], _) =
            prover.zero_check(at, [Zeroizing::new(table)], |[bit]| bit.square() - *bit);
        bit
    }
}

/// Parameters of arbitrary scalars, and what the prover says about them.
pub struct ScalarModel {
    pub rows: Vec<Vec<Fq>>,
    /// `W_l[k][h]`
    pub weights: Vec<Vec<Vec<Fq>>>,
    /// `b_l[h]`
    pub biases: Vec<Vec<Fq>>,
}

impl ScalarModel {
    pub fn from_case(case: &Case) -> Self {
        let model = case.model();
        let shape = &case.shape;
        let to_field = |integers: &[i32]| {
            integers
                .iter()
                .map(|x| Fq::from_i64(i64::from(*x)))
                .collect::<Vec<_>>()
        };
        let layers = 1..=shape.layers();
        Self {
            rows: (0..shape.rows)
                .map(|row| model.combine(&[(row, Fq::ONE)]).to_vec())
                .collect(),
            weights: layers
                .clone()
                .map(|l| {
                    (0..shape.dims[l - 1])
                        .map(|k| to_field(model.weights(l, k)))
                        .collect()
                })
                .collect(),
            biases: layers.map(|l| to_field(model.biases(l))).collect(),
        }
    }

    pub fn commit(&self, shape: &Shape, blindings: &[Scalar]) -> Vec<CompressedRistretto> {
        let generators = Generators::shared(shape.columns());
        let mut points = commit(&generators, &self.rows);
        blind(&generators, &mut points, blindings);
        compress(&points)
    }
}

impl Rows for ScalarModel {
    fn combine(&self, terms: &[(usize, Fq)]) -> Zeroizing<Vec<Fq>> {
        combine(&self.rows, terms)
    }
}

impl Parameters for ScalarModel {
    fn weights_at(&self, layer: usize, across: &[Fq]) -> Zeroizing<Vec<Fq>> {
        Zeroizing::new(
            self.weights[layer - 1]
                .iter()
                .map(|row| dot(across, row))
                .collect(),
        )
    }

    fn bias_at(&self, layer: usize, across: &[Fq]) -> Fq {
        dot(across, &self.biases[layer - 1])
    }
}

/// What a dishonest prover puts in place of an honest one's values.
pub struct Attempt {
    pub count: u64,
    pub rows: ScalarRows,
    pub tables: Tables,
    pub model: ScalarModel,
}

impl Attempt {
    /// All values honest.
    pub fn honest(case: &Case) -> Self {
        let witness = case.witness();
        let rows = ScalarRows::from_bits(&witness.rows);
        let tables = case.statement(witness.count).tables(&rows, &witness.logits);
        Self {
            count: witness.count,
            rows,
            tables,
            model: ScalarModel::from_case(case),
        }
    }

    /// Reads the tables from the rows again.
    pub fn refresh(&mut self, case: &Case, logits: &[i64]) {
        self.tables = case.statement(self.count).tables(&self.rows, logits);
    }

    /// The honest prover's code on these values; returns the commitment and the proof.
    pub fn prove(&self, case: &Case, source: &impl CoinSource) -> (Vec<u8>, Vec<u8>) {
        let statement = case.statement(self.count);
        let plan = &statement.layout.plan;
        let generators = generators(&case.shape, plan);
        let blindings = case.blindings();
        let commitment = self.model.commit(&case.shape, &blindings);
        let setting = Setting {
            generators: &generators,
            shape: &case.shape,
            plan,
            constant_time: false,
        };
        let secrets = Secrets {
            auxiliary: &self.rows,
            auxiliary_points: self.rows.commit(&generators, false),
            parameters: &self.model,
            blindings: &blindings,
        };
        let proof = prove_opening(
            &setting,
            statement.transcript(&commitment),
            secrets,
            source,
            |prover| statement.prove(prover, &self.rows, &self.tables, &self.model),
            |replay| statement.replay(replay),
        );
        (encode_points(&commitment), proof)
    }

    /// Whether the real verifier accepts.
    pub fn verdict(&self, case: &Case) -> Result<()> {
        let (commitment, proof) = self.prove(
            case,
            &Hedged {
                witness: &[],
                entropy: &entropy(3),
            },
        );
        case.verify(&commitment, self.count, &proof)
    }
}

/// Well-formedness of arbitrary rows, with arbitrary bits.
pub fn wellformed_verdict(case: &Case, model: &ScalarModel, bits: &ScalarRows) -> Result<()> {
    let statement = Wellformed::new(&case.shape, &CONTEXT).expect("statement");
    let plan = &statement.layout.plan;
    let generators = generators(&case.shape, plan);
    let blindings = case.blindings();
    let commitment = model.commit(&case.shape, &blindings);
    let setting = Setting {
        generators: &generators,
        shape: &case.shape,
        plan,
        constant_time: false,
    };
    let secrets = Secrets {
        auxiliary: bits,
        auxiliary_points: bits.commit(&generators, false),
        parameters: model,
        blindings: &blindings,
    };
    let proof = prove_opening(
        &setting,
        statement.transcript(&commitment),
        secrets,
        &Hedged {
            witness: &[],
            entropy: &entropy(4),
        },
        |prover| statement.prove(prover, bits),
        |replay| statement.replay(replay),
    );
    case.verify_wellformed(&encode_points(&commitment), &proof)
}

pub fn wellformed_bits(case: &Case) -> (WellformedLayout, ScalarRows) {
    let layout = WellformedLayout::new(&case.shape);
    let bits = ScalarRows::from_bits(&case.model().bits(&layout));
    (layout, bits)
}

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
