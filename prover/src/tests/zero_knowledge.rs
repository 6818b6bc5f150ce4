//! Zero knowledge, carried out: with generators of known logarithm, a proof made with one model is
//! explained byte for byte by another model with the same count.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use crate::commitment::{blind, compress, multi_scalar_mul};
use crate::encoding::encode_points;
use crate::field::Fq;
use crate::generators::Generators;
use crate::opening::prove::{
    CoinSource, CommitmentCoins, Hedged, MaskCoins, Secrets, Setting, prove,
};
use crate::poly::dot;
use crate::replay::Plan;
use crate::rows::AuxiliaryRows;
use crate::statement::witness::Witness;
use crate::tests::support::{
    Case, Recorder, ScalarModel, ScalarRows, View, combined_row, copy_commitments, copy_masks,
    entropy, view,
};
use crate::transcript::{Entropy, Transcript};

/// Coins chosen in advance.
struct Chosen {
    commitments: CommitmentCoins,
    masks: MaskCoins,
}

impl CoinSource for Chosen {
    fn commitments(&self, _: &Transcript, _: &Plan, _: usize) -> CommitmentCoins {
        copy_commitments(&self.commitments)
    }

    fn masks(&self, _: &Transcript, _: &Plan, _: usize) -> MaskCoins {
        copy_masks(&self.masks)
    }
}

/// Generators `G_i = logs_i · H`.
struct Trapdoor {
    generators: Generators,
    logs: Vec<Fq>,
}

impl Trapdoor {
    fn new(count: usize) -> Self {
        let transcript = Transcript::new(b"trapdoor");
        let logs = transcript
            .coins(&[], &Entropy(Zeroizing::new([9; 32])))
            .scalars(count)
            .to_vec();
        let h = RISTRETTO_BASEPOINT_POINT;
        let g = logs.iter().map(|log| log.to_scalar() * h).collect();
        Self {
            generators: Generators::from_points(g, h, Scalar::from(77u64) * h),
            logs,
        }
    }

    /// The logarithm of a commitment.
    fn log(&self, row: &[Fq], blinding: &Scalar) -> Fq {
        dot(row, &self.logs) + Fq::from_scalar(blinding)
    }

    /// The blinding under which a commitment of that logarithm opens to another row.
    fn blinding(&self, log: Fq, row: &[Fq]) -> Scalar {
        (log - dot(row, &self.logs)).to_scalar()
    }
}

/// Everything one prover holds.
struct Side<'a> {
    case: &'a Case,
    witness: Witness,
    rows: ScalarRows,
    model: ScalarModel,
    blindings: Vec<Scalar>,
}

impl<'a> Side<'a> {
    fn new(case: &'a Case, blindings: Vec<Scalar>) -> Self {
        let witness = case.witness();
        let rows = ScalarRows::from_bits(&witness.rows);
        Self {
            case,
            rows,
            witness,
            model: ScalarModel::from_case(case),
            blindings,
        }
    }

    fn commitment(&self, trapdoor: &Trapdoor) -> Vec<CompressedRistretto> {
        let commit = |row: &Vec<Fq>| multi_scalar_mul(row, &trapdoor.generators.g[..row.len()]);
        let mut points: Vec<_> = self.model.rows.iter().map(commit).collect();
        blind(&trapdoor.generators, &mut points, &self.blindings);
        compress(&points)
    }

    /// The honest prover with these coins.
    fn prove(&self, trapdoor: &Trapdoor, source: &impl CoinSource) -> Vec<u8> {
        let statement = self.case.statement(self.witness.count);
        let tables = statement.tables(&self.witness.rows, &self.witness.logits);
        let setting = Setting {
            generators: &trapdoor.generators,
            shape: &self.case.shape,
            plan: &statement.layout.plan,
            constant_time: true,
        };
        let secrets = Secrets {
            auxiliary: &self.witness.rows,
            auxiliary_points: self.witness.rows.commit(&trapdoor.generators, true),
            parameters: &self.model,
            blindings: &self.blindings,
        };
        prove(
            &setting,
            statement.transcript(&self.commitment(trapdoor)),
            secrets,
            source,
            |prover| statement.prove(prover, &self.witness.rows, &tables, &self.model),
            |replay| statement.replay(replay),
        )
    }
}

/// Coins with which `other` would have sent the same proof.
fn explain(
    trapdoor: &Trapdoor,
    view: &View,
    first: (&Side, &CommitmentCoins, &MaskCoins),
    other: &Side,
) -> Chosen {
    let (side, coins, masks) = first;
    let plan = other.case.layout().plan;
    let c = view.challenges.c;
    let rows = side
        .rows
        .rows
        .iter()
        .zip(coins.rows.iter())
        .zip(&other.rows.rows);
    let rows =
        rows.map(|((row, blinding), other)| trapdoor.blinding(trapdoor.log(row, blinding), other));
    let rows: Zeroizing<Vec<Scalar>> = Zeroizing::new(rows.collect());
    let pad_log = trapdoor.log(&coins.pads, &coins.pad_row);
    let t = combined_row(&view.form, &side.rows, &side.model);
    let z1: Vec<Fq> = masks.row.iter().zip(&t).map(|(y, t)| *y + c * *t).collect();
    let t = combined_row(&view.form, &other.rows, &other.model);
    let row: Vec<Fq> = z1.iter().zip(&t).map(|(z, t)| *z - c * *t).collect();

    let mut pads = vec![Fq::ZERO; plan.pads()];
    // Each run gets the messages right up to the first challenge after a wrong one.
    for _ in 0..plan.messages {
        for (k, (i, j)) in plan.products.iter().enumerate() {
            pads[plan.messages + k] = pads[*i] * pads[*j];
        }
        // Masks that answer c with the same z2 and e1.
        let mut y2: Vec<Fq> = view
            .proof
            .z2
            .iter()
            .zip(&pads)
            .map(|(z, pad)| *z - c * *pad)
            .collect();
        let mut mask = view.proof.sigma[2];
        for (k, ((i, j), weight)) in plan
            .products
            .iter()
            .zip(&view.form.product_weights)
            .enumerate()
        {
            mask -= *weight * (y2[*i] * pads[*j] + y2[*j] * pads[*i] - y2[plan.messages + k]);
        }
        let last = pads.len() - 1;
        pads[last] = mask;
        y2[last] = view.proof.z2[last] - c * mask;
        let delta_logs = [
            trapdoor.log(&masks.row, &masks.blindings[0]),
            trapdoor.log(&masks.pads, &masks.blindings[1]),
        ];
        let blindings = [
            trapdoor.blinding(delta_logs[0], &row),
            trapdoor.blinding(delta_logs[1], &y2),
        ];
        let chosen = Chosen {
            commitments: CommitmentCoins {
                rows: rows.clone(),
                pad_row: Zeroizing::new(trapdoor.blinding(pad_log, &pads)),
                pads: Zeroizing::new(pads.clone()),
            },
            masks: MaskCoins {
                row: Zeroizing::new(row.clone()),
                pads: Zeroizing::new(y2),
                blindings: Zeroizing::new(blindings.to_vec()),
            },
        };
        let bytes = other.prove(trapdoor, &chosen);
        let sent =
            crate::encoding::Proof::decode(&other.case.shape, &plan, other.rows.rows.len(), &bytes)
                .expect("decodes")
                .clear;
        if sent.iter().zip(&view.proof.clear).all(|(a, b)| a == b) {
            return chosen;
        }
        for ((pad, sent), wanted) in pads.iter_mut().zip(&sent).zip(&view.proof.clear) {
            *pad += *wanted - *sent;
        }
    }
    panic!("no explanation found");
}

fn another_model_explains_the_proof(dims: &[u64], shifts: &[u64], batch: usize) {
    let case = Case::random(dims, shifts, 8, batch, 31);
    let plan = case.layout().plan;
    let trapdoor = Trapdoor::new(case.shape.columns().max(plan.pads()));
    let first = Side::new(&case, case.blindings().to_vec());
    let other_case = (32..100_000)
        .map(|seed| Case {
            inputs: case.inputs.clone(),
            labels: case.labels.clone(),
            ..Case::random(dims, shifts, 8, batch, seed)
        })
        .find(|other| other.witness().count == first.witness.count && other.theta != case.theta)
        .expect("another model with the same count");

    let coins = entropy(7);
    let source = Recorder::new(Hedged {
        witness: &[],
        entropy: &coins,
    });
    let proof = first.prove(&trapdoor, &source);
    let (kept, masks) = (
        source.commitments.take().expect("kept"),
        source.masks.take().expect("kept"),
    );
    let commitment = first.commitment(&trapdoor);
    let view = view(
        &case,
        first.witness.count,
        &encode_points(&commitment),
        &proof,
    );

    let model = ScalarModel::from_case(&other_case);
    let blindings = first
        .model
        .rows
        .iter()
        .zip(&first.blindings)
        .zip(&model.rows);
    let blindings = blindings
        .map(|((row, t), other)| trapdoor.blinding(trapdoor.log(row, t), other))
        .collect();
    let other = Side::new(&other_case, blindings);
    assert!(
        other.commitment(&trapdoor) == commitment,
        "the commitment is the same"
    );
    let explained = explain(&trapdoor, &view, (&first, &kept, &masks), &other);
    assert!(
        other.prove(&trapdoor, &explained) == proof,
        "and so is every byte of the proof"
    );
}

#[test]
fn another_model_explains_the_proof_of_two_layers() {
    another_model_explains_the_proof(&[5, 4, 3], &[6], 5);
}

#[test]
fn another_model_explains_the_proof_of_one_layer() {
    another_model_explains_the_proof(&[7, 3], &[], 3);
}

#[test]
fn another_model_explains_the_proof_of_three_layers() {
    another_model_explains_the_proof(&[4, 3, 5, 2], &[0, 9], 6);
}

#[test]
fn another_model_explains_the_proof_of_one_sample() {
    another_model_explains_the_proof(&[5, 2], &[], 1);
}

/// Even with a broken system generator, different statements never share coins.
#[test]
fn coins_depend_on_transcript_witness_and_entropy() {
    let transcript = |label: &'static [u8]| Transcript::new(label);
    let draw = |transcript: &Transcript, witness: &[u8], seed: u8| {
        transcript
            .coins(&[witness], &Entropy(Zeroizing::new([seed; 32])))
            .scalars(1)[0]
            .to_bytes()
    };
    let base = draw(&transcript(b"a"), b"w", 0);
    assert_eq!(base, draw(&transcript(b"a"), b"w", 0));
    assert_ne!(base, draw(&transcript(b"b"), b"w", 0));
    assert_ne!(base, draw(&transcript(b"a"), b"v", 0));
    assert_ne!(base, draw(&transcript(b"a"), b"w", 1));
}

/// All points of all proofs differ: no row blinding, pad blinding or mask is used twice.
#[test]
fn blindings_are_never_reused() {
    let case = Case::random(&[6, 5, 3], &[4], 9, 5, 33);
    let mut seen = std::collections::HashSet::new();
    let layout = case.layout();
    for _ in 0..3 {
        let (count, proof) = crate::api::prove(
            &case.shape,
            &case.theta,
            &case.blinding,
            None,
            case.batch(),
            &[7; 32],
            true,
        )
        .expect("proof");
        let view = view(&case, count, &case.commitment(), &proof);
        let points = view
            .proof
            .auxiliary
            .iter()
            .chain(&view.proof.deltas)
            .chain([&view.proof.pads]);
        for point in points {
            assert!(seen.insert(point.bytes.to_bytes()));
        }
        for scalar in view.proof.clear.iter().chain(&view.proof.z2) {
            assert!(seen.insert(scalar.to_bytes()));
        }
        assert_eq!(view.proof.auxiliary.len(), layout.rows);
    }
}
