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
