//! What the verifier refuses: wrong public values, wrong bytes, wrong lengths, wrong shapes.

mod support;

use support::{CONTEXT, OTHER_CONTEXT, Sample, theta_bytes};
use zkpot_prover::api::{self, AccuracyItem, Batch, WellformedItem};
use zkpot_prover::{Error, Shape};

fn sample() -> Sample {
    Sample::random(&[6, 5, 3], &[4], 9, 5, 1)
}

const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn every_public_value_is_bound() {
    let s = sample();
    let refused = |batch: Batch, item: AccuracyItem| {
        assert!(api::verify(&s.shape, batch, item).is_err());
    };
    for i in 0..s.inputs.len() {
        let mut inputs = s.inputs.clone();
        inputs[i] ^= 1;
        refused(
            Batch {
                inputs: &inputs,
                ..s.batch()
            },
            s.item(),
        );
    }
    for i in 0..s.labels.len() {
        let mut labels = s.labels.clone();
        labels[i] = (labels[i] + 1) % 3;
        refused(
            Batch {
                labels: &labels,
                ..s.batch()
            },
            s.item(),
        );
    }
    for count in (0..=5).filter(|count| *count != s.count) {
        refused(s.batch(), AccuracyItem { count, ..s.item() });
    }
    for bit in 0..256 {
        let mut context = CONTEXT;
        context[bit / 8] ^= 1 << (bit % 8);
        refused(
            s.batch(),
            AccuracyItem {
                context: &context,
                ..s.item()
            },
        );
        assert!(
            api::verify_wellformed(
                &s.shape,
                WellformedItem {
                    context: &context,
                    ..s.wellformed_item()
                }
            )
            .is_err()
        );
    }
    for row in 0..s.shape.rows {
        let mut commitment = s.commitment.clone();
        let other = (row + 1) % s.shape.rows;
        commitment.copy_within(32 * other..32 * other + 32, 32 * row);
        refused(
            s.batch(),
            AccuracyItem {
                commitment: &commitment,
                ..s.item()
            },
        );
        let item = WellformedItem {
            commitment: &commitment,
            ..s.wellformed_item()
        };
        assert_eq!(api::verify_wellformed(&s.shape, item), Err(Error::Products));
    }
}

#[test]
fn every_part_of_the_shape_is_bound() {
    let s = sample();
    for (dims, shift, bias_bits) in [
        ([7, 5, 3], 4, 9),
        ([6, 6, 3], 4, 9),
        ([6, 5, 4], 4, 9),
        ([6, 5, 3], 5, 9),
        ([6, 5, 3], 4, 10),
    ] {
        let shape = Shape::new(&dims, &[shift], bias_bits).expect("shape");
        let inputs = vec![1; 5 * shape.dims[0]];
        let batch = Batch {
            inputs: if dims[0] == 6 { &s.inputs } else { &inputs },
            labels: &s.labels,
        };
        assert!(api::verify(&shape, batch, s.item()).is_err(), "{dims:?}");
    }
    // Samples may not be dropped or repeated.
    let batch = Batch {
        inputs: &s.inputs[..24],
        labels: &s.labels[..4],
    };
    assert!(api::verify(&s.shape, batch, s.item()).is_err());
}

#[test]
fn a_copied_commitment_fails_under_another_owner() {
    let s = sample();
    let item = WellformedItem {
        context: &OTHER_CONTEXT,
        ..s.wellformed_item()
    };
    assert!(api::verify_wellformed(&s.shape, item).is_err());
    // Nor does a shifted one: C + C' for a known C' is well formed, but the thief has no proof.
    let shift = Sample::random(&[6, 5, 3], &[4], 9, 5, 2);
    let sum =
        zkpot_prover::sums::add(&s.shape, &[&s.commitment, &shift.commitment], None).expect("sum");
    for proof in [&s.wellformed, &shift.wellformed] {
        let item = WellformedItem {
            commitment: &sum,
            context: &CONTEXT,
            proof,
        };
        assert!(api::verify_wellformed(&s.shape, item).is_err());
    }
}

/// Units replaced by other valid and invalid encodings, one at a time.
fn every_unit(proof: &[u8], verify: impl Fn(&[u8]) -> zkpot_prover::Result<()>) {
    let units = proof.len() / 32;
    for unit in 0..units {
        let at = 32 * unit..32 * unit + 32;
        let try_with = |name: &str, bytes: &[u8]| {
            let mut changed = proof.to_vec();
            changed[at.clone()].copy_from_slice(bytes);
            assert!(
                changed == proof || verify(&changed).is_err(),
                "unit {unit}: {name}"
            );
        };
        let original = &proof[at.clone()];
        let flipped = |bit: usize| {
            let mut bytes = original.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        try_with("lowest bit", &flipped(0));
        try_with("second bit", &flipped(1));
        try_with("top bit", &flipped(255));
        try_with("zero, or the identity", &[0; 32]);
        try_with("the order", &ORDER);
        try_with("all ones", &[255; 32]);
        let next = (unit + 1) % units;
        try_with("the next unit", &proof[32 * next..32 * next + 32]);
    }
}

#[test]
fn every_unit_of_both_proofs() {
    let s = sample();
    every_unit(&s.proof, |proof| s.verify_proof(proof));
    every_unit(&s.wellformed, |proof| s.verify_wellformed(proof));
}

#[test]
fn scalars_have_one_encoding() {
    let s = sample();
    // Adding the order to a scalar keeps its value; the encoding must be refused.
    let first_message = 32 * (s.proof.len() / 32 - s.shape.columns() / (1 << s.shape.folds));
    let mut changed = s.proof.clone();
    let mut carry = 0u16;
    for (byte, order) in changed[first_message..first_message + 32]
        .iter_mut()
        .zip(ORDER)
    {
        carry += u16::from(*byte) + u16::from(order);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    assert_eq!(s.verify_proof(&changed), Err(Error::ProofScalar));
}

#[test]
fn lengths() {
    let s = sample();
    for len in (0..s.proof.len())
        .step_by(31)
        .chain([s.proof.len() - 32, s.proof.len() - 1])
    {
        assert_eq!(s.verify_proof(&s.proof[..len]), Err(Error::ProofLength));
    }
    for extra in [1, 31, 32, 64, 1 << 16] {
        let longer = [s.proof.clone(), vec![0; extra]].concat();
        assert_eq!(s.verify_proof(&longer), Err(Error::ProofLength));
    }
    assert_eq!(s.verify_wellformed(&s.proof), Err(Error::ProofLength));
    let short = &s.commitment[..s.commitment.len() - 1];
    let item = AccuracyItem {
        commitment: short,
        ..s.item()
    };
    assert_eq!(
        api::verify(&s.shape, s.batch(), item),
        Err(Error::CommitmentLength)
    );
    for context in [&[][..], &[7; 31], &[7; 33]] {
        let item = AccuracyItem {
            context,
            ..s.item()
        };
        assert_eq!(
            api::verify(&s.shape, s.batch(), item),
            Err(Error::ContextLength)
        );
        let item = WellformedItem {
            context,
            ..s.wellformed_item()
        };
        assert_eq!(
            api::verify_wellformed(&s.shape, item),
            Err(Error::ContextLength)
        );
    }
    let batch = Batch {
        inputs: &s.inputs[1..],
        ..s.batch()
    };
    assert_eq!(
        api::verify(&s.shape, batch, s.item()),
        Err(Error::InputsLength)
    );
    let batch = Batch {
        labels: &[0, 1, 2, 3, 0],
        ..s.batch()
    };
    assert_eq!(
        api::verify(&s.shape, batch, s.item()),
        Err(Error::LabelRange)
    );
    for count in [6, u64::MAX] {
        let item = AccuracyItem { count, ..s.item() };
        assert_eq!(api::verify(&s.shape, s.batch(), item), Err(Error::Count));
    }
    let batch = Batch {
        inputs: &[],
        labels: &[],
    };
    assert_eq!(api::verify(&s.shape, batch, s.item()), Err(Error::Batch));
}

#[test]
fn parts_of_two_valid_proofs_do_not_mix() {
    let a = sample();
    let other = Sample::prove(
        a.shape.clone(),
        a.theta.clone(),
        a.inputs.clone(),
        a.labels.clone(),
    );
    let blinding = &a.blinding;
    let (_, proof) = api::prove(
        &a.shape,
        &theta_bytes(&a.theta),
        blinding,
        None,
        a.batch(),
        &CONTEXT,
        true,
    )
    .expect("proof");
    a.verify_proof(&proof)
        .expect("another proof of the same statement");
    for cut in (32..a.proof.len()).step_by(32) {
        let mixed = [&a.proof[..cut], &proof[cut..]].concat();
        assert!(a.verify_proof(&mixed).is_err(), "cut at {cut}");
    }
    assert!(
        a.verify_proof(&other.proof).is_err(),
        "proof of another commitment to the same model"
    );
    assert!(a.verify_wellformed(&other.wellformed).is_err());
}

#[test]
fn proofs_without_content() {
    let s = sample();
    let zeros = vec![0; s.commitment.len()];
    for count in 0..=5 {
        // The identity everywhere, about the commitment to zeros without blinding.
        let proof = vec![0; s.proof.len()];
        let item = AccuracyItem {
            commitment: &zeros,
            context: &CONTEXT,
            count,
            proof: &proof,
        };
        assert!(api::verify(&s.shape, s.batch(), item).is_err());
    }
    let proof = vec![0; s.wellformed.len()];
    let item = WellformedItem {
        commitment: &zeros,
        context: &CONTEXT,
        proof: &proof,
    };
    assert!(api::verify_wellformed(&s.shape, item).is_err());
}

#[test]
fn many_proofs_name_the_bad_ones() {
    let s = sample();
    let wrong = s.count.wrapping_sub(1).min(5 - s.count);
    let mut flipped = s.proof.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let last = flipped.len() - 32;
    let mut late = s.proof.clone();
    late[last] ^= 1;
    let good = s.item();
    let items = [
        good,
        AccuracyItem {
            count: wrong,
            ..good
        },
        good,
        AccuracyItem {
            proof: &flipped,
            ..good
        },
        AccuracyItem {
            proof: &late,
            ..good
        },
        AccuracyItem {
            proof: &s.proof[1..],
            ..good
        },
        AccuracyItem {
            context: &OTHER_CONTEXT,
            ..good
        },
        good,
    ];
    let results = api::verify_many(&s.shape, s.batch(), &items).expect("batch");
    for (item, result) in items.iter().zip(&results) {
        assert_eq!(*result, api::verify(&s.shape, s.batch(), *item));
    }
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    assert_eq!(results[4], Err(Error::Equation));
    assert_eq!(api::verify_many(&s.shape, s.batch(), &[]), Ok(vec![]));
    assert_eq!(
        api::verify_many(&s.shape, s.batch(), &vec![good; 300]).expect("batch"),
        vec![Ok(()); 300]
    );
    // Two errors that would cancel in a plain sum: E and -E. The weights keep them apart.
    let item = s.wellformed_item();
    let mut bad = s.wellformed.clone();
    let at = bad.len() - 1;
    bad[at] ^= 1;
    let items = [
        item,
        WellformedItem {
            proof: &bad,
            ..item
        },
        item,
    ];
    let results = api::verify_wellformed_many(&s.shape, &items).expect("entropy");
    assert!(results[0].is_ok() && results[1].is_err() && results[2].is_ok());
}

#[test]
fn limits_of_shapes() {
    let shape =
        |dims: &[u64], shifts: &[u64], bias_bits| Shape::new(dims, shifts, bias_bits).map(|_| ());
    let huge = u64::MAX;
    assert_eq!(shape(&[], &[], 0), Err(Error::Layers));
    assert_eq!(shape(&[5], &[], 0), Err(Error::Layers));
    assert_eq!(shape(&[1; 66], &[0; 64], 0), Err(Error::Layers));
    assert_eq!(
        shape(&vec![1; 1_000_000], &vec![0; 999_998], 0),
        Err(Error::Layers)
    );
    assert_eq!(shape(&[5, 5], &[0], 0), Err(Error::ShiftCount));
    assert_eq!(shape(&[5, 5, 5], &[], 0), Err(Error::ShiftCount));
    assert_eq!(shape(&[5, 5], &[], 31), Err(Error::BiasBits));
    assert_eq!(shape(&[5, 5], &[], huge), Err(Error::BiasBits));
    for dims in [
        [0, 5, 5],
        [5, 0, 5],
        [5, 5, 0],
        [huge, 5, 5],
        [5, huge, 5],
        [5, 5, huge],
        [5, 5, 257],
    ] {
        assert_eq!(shape(&dims, &[0], 0), Err(Error::Dims));
    }
    assert_eq!(shape(&[(1 << 20) + 1, 5], &[], 0), Err(Error::Dims));
    assert_eq!(shape(&[5, (1 << 14) + 1, 5], &[0], 0), Err(Error::Dims));
    for shift in [18, 64, 1 << 32, huge] {
        assert_eq!(shape(&[5, 5, 5], &[shift], 0), Err(Error::Shift));
    }
    assert_eq!(
        shape(&[1 << 20, 1 << 14, 1 << 14, 2], &[0, 0], 30),
        Err(Error::Bounds)
    );
    assert_eq!(
        shape(&[1 << 20, 1 << 14, 2], &[30], 0),
        Err(Error::Parameters)
    );
    shape(&[1 << 20, 2], &[], 30).expect("the widest input");
    shape(&[4, 1 << 12, 2], &[14], 4).expect("a wide layer");
}

#[test]
fn limits_of_batches() {
    let small = Shape::new(&[2, 2], &[], 0).expect("shape");
    let wide = Shape::new(&[1 << 20, 2], &[], 0).expect("shape");
    for batch in [0, (1 << 16) + 1, usize::MAX] {
        assert_eq!(api::accuracy_bytes(&small, batch), Err(Error::Batch));
    }
    assert_eq!(api::accuracy_bytes(&wide, 1 << 12), Err(Error::Batch));
    let hidden = Shape::new(&[4, 1 << 14, 2], &[14], 4).expect("shape");
    assert_eq!(api::accuracy_bytes(&hidden, 1 << 16), Err(Error::Batch));
    api::accuracy_bytes(&small, 1 << 16).expect("the largest batch");
}

#[test]
fn prover_inputs() {
    let s = sample();
    let theta = theta_bytes(&s.theta);
    let commit = |theta: &[u8], blinding: &[u8]| api::commit(&s.shape, theta, blinding).map(|_| ());
    assert_eq!(commit(&theta[1..], &s.blinding), Err(Error::ThetaLength));
    assert_eq!(commit(&theta, &s.blinding[1..]), Err(Error::BlindingLength));
    let mut blinding = s.blinding.clone();
    blinding[..32].copy_from_slice(&ORDER);
    assert_eq!(commit(&theta, &blinding), Err(Error::BlindingEncoding));
    // 30 weights, then the first bias.
    for (index, value) in [
        (0, 128),
        (0, -129),
        (0, i32::MIN),
        (29, i32::MAX),
        (30, 512),
        (30, -513),
    ] {
        let mut values = s.theta.clone();
        values[index] = value;
        let theta = theta_bytes(&values);
        assert_eq!(
            commit(&theta, &s.blinding),
            Err(Error::ThetaRange),
            "{index} {value}"
        );
        let proof = api::prove(
            &s.shape,
            &theta,
            &s.blinding,
            None,
            s.batch(),
            &CONTEXT,
            true,
        );
        assert_eq!(proof.map(|_| ()), Err(Error::ThetaRange));
    }
    for (index, value) in [(0, 127), (0, -128), (30, 511), (30, -512)] {
        let mut values = s.theta.clone();
        values[index] = value;
        commit(&theta_bytes(&values), &s.blinding).expect("in range");
    }
    // A proof made for another commitment does not verify.
    let other = sample();
    let (count, proof) = api::prove(
        &s.shape,
        &theta,
        &s.blinding,
        Some(&other.commitment),
        s.batch(),
        &CONTEXT,
        true,
    )
    .expect("proof");
    let item = AccuracyItem {
        commitment: &other.commitment,
        context: &CONTEXT,
        count,
        proof: &proof,
    };
    assert!(api::verify(&s.shape, s.batch(), item).is_err());
}
