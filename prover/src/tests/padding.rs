//! Garbage in places that hold nothing real: it is refused, or it has no effect on the count.

use crate::error::Error;
use crate::field::Fq;
use crate::statement::layout::Slabs;
use crate::tests::support::{Attempt, Case, ScalarModel, wellformed_bits, wellformed_verdict};

/// A slab's flag and bits, how wide its table is, and which entries of a sample are real.
fn slabs(case: &Case) -> Vec<(Slabs, usize, usize)> {
    let (shape, layout) = (&case.shape, case.layout());
    let mut out: Vec<_> = layout
        .hidden
        .iter()
        .enumerate()
        .map(|(l, slabs)| (*slabs, 1 << shape.log_dims[l + 1], shape.dims[l + 1]))
        .collect();
    let last = shape.layers();
    out.push((
        layout.comparison,
        1 << shape.log_dims[last],
        shape.dims[last],
    ));
    out.push((layout.winner, 1, 1));
    out
}

/// The first, the last and some padding entries of a slab.
fn padding(case: &Case, slabs: &Slabs, width: usize, real: usize) -> Vec<usize> {
    let all: Vec<_> = (0..slabs.rows * case.shape.columns())
        .filter(|i| i / width >= case.labels.len() || i % width >= real)
        .collect();
    let step = all.len() / 2 + 1;
    let mut some: Vec<_> = all.iter().copied().step_by(step).collect();
    some.extend(all.last());
    some
}

fn garbage_in_auxiliary_rows(case: &Case) -> usize {
    let logits = case.witness().logits;
    let mut tried = 0;
    for (slabs, width, real) in slabs(case) {
        for index in padding(case, &slabs, width, real) {
            for row in (0..=slabs.bits).map(|t| slabs.flag + t * slabs.rows) {
                // A bit, with all messages in accordance with it, helps no other count.
                let mut attempt = Attempt::honest(case);
                attempt.rows.set(row, index, 1);
                attempt.refresh(case, &logits);
                let true_count = attempt.count;
                for difference in [1, u64::MAX] {
                    attempt.count = true_count.wrapping_add(difference);
                    if attempt.count <= case.labels.len() as u64 {
                        assert!(attempt.verdict(case).is_err(), "row {row}, {index}");
                    }
                }
                // What is no bit is refused everywhere.
                let no_bits = [Fq::from_u64(2), -Fq::ONE, Fq::from_u64(3).invert()];
                let mut attempt = Attempt::honest(case);
                *attempt.rows.at(row, index) = no_bits[tried % 3];
                let verdict = attempt.verdict(case);
                assert_eq!(verdict, Err(Error::Equation), "row {row}, {index}");
                tried += 1;
            }
        }
    }
    tried
}

#[test]
fn garbage_in_auxiliary_rows_of_two_layers() {
    assert!(garbage_in_auxiliary_rows(&Case::random(&[4, 3, 3], &[4], 5, 5, 51)) > 100);
}

#[test]
fn garbage_in_auxiliary_rows_of_more_samples_than_columns() {
    assert!(garbage_in_auxiliary_rows(&Case::random(&[2, 3], &[], 4, 70, 52)) > 50);
}

#[test]
fn garbage_in_auxiliary_rows_of_one_sample() {
    assert!(garbage_in_auxiliary_rows(&Case::random(&[1, 2], &[], 0, 1, 53)) > 20);
}

/// Shapes whose rows are mostly padding: every such place of `C` is proven 0, also when the bits
/// that would belong to it are set and when the value is no integer at all.
#[test]
fn garbage_in_tiny_commitments() {
    for (dims, shifts) in [(&[1, 1][..], &[][..]), (&[2, 3], &[]), (&[3, 1, 2], &[5])] {
        let case = Case::random(dims, shifts, 3, 1, 54);
        let (layout, bits) = wellformed_bits(&case);
        let columns = case.shape.columns();
        for (l, rows) in case.shape.layer_rows.iter().enumerate() {
            let (inputs, outputs) = (case.shape.dims[l], case.shape.dims[l + 1]);
            let padded = 1 << case.shape.log_dims[l + 1];
            let weights = (0..rows.weight_rows * columns)
                .filter(|i| i / padded >= inputs || i % padded >= outputs)
                .map(|i| (rows.weights, layout.weights[l], i));
            let biases = (outputs..columns).map(|i| (rows.bias, layout.biases[l], i));
            for (row, first_bit, index) in weights.chain(biases) {
                let (row, column) = (row + index / columns, index % columns);
                let values = [Fq::ONE, -Fq::from_u64(128), Fq::from_u64(7).invert()];
                let mut model = ScalarModel::from_case(&case);
                model.rows[row][column] = values[index % 3];
                let verdict = wellformed_verdict(&case, &model, &bits);
                assert_eq!(verdict, Err(Error::Equation), "{dims:?} {row} {column}");
                let mut model = ScalarModel::from_case(&case);
                model.rows[row][column] = Fq::ONE;
                let mut fitting = bits.clone();
                fitting.set(first_bit, index, 1);
                let verdict = wellformed_verdict(&case, &model, &fitting);
                assert_eq!(verdict, Err(Error::Equation), "{dims:?} {row} {column}");
            }
        }
    }
}
