//! What a dishonest prover pushes through the honest prover's code.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use crate::commitment::{blind, compress, multi_scalar_mul};
use crate::encoding::encode_points;
use crate::error::Result;
use crate::field::Fq;
use crate::generators::Generators;
use crate::opening::prove::{CoinSource, Hedged, Secrets, Setting, prove as prove_opening};
use crate::poly::dot;
use crate::rows::{AuxiliaryRows, BitMatrix, Rows};
use crate::statement::accuracy_prove::Tables;
use crate::statement::layout::{Slabs, WellformedLayout};
use crate::statement::model::Parameters;
use crate::statement::shape::Shape;
use crate::statement::wellformed::Wellformed;
use crate::sumcheck::Prover;
use crate::tests::support::{CONTEXT, Case, entropy, generators};

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
    pub fn set_slabs(&mut self, slabs: &Slabs, index: usize, flag: i64, value: i64) {
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
