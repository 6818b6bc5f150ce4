//! Honest proofs of all kinds of shapes verify, with the count of the reference, and no other.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "test data"
)]

mod support;

use proptest::prelude::*;
use support::{CONTEXT, Sample, reference_count, theta_bytes};
use zkpot_prover::api::{self, AccuracyItem, Batch};
use zkpot_prover::{Error, Shape};

fn agrees(sample: &Sample) {
    assert_eq!(sample.count, reference_count(sample));
    let theta = theta_bytes(&sample.theta);
    assert_eq!(
        api::count(&sample.shape, &theta, sample.batch()),
        Ok(sample.count)
    );
    assert_eq!(
        sample.proof.len(),
        api::accuracy_bytes(&sample.shape, sample.labels.len()).expect("size")
    );
    assert_eq!(
        sample.wellformed.len(),
        api::wellformed_bytes(&sample.shape)
    );
    sample.verify().expect("both proofs");
    for count in [sample.count.wrapping_sub(1), sample.count + 1] {
        let item = AccuracyItem {
            count,
            ..sample.item()
        };
        assert!(
            api::verify(&sample.shape, sample.batch(), item).is_err(),
            "count {count}"
        );
    }
}

#[test]
fn corner_shapes() {
    let cases: [(&[u64], &[u64], u64, usize); 16] = [
        (&[1, 1], &[], 0, 1),
        (&[3, 2], &[], 0, 1),
        (&[1, 1, 1, 1, 1], &[0, 0, 0], 0, 3),
        (&[5, 1], &[], 7, 4),      // one class: everything counts
        (&[7, 1, 3], &[0], 7, 9),  // hidden width 1
        (&[7, 5, 3], &[0], 7, 9),  // no shift
        (&[7, 5, 3], &[17], 7, 9), // the largest shift
        (&[4, 3], &[], 30, 5),     // the widest biases
        (&[3, 2], &[], 4, 63),     // N below, at and above the number of columns
        (&[3, 2], &[], 4, 64),
        (&[3, 2], &[], 4, 65),
        (&[3, 4, 2], &[6], 4, 128),
        (&[3, 4, 2], &[6], 4, 200),
        (&[65, 17, 33, 11], &[9, 9], 20, 17),
        (&[2, 256], &[], 3, 3),  // as many classes as labels can name
        (&[1000, 2], &[], 9, 2), // many weight rows
    ];
    for (i, (dims, shifts, bias_bits, batch)) in cases.into_iter().enumerate() {
        agrees(&Sample::random(dims, shifts, bias_bits, batch, i as u64));
    }
}

#[test]
fn ties_go_to_the_lowest_class() {
    let shape = Shape::new(&[4, 3], &[], 4).expect("shape");
    for (bias, wins) in [([0, 0, 0], 0), ([-3, 5, 5], 1), ([-3, 4, 5], 2)] {
        let mut theta = vec![0; 12];
        theta.extend(bias);
        let sample = Sample::prove(
            shape.clone(),
            theta,
            vec![200; 4 * 7],
            vec![0, 1, 2, 0, 0, 1, 2],
        );
        assert_eq!(sample.count, [3, 2, 2][wins]);
        agrees(&sample);
    }
}

#[test]
fn extreme_models() {
    for (dims, shifts) in [
        (vec![9, 8, 7, 3], vec![0, 0]),
        (vec![9, 8, 7, 3], vec![3, 20]),
    ] {
        let shape = Shape::new(&dims, &shifts, 20).expect("shape");
        for (weight, bias) in [
            (127, (1 << 20) - 1),
            (-128, -(1 << 20)),
            (-128, (1 << 20) - 1),
            (0, 0),
        ] {
            let mut theta = Vec::new();
            for d in dims.windows(2) {
                theta.extend((0..d[0] * d[1]).map(|_| weight));
                theta.extend((0..d[1]).map(|_| bias));
            }
            agrees(&Sample::prove(
                shape.clone(),
                theta,
                vec![255; 9 * 4],
                vec![0, 1, 2, 0],
            ));
        }
    }
}

#[test]
fn large_batch() {
    agrees(&Sample::random(&[8, 4, 3], &[6], 8, 10_000, 5));
}

#[test]
fn largest_shift_and_deep_models() {
    let dims = [4; 31];
    let shifts = [9; 29];
    agrees(&Sample::random(&dims, &shifts, 6, 3, 6));
}

#[test]
fn the_faster_prover_makes_the_same_kind_of_proof() {
    let sample = Sample::random(&[9, 8, 3], &[5], 6, 20, 7);
    let theta = theta_bytes(&sample.theta);
    let (count, proof) = api::prove(
        &sample.shape,
        &theta,
        &sample.blinding,
        Some(&sample.commitment),
        sample.batch(),
        &CONTEXT,
        false,
    )
    .expect("proof");
    assert_eq!(count, sample.count);
    sample.verify_proof(&proof).expect("accuracy");
    let proof = api::prove_wellformed(&sample.shape, &theta, &sample.blinding, &CONTEXT, false)
        .expect("proof");
    sample.verify_wellformed(&proof).expect("well-formedness");
}

#[test]
fn proofs_of_the_same_model_differ() {
    let sample = Sample::random(&[9, 8, 3], &[5], 6, 20, 8);
    let again = Sample::prove(
        sample.shape.clone(),
        sample.theta.clone(),
        sample.inputs.clone(),
        sample.labels.clone(),
    );
    let units = |sample: &Sample| -> std::collections::HashSet<[u8; 32]> {
        [&sample.commitment, &sample.proof, &sample.wellformed]
            .iter()
            .flat_map(|bytes| bytes.as_chunks::<32>().0.iter().copied())
            .collect()
    };
    assert!(units(&sample).is_disjoint(&units(&again)));
}

#[test]
fn any_number_of_threads() {
    let sample = Sample::random(&[9, 8, 3], &[5], 6, 20, 9);
    for threads in [1, 3] {
        api::with_threads(Some(threads), || sample.verify())
            .expect("pool")
            .expect("proof");
    }
    for threads in [0, 257, usize::MAX] {
        assert_eq!(api::with_threads(Some(threads), || ()), Err(Error::Threads));
    }
}

#[test]
fn a_commitment_serves_several_batches() {
    let first = Sample::random(&[5, 4, 3], &[4], 6, 8, 10);
    let theta = theta_bytes(&first.theta);
    for batch in [1, 7, 100] {
        let inputs: Vec<u8> = (0..5 * batch).map(|i| (i * 37 % 256) as u8).collect();
        let labels: Vec<u8> = (0..batch).map(|i| (i % 3) as u8).collect();
        let batch = Batch {
            inputs: &inputs,
            labels: &labels,
        };
        let (count, proof) = api::prove(
            &first.shape,
            &theta,
            &first.blinding,
            None,
            batch,
            &CONTEXT,
            true,
        )
        .expect("proof");
        let item = AccuracyItem {
            commitment: &first.commitment,
            context: &CONTEXT,
            count,
            proof: &proof,
        };
        api::verify(&first.shape, batch, item).expect("verifies");
    }
}

fn shapes() -> impl Strategy<Value = (Vec<u64>, Vec<u64>, u64, usize, u64)> {
    (
        prop::collection::vec(1u64..20, 2..5),
        0u64..16,
        1usize..90,
        any::<u64>(),
    )
        .prop_flat_map(|(dims, bias_bits, batch, seed)| {
            let shifts = prop::collection::vec(0u64..12, dims.len() - 2);
            (Just(dims), shifts, Just(bias_bits), Just(batch), Just(seed))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_shapes((dims, shifts, bias_bits, batch, seed) in shapes()) {
        if Shape::new(&dims, &shifts, bias_bits).is_ok() {
            agrees(&Sample::random(&dims, &shifts, bias_bits, batch, seed));
        }
    }
}
