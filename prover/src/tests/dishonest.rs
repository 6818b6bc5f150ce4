//! A dishonest prover for each relation of the statements: wrong values pushed through the honest
//! prover's code, everything else consistent with them. Each must fail.

use crate::error::Error;
use crate::field::Fq;
use crate::opening::prove::{CoinSource, CommitmentCoins, Hedged, MaskCoins};
use crate::replay::Plan;
use crate::rows::AuxiliaryRows;
use crate::statement::witness::margin;
use crate::tests::support::{
    Attempt, Case, ScalarModel, entropy, wellformed_bits, wellformed_verdict,
};
use crate::transcript::Transcript;

/// Three layers, five samples, padding everywhere.
fn case() -> Case {
    Case::random(&[6, 5, 4, 3], &[4, 5], 9, 5, 11)
}

fn refused(attempt: &Attempt, case: &Case) {
    let verdict = attempt.verdict(case);
    assert!(
        matches!(verdict, Err(Error::Equation | Error::Products)),
        "{verdict:?}"
    );
}

/// A sample that the model gets wrong, and one that it gets right.
fn samples(case: &Case) -> (usize, usize) {
    let layout = case.layout();
    let witness = case.witness();
    let wins = witness
        .rows
        .gather(layout.winner.flag, layout.winner.rows, 1, case.labels.len());
    let wins = &wins[..case.labels.len()];
    let find = |win| {
        wins.iter()
            .position(|w| *w == win)
            .expect("both outcomes occur")
    };
    (find(0), find(1))
}

#[test]
fn honest_values_pass_through_the_seam() {
    let case = case();
    let attempt = Attempt::honest(&case);
    attempt.verdict(&case).expect("honest");
    let (layout, bits) = wellformed_bits(&case);
    assert_eq!(layout.rows, bits.rows.len());
    wellformed_verdict(&case, &ScalarModel::from_case(&case), &bits).expect("honest");
}

#[test]
fn booleanity_of_entries() {
    let case = case();
    let layout = case.layout();
    // 2·1 + 0 = 0·1 + 1·2: the same integer from bits that are none.
    for (low, high) in [
        (layout.hidden[0].bit(0), layout.hidden[0].bit(1)),
        (layout.comparison.bit(0), layout.comparison.bit(1)),
        (layout.winner.bit(0), layout.winner.bit(1)),
    ] {
        let mut attempt = Attempt::honest(&case);
        *attempt.rows.at(low, 0) += Fq::from_u64(2);
        *attempt.rows.at(high, 0) -= Fq::ONE;
        refused(&attempt, &case);
    }
}

#[test]
fn booleanity_is_about_the_committed_rows() {
    let case = case();
    let mut attempt = Attempt::honest(&case);
    attempt.rows.claimed = Some(attempt.rows.rows.clone());
    *attempt.rows.at(case.layout().hidden[0].bit(0), 0) += Fq::from_u64(2);
    *attempt.rows.at(case.layout().hidden[0].bit(1), 0) -= Fq::ONE;
    refused(&attempt, &case);
}

#[test]
fn comparison() {
    let case = case();
    let (layout, witness) = (case.layout(), case.witness());
    let (lost, _) = samples(&case);
    let mut attempt = Attempt::honest(&case);
    for j in 0..3 {
        attempt
            .rows
            .set_slabs(&layout.comparison, 4 * lost + j, 0, 1);
    }
    attempt.rows.set_slabs(&layout.winner, lost, 1, 0);
    attempt.count += 1;
    attempt.refresh(&case, &witness.logits);
    refused(&attempt, &case);
    // The same, with the claimed margins bent to fit the flags.
    let (flags, magnitudes) = (
        attempt.tables.flags.clone(),
        attempt.tables.magnitudes.clone(),
    );
    let margins = flags
        .iter()
        .zip(magnitudes.iter())
        .map(|(flag, v)| v - flag * (2 * v + 1));
    attempt.tables.margins = zeroize::Zeroizing::new(margins.collect());
    refused(&attempt, &case);
}

#[test]
fn winning_with_a_loss() {
    let case = case();
    let (layout, witness) = (case.layout(), case.witness());
    let (lost, _) = samples(&case);
    let mut attempt = Attempt::honest(&case);
    let losses = attempt.tables.flags[4 * lost..4 * lost + 3]
        .iter()
        .sum::<i64>();
    attempt.rows.set_slabs(&layout.winner, lost, 1, losses);
    attempt.count += 1;
    attempt.refresh(&case, &witness.logits);
    refused(&attempt, &case);
}

#[test]
fn losing_without_a_loss() {
    let case = case();
    let (layout, witness) = (case.layout(), case.witness());
    let (_, won) = samples(&case);
    for excess in [0, 1] {
        let mut attempt = Attempt::honest(&case);
        attempt.rows.set_slabs(&layout.winner, won, 0, excess);
        attempt.count -= 1;
        attempt.refresh(&case, &witness.logits);
        refused(&attempt, &case);
    }
}

#[test]
fn count() {
    let case = case();
    for difference in [1, u64::MAX] {
        let mut attempt = Attempt::honest(&case);
        attempt.count = attempt.count.wrapping_add(difference);
        refused(&attempt, &case);
    }
}

#[test]
fn wins_of_samples_that_do_not_exist() {
    let case = case();
    let (layout, witness) = (case.layout(), case.witness());
    for (n, count) in [(5, 1), (7, 1), (8, 1), (63, 1)] {
        let mut attempt = Attempt::honest(&case);
        attempt.rows.set_slabs(&layout.winner, n, 1, 1);
        attempt.count += count;
        attempt.refresh(&case, &witness.logits);
        refused(&attempt, &case);
    }
}

#[test]
fn logits() {
    let case = case();
    let (layout, witness) = (case.layout(), case.witness());
    let (lost, _) = samples(&case);
    let mut logits = witness.logits.to_vec();
    logits[3 * lost + usize::from(case.labels[lost])] += 1 << 17;
    let mut attempt = Attempt::honest(&case);
    for j in 0..3 {
        let own = &logits[3 * lost..3 * lost + 3];
        let value = margin(own, usize::from(case.labels[lost]), j, own[j]);
        attempt.rows.set_slabs(
            &layout.comparison,
            4 * lost + j,
            i64::from(value < 0),
            value ^ (value >> 63),
        );
    }
    attempt.rows.set_slabs(&layout.winner, lost, 1, 0);
    attempt.count += 1;
    attempt.refresh(&case, &logits);
    refused(&attempt, &case);
}

#[test]
fn activations() {
    let case = case();
    let witness = case.witness();
    for layer in 0..2 {
        let slabs = case.layout().hidden[layer];
        let width = [8, 4][layer];
        // Sign flipped; magnitude changed; a bit below the shift changed; padding used.
        for (index, change) in [(1, 0), (1, 1), (1, 2), (width * 5 + 1, 1)] {
            let mut attempt = Attempt::honest(&case);
            let flag = attempt.tables.hidden[layer].flags[index];
            let magnitude = attempt.tables.hidden[layer].magnitudes[index];
            let (flag, magnitude) = match change {
                0 => (1 - flag, magnitude),
                1 => (flag, magnitude ^ 1 << 10),
                _ => (flag, magnitude ^ 1),
            };
            attempt.rows.set_slabs(&slabs, index, flag, magnitude);
            attempt.refresh(&case, &witness.logits);
            refused(&attempt, &case);
        }
    }
}

#[test]
fn messages_about_committed_bits() {
    let case = case();
    let changes: [fn(&mut Attempt); 8] = [
        |attempt| attempt.tables.flags[0] ^= 1,
        |attempt| attempt.tables.magnitudes[0] ^= 1,
        |attempt| attempt.tables.wins[0] ^= 1,
        |attempt| attempt.tables.hidden[0].flags[2] ^= 1,
        |attempt| attempt.tables.hidden[1].flags[2] ^= 1,
        |attempt| attempt.tables.hidden[0].magnitudes[2] ^= 1,
        |attempt| attempt.tables.hidden[0].high[2] ^= 1,
        |attempt| attempt.tables.hidden[0].activations[2] += 1,
    ];
    for change in changes {
        let mut attempt = Attempt::honest(&case);
        change(&mut attempt);
        refused(&attempt, &case);
    }
}

#[test]
fn messages_about_committed_parameters() {
    let case = case();
    for layer in 0..3 {
        let mut attempt = Attempt::honest(&case);
        attempt.model.weights[layer][1][1] += Fq::ONE;
        refused(&attempt, &case);
        let mut attempt = Attempt::honest(&case);
        attempt.model.biases[layer][1] += Fq::ONE;
        refused(&attempt, &case);
    }
}

#[test]
fn another_model_than_committed() {
    let (case, other) = (case(), Case::random(&[6, 5, 4, 3], &[4, 5], 9, 5, 12));
    let other = Case {
        inputs: case.inputs.clone(),
        labels: case.labels.clone(),
        ..other
    };
    let mut attempt = Attempt::honest(&other);
    attempt.verdict(&case).expect("its own commitment is fine");
    attempt.model.rows = ScalarModel::from_case(&case).rows;
    refused(&attempt, &case);
}

#[test]
fn another_batch_than_public() {
    let case = case();
    let mut other = Case::random(&[6, 5, 4, 3], &[4, 5], 9, 5, 11);
    other.inputs[3] ^= 0x55;
    refused(&Attempt::honest(&other), &case);
}

/// Honest coins, but one product of pads is wrong: the product of two messages is then free.
pub struct WrongProduct<'a>(pub Hedged<'a>, pub usize);

impl CoinSource for WrongProduct<'_> {
    fn commitments(&self, transcript: &Transcript, plan: &Plan, rows: usize) -> CommitmentCoins {
        let mut coins = self.0.commitments(transcript, plan, rows);
        coins.pads[plan.messages + self.1] += Fq::ONE;
        coins
    }

    fn masks(&self, transcript: &Transcript, plan: &Plan, columns: usize) -> MaskCoins {
        self.0.masks(transcript, plan, columns)
    }
}

#[test]
fn products() {
    let case = case();
    let attempt = Attempt::honest(&case);
    let products = case.layout().plan.products.len();
    assert_eq!(products, 2 + 3 * 2 + 1);
    for k in 0..products {
        let source = WrongProduct(
            Hedged {
                witness: &[],
                entropy: &entropy(5),
            },
            k,
        );
        let (commitment, proof) = attempt.prove(&case, &source);
        assert_eq!(
            case.verify(&commitment, attempt.count, &proof),
            Err(Error::Products)
        );
    }
}

/// Garbage where nothing real lies changes nothing: it neither breaks nor helps.
#[test]
fn padding_of_the_commitment() {
    let case = case();
    let columns = case.shape.columns();
    let mut garbage = Attempt::honest(&case);
    let honest = garbage.count;
    for (l, rows) in case.shape.layer_rows.iter().enumerate() {
        let (inputs, outputs, padded) = (
            case.shape.dims[l],
            case.shape.dims[l + 1],
            1 << case.shape.log_dims[l + 1],
        );
        for i in 0..rows.weight_rows * columns {
            if i / padded >= inputs || i % padded >= outputs {
                garbage.model.rows[rows.weights + i / columns][i % columns] = Fq::from_u64(99);
            }
        }
        for h in outputs..columns {
            garbage.model.rows[rows.bias][h] = Fq::from_u64(77);
        }
    }
    garbage
        .verdict(&case)
        .expect("masked out of the accuracy statement");
    garbage.count = honest + 1;
    refused(&garbage, &case);
    let (_, bits) = wellformed_bits(&case);
    assert!(
        wellformed_verdict(&case, &garbage.model, &bits).is_err(),
        "and refused by well-formedness"
    );
}

#[test]
fn wellformedness_of_every_place() {
    let case = case();
    let (layout, bits) = wellformed_bits(&case);
    let columns = case.shape.columns();
    // One more in any place of the commitment, real or padding, with unchanged bits.
    for row in 0..case.shape.rows {
        for column in [0, 1, columns / 2, columns - 1] {
            let mut model = ScalarModel::from_case(&case);
            model.rows[row][column] += Fq::ONE;
            assert_eq!(
                wellformed_verdict(&case, &model, &bits),
                Err(Error::Equation),
                "{row} {column}"
            );
        }
    }
    // Out of range, with bits that are none.
    let mut model = ScalarModel::from_case(&case);
    let mut wide = bits.clone();
    model.rows[0][0] += Fq::from_u64(256);
    *wide.at(layout.weights[0] + 7, 0) += Fq::from_u64(2);
    assert!(wellformed_verdict(&case, &model, &wide).is_err());
    wide.claimed = Some(bits.rows.clone());
    assert!(wellformed_verdict(&case, &model, &wide).is_err());
}

#[test]
fn wellformedness_of_tiny_layers() {
    // One weight in a row of 64 columns: all others must be 0.
    let case = Case::random(&[1, 1], &[], 0, 1, 3);
    let (_, bits) = wellformed_bits(&case);
    wellformed_verdict(&case, &ScalarModel::from_case(&case), &bits).expect("honest");
    for column in 1..case.shape.columns() {
        let mut model = ScalarModel::from_case(&case);
        model.rows[0][column] = Fq::from_u64(1_000_000);
        assert!(
            wellformed_verdict(&case, &model, &bits).is_err(),
            "column {column}"
        );
    }
}
