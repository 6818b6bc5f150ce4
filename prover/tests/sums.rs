//! Sums of commitments open to the sums, and to nothing else.
#![allow(clippy::cast_sign_loss, reason = "test data")]

mod support;

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use support::{random_theta, theta_bytes};
use zkpot_prover::api::{commit, random_blinding};
use zkpot_prover::sums::{add, add_blindings, check_opening};
use zkpot_prover::{Error, Shape};

fn sum_bytes(thetas: &[Vec<i32>], weights: &[i64]) -> Vec<u8> {
    (0..thetas[0].len())
        .flat_map(|i| {
            let sum: i64 = thetas
                .iter()
                .zip(weights)
                .map(|(theta, weight)| i64::from(theta[i]) * weight)
                .sum();
            sum.to_le_bytes()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sums_open(weights in prop::collection::vec(-1_000_000i64..1_000_000, 1..6), seed in any::<u64>(), at in any::<prop::sample::Index>()) {
        let dims = [9, 5, 3];
        let shape = Shape::new(&dims, &[4], 12).expect("shape");
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let thetas: Vec<_> = weights.iter().map(|_| random_theta(&dims, 12, &mut rng)).collect();
        let blindings: Vec<_> = weights.iter().map(|_| random_blinding(&shape).expect("blinding")).collect();
        let commitments: Vec<_> = thetas
            .iter()
            .zip(&blindings)
            .map(|(theta, blinding)| commit(&shape, &theta_bytes(theta), blinding).expect("commitment"))
            .collect();
        let parts: Vec<&[u8]> = commitments.iter().map(Vec::as_slice).collect();
        let blinding_parts: Vec<&[u8]> = blindings.iter().map(|blinding| blinding.as_slice()).collect();
        let sum = add(&shape, &parts, Some(&weights)).expect("sum");
        let blinding = add_blindings(&shape, &blinding_parts, Some(&weights)).expect("sum");
        let theta = sum_bytes(&thetas, &weights);
        check_opening(&shape, &sum, &theta, &blinding).expect("opens");

        let mut other = theta.clone();
        let i = at.index(other.len());
        other[i] ^= 1;
        prop_assert_eq!(check_opening(&shape, &sum, &other, &blinding), Err(Error::Opening));
        let mut other = blinding.to_vec();
        let i = at.index(other.len() / 32);
        other[32 * i] ^= 1;
        prop_assert!(check_opening(&shape, &sum, &theta, &other).is_err());
        // Rows that change places, and another commitment.
        let mut other = sum.clone();
        other.rotate_left(32);
        prop_assert_eq!(check_opening(&shape, &other, &theta, &blinding), Err(Error::Opening));
        if weights != [1] {
            prop_assert_eq!(check_opening(&shape, parts[0], &theta, &blinding), Err(Error::Opening));
        }
        let ones = vec![1; weights.len()];
        prop_assert_eq!(add(&shape, &parts, None), add(&shape, &parts, Some(&ones)));
    }
}

#[test]
fn refused_sums() {
    let shape = Shape::new(&[3, 2], &[], 4).expect("shape");
    let blinding = random_blinding(&shape).expect("blinding");
    let commitment = commit(&shape, &[0; 32], &blinding).expect("commitment");
    assert_eq!(add(&shape, &[], None), Err(Error::Summands));
    assert_eq!(add(&shape, &[&commitment], Some(&[])), Err(Error::Summands));
    assert_eq!(
        add(&shape, &[&commitment], Some(&[1, 2])),
        Err(Error::Summands)
    );
    assert_eq!(
        add(&shape, &[&commitment[1..]], None),
        Err(Error::CommitmentLength)
    );
    assert_eq!(
        add(&shape, &[&vec![255; commitment.len()]], None),
        Err(Error::CommitmentEncoding)
    );
    assert_eq!(
        add_blindings(&shape, &[&blinding[1..]], None).map(|_| ()),
        Err(Error::BlindingLength)
    );
    assert_eq!(
        add_blindings(&shape, &[&[255; 64]], None).map(|_| ()),
        Err(Error::BlindingEncoding)
    );
    assert_eq!(
        check_opening(&shape, &commitment, &[0; 63], &blinding),
        Err(Error::ThetaLength)
    );
    assert_eq!(
        check_opening(&shape, &commitment, &[0; 64], &[0; 64]),
        Err(Error::Opening)
    );
    check_opening(&shape, &commitment, &[0; 64], &blinding).expect("zeros");
}

/// Sums at the ends of 64 bits open exactly; what would wrap around does not open.
#[test]
fn extreme_sums() {
    let shape = Shape::new(&[3, 2], &[], 4).expect("shape");
    let blinding = random_blinding(&shape).expect("blinding");
    let theta = [1, -1, 0, 2, -128, 127, 15, -16];
    let commitment = commit(&shape, &theta_bytes(&theta), &blinding).expect("commitment");
    let opened = |weight: i64, theta: [i64; 8]| {
        let sum = add(&shape, &[&commitment], Some(&[weight])).expect("sum");
        let blinding = add_blindings(&shape, &[&blinding], Some(&[weight])).expect("sum");
        let theta: Vec<u8> = theta.iter().flat_map(|x| x.to_le_bytes()).collect();
        check_opening(&shape, &sum, &theta, &blinding)
    };
    for weight in [i64::MIN, i64::MAX, i64::MIN >> 8, -1, 0, 1] {
        let products = theta.map(|x| i128::from(x) * i128::from(weight));
        let fits = products.iter().all(|x| i64::try_from(*x).is_ok());
        let wrapped = theta.map(|x| i64::from(x).wrapping_mul(weight));
        assert_eq!(opened(weight, wrapped).is_ok(), fits, "{weight}");
    }
    // A sum without weight is the commitment to zeros; it is nobody's model.
    let nothing = add(&shape, &[&commitment], Some(&[0])).expect("sum");
    assert_eq!(nothing, vec![0; commitment.len()]);
    // 2^63 - 1 and 1 more: -2^63 in 64 bits, but not in the sum.
    let one = commit(&shape, &theta_bytes(&[1, 0, 0, 0, 0, 0, 0, 0]), &blinding).expect("one");
    let weights = [i64::MAX, 1];
    let sum = add(&shape, &[&one, &one], Some(&weights)).expect("sum");
    let sum_blinding = add_blindings(&shape, &[&blinding, &blinding], Some(&weights)).expect("sum");
    let mut wrapped = vec![0; 64];
    wrapped[..8].copy_from_slice(&i64::MIN.to_le_bytes());
    assert_eq!(
        check_opening(&shape, &sum, &wrapped, &sum_blinding),
        Err(Error::Opening)
    );
    // Blindings of zeros and of -1 are scalars like others.
    let zeros = vec![0; 32 * shape.rows];
    let unblinded = commit(&shape, &[0; 32], &zeros).expect("zeros");
    assert_eq!(unblinded, zeros);
    check_opening(&shape, &unblinded, &[0; 64], &zeros).expect("opens");
}
