//! Attacks on the order of the transcript, on batch verification, on encodings, on coins.
//!
//! Where an attack is about a rule, the test first shows that it succeeds where the rule is broken.

use std::collections::HashSet;

use crate::api::{self, AccuracyItem, WellformedItem};
use crate::encoding::{Point, Proof, Writer};
use crate::error::Error;
use crate::field::Fq;
use crate::opening::prove::{CoinSource, Hedged, MaskCoins};
use crate::opening::verify::{Equation, check_products, equation};
use crate::poly::dot;
use crate::statement::accuracy::Accuracy;
use crate::statement::wellformed::Wellformed;
use crate::tests::dishonest::WrongProduct;
use crate::tests::support::{
    Attempt, CONTEXT, Case, Recorder, View, combined_row, entropy, generators, view,
};
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};

fn case() -> Case {
    Case::random(&[6, 5, 3], &[4], 9, 5, 41)
}

fn encode(proof: &Proof) -> Vec<u8> {
    let mut writer = Writer::default();
    let rows = proof.auxiliary.iter().chain([&proof.pads]);
    rows.for_each(|row| writer.point(&row.bytes));
    proof.clear.iter().for_each(|s| writer.scalar(*s));
    proof.deltas.iter().for_each(|p| writer.point(&p.bytes));
    let scalars = proof.sigma.iter().chain(&proof.z2).chain(&proof.blinds);
    scalars.for_each(|s| writer.scalar(*s));
    let folds = proof.folds.iter().flatten();
    folds.for_each(|p| writer.point(&p.bytes));
    proof.last.iter().for_each(|s| writer.scalar(*s));
    writer.finish()
}

fn point(point: RistrettoPoint) -> Point {
    Point {
        bytes: point.compress(),
        point,
    }
}

/// The verifier's equation under challenges drawn before the proof was changed.
fn stale_equation(case: &Case, view: &View) -> Equation {
    equation(
        &case.shape,
        &view.commitment,
        &view.proof,
        &view.form,
        &view.challenges,
    )
}

fn weak_verifier_accepts(case: &Case, view: &View) -> bool {
    let plan = case.layout().plan;
    check_products(&plan, &view.proof, &view.form, view.challenges.c).is_ok()
        && stale_equation(case, view).holds(&generators(&case.shape, &plan))
}

/// A proof of a count that is one too high, not yet mended, and the coins behind it.
fn false_count(case: &Case) -> (Attempt, Vec<u8>, View, MaskCoins) {
    let mut attempt = Attempt::honest(case);
    attempt.count += 1;
    let coins = entropy(8);
    let source = Recorder::new(Hedged {
        witness: &[],
        entropy: &coins,
    });
    let (commitment, bytes) = attempt.prove(case, &source);
    let view = view(case, attempt.count, &commitment, &bytes);
    assert!(encode(&view.proof) == bytes);
    assert!(!weak_verifier_accepts(case, &view));
    let masks = source.masks.take().expect("recorded");
    (attempt, commitment, view, masks)
}

type Place = fn(&mut View) -> &mut Point;

/// Each point of the proof, chosen once its coefficient in the group equation is known, makes any
/// count acceptable: so each must be absorbed before the challenges its coefficient is made of.
#[test]
fn points_chosen_after_their_challenge() {
    let case = case();
    let (attempt, _, honest, _) = false_count(&case);
    let plan = case.layout().plan;
    let residue = stale_equation(&case, &honest).left_side(&generators(&case.shape, &plan));
    let challenges = &honest.challenges;
    let (c, psi) = (challenges.c, challenges.psi);
    let outer = challenges.folds.iter().fold(Fq::ONE, |a, x| a * *x);
    let last = challenges.folds[challenges.folds.len() - 1];
    let row = |i: usize| outer * c * honest.form.row_coefficients[i];
    let rows = honest.proof.auxiliary.len();
    let places: [(&str, Fq, Place); 7] = [
        ("aux", row(0), |v| &mut v.proof.auxiliary[0]),
        ("C", row(rows), |v| &mut v.commitment[0]),
        ("pads", psi * c, |v| &mut v.proof.pads),
        ("delta 1", outer, |v| &mut v.proof.deltas[0]),
        ("delta 2", psi, |v| &mut v.proof.deltas[1]),
        ("L", Fq::ONE, |v| {
            &mut v.proof.folds.last_mut().expect("a fold")[0]
        }),
        ("R", last.square(), |v| {
            &mut v.proof.folds.last_mut().expect("a fold")[1]
        }),
    ];
    for (name, coefficient, place) in places {
        let (_, _, mut forged, _) = false_count(&case);
        let target = place(&mut forged);
        *target = point(target.point - coefficient.invert().to_scalar() * residue);
        assert!(weak_verifier_accepts(&case, &forged), "{name}");
        let commitment: Vec<u8> = forged
            .commitment
            .iter()
            .flat_map(|row| row.bytes.to_bytes())
            .collect();
        let verdict = case.verify(&commitment, attempt.count, &encode(&forged.proof));
        assert!(
            matches!(verdict, Err(Error::Equation | Error::Products)),
            "{name}: {verdict:?}"
        );
    }
}

#[test]
fn scalars_chosen_after_their_challenge() {
    let case = case();
    // `vd` after `c` mends the linear form.
    let (attempt, commitment, mut forged, masks) = false_count(&case);
    let c = forged.challenges.c;
    let t = combined_row(&forged.form, &attempt.rows, &attempt.model);
    let z1: Vec<Fq> = masks.row.iter().zip(&t).map(|(y, t)| *y + c * *t).collect();
    let proof = &mut forged.proof;
    proof.sigma[0] =
        dot(&z1, &forged.form.eq) + c * forged.form.constant + dot(&proof.z2, &forged.form.linear);
    assert!(weak_verifier_accepts(&case, &forged));
    let verdict = case.verify(&commitment, attempt.count, &encode(&forged.proof));
    assert_eq!(verdict, Err(Error::Products), "another c");

    // `e0` after `c` mends a product of pads that is none, which frees a product of messages.
    let attempt = Attempt::honest(&case);
    let source = WrongProduct(
        Hedged {
            witness: &[],
            entropy: &entropy(9),
        },
        0,
    );
    let (commitment, bytes) = attempt.prove(&case, &source);
    let mut forged = view(&case, attempt.count, &commitment, &bytes);
    let plan = case.layout().plan;
    let (z2, c) = (&forged.proof.z2, forged.challenges.c);
    let mut sum = z2[z2.len() - 1];
    for (k, ((i, j), weight)) in plan
        .products
        .iter()
        .zip(&forged.form.product_weights)
        .enumerate()
    {
        sum += *weight * (z2[*i] * z2[*j] - c * z2[plan.messages + k]);
    }
    forged.proof.sigma[1] = sum - c * forged.proof.sigma[2];
    assert!(check_products(&plan, &forged.proof, &forged.form, c).is_ok());
    let verdict = case.verify(&commitment, attempt.count, &encode(&forged.proof));
    assert_eq!(verdict, Err(Error::Products));
}

/// The last scalars enter no challenge but ψ, so their errors can be chosen: E, -E and -2E.
#[test]
fn errors_that_cancel_in_a_plain_sum() {
    let case = case();
    let commitment = case.commitment();
    let (count, bytes) = case.prove();
    let layout = case.layout();
    let shifted = |by: Fq| {
        let mut proof =
            Proof::decode(&case.shape, &layout.plan, layout.rows, &bytes).expect("decodes");
        proof.last[0] += by;
        encode(&proof)
    };
    let (one, two) = (Fq::ONE, Fq::from_u64(2));
    for shifts in [vec![one, -one], vec![one, one, -two], vec![two, -one, -one]] {
        let forged: Vec<_> = shifts.iter().map(|by| shifted(*by)).collect();
        let equations: Vec<_> = forged
            .iter()
            .map(|bytes| stale_equation(&case, &view(&case, count, &commitment, bytes)))
            .collect();
        let plain = Equation::sum(equations.iter().map(|equation| (equation, Fq::ONE)));
        assert!(
            plain.holds(&generators(&case.shape, &layout.plan)),
            "without weights the batch would be accepted"
        );
        let item = |proof| AccuracyItem {
            commitment: &commitment,
            context: &CONTEXT,
            count,
            proof,
        };
        // Next to each other, and in different chunks of a long list.
        for between in [0, 1, 127] {
            let mut items = Vec::new();
            for proof in &forged {
                items.extend(vec![item(bytes.as_slice()); between]);
                items.push(item(proof.as_slice()));
            }
            let results = api::verify_many(&case.shape, case.batch(), &items).expect("batch");
            for (i, result) in results.iter().enumerate() {
                let bad = i % (between + 1) == between;
                assert_eq!(*result, if bad { Err(Error::Equation) } else { Ok(()) });
            }
        }
    }

    let honest = case.prove_wellformed();
    let shifted = |by: Fq| {
        let mut bytes = honest.clone();
        let last = bytes.len() - 32;
        let scalar: [u8; 32] = bytes[last..].try_into().expect("a unit");
        let scalar = Fq::from_canonical_bytes(scalar).expect("canonical") + by;
        bytes[last..].copy_from_slice(&scalar.to_bytes());
        bytes
    };
    let forged = [shifted(one), honest.clone(), shifted(-one)];
    let items: Vec<_> = forged
        .iter()
        .map(|proof| WellformedItem {
            commitment: &commitment,
            context: &CONTEXT,
            proof,
        })
        .collect();
    assert_eq!(
        api::verify_wellformed_many(&case.shape, &items),
        Ok(vec![Err(Error::Equation), Ok(()), Err(Error::Equation)])
    );
}

/// RFC 9496, appendix A.3: encodings of no element. And `p`, `p + 2`: not canonical.
const NO_POINTS: [&str; 12] = [
    "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
    "c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562",
    "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
    "de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad7b",
];

fn unhex(text: &str) -> [u8; 32] {
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex"))
}

#[test]
fn encodings_of_no_point() {
    let case = case();
    let commitment = case.commitment();
    let (count, proof) = case.prove();
    let layout = case.layout();
    let messages = layout.plan.messages;
    let end = proof.len() / 32 - (case.shape.columns() >> case.shape.folds);
    let points = (0..=layout.rows)
        .chain([layout.rows + 1 + messages, layout.rows + 2 + messages])
        .chain(end - 2 * case.shape.folds..end);
    for unit in points {
        let at = 32 * unit..32 * unit + 32;
        // The negative square root of the same point: p - s.
        let mut negative = [0; 32];
        let mut borrow = 0i16;
        for (i, byte) in negative.iter_mut().enumerate() {
            let p = [0xed, 0xff, 0x7f][usize::from(i > 0) + usize::from(i == 31)];
            let difference = p - i16::from(proof[at.start + i]) - borrow;
            borrow = i16::from(difference < 0);
            *byte = difference.to_le_bytes()[0];
        }
        for bytes in NO_POINTS.iter().map(|text| unhex(text)).chain([negative]) {
            let mut changed = proof.clone();
            changed[at.clone()].copy_from_slice(&bytes);
            let verdict = case.verify(&commitment, count, &changed);
            assert_eq!(verdict, Err(Error::ProofPoint), "unit {unit}");
        }
    }
    for row in 0..case.shape.rows {
        for bytes in NO_POINTS.iter().map(|text| unhex(text)) {
            let mut changed = commitment.clone();
            changed[32 * row..32 * row + 32].copy_from_slice(&bytes);
            // A malformed commitment comes before a proof of the wrong length.
            let verdict = case.verify(&changed, count, &proof[1..]);
            assert_eq!(verdict, Err(Error::CommitmentEncoding));
            let verdict = case.verify_wellformed(&changed, &proof[1..]);
            assert_eq!(verdict, Err(Error::CommitmentEncoding));
        }
    }
}

/// With a system generator that always answers the same, no coin serves two statements.
#[test]
fn coins_of_different_statements_differ() {
    let case = case();
    let commitment: Vec<_> = case
        .commitment()
        .as_chunks()
        .0
        .iter()
        .map(|row| CompressedRistretto(*row))
        .collect();
    let mut other_inputs = case.inputs.clone();
    other_inputs[0] ^= 1;
    let accuracy = |inputs: &[u8], context: &[u8], count| {
        let statement = Accuracy::new(&case.shape, inputs, &case.labels, context, count);
        statement.expect("statement").transcript(&commitment)
    };
    let wellformed = |context: &[u8]| {
        let statement = Wellformed::new(&case.shape, context).expect("statement");
        statement.transcript(&commitment)
    };
    let transcripts = [
        accuracy(&case.inputs, &CONTEXT, 1),
        accuracy(&case.inputs, &CONTEXT, 2),
        accuracy(&case.inputs, &[8; 32], 1),
        accuracy(&other_inputs, &CONTEXT, 1),
        wellformed(&CONTEXT),
        wellformed(&[8; 32]),
    ];
    let plan = case.layout().plan;
    let mut seen = HashSet::new();
    let mut fresh = |scalar: [u8; 32]| assert!(seen.insert(scalar));
    for witness in [&[&case.theta[..], &case.blinding], &[&case.theta[..], b""]] {
        for transcript in &transcripts {
            let entropy = entropy(1);
            let source = Hedged {
                witness,
                entropy: &entropy,
            };
            let coins = source.commitments(transcript, &plan, 5);
            let masks = source.masks(transcript, &plan, 7);
            let products = plan.messages..plan.messages + plan.products.len();
            for (i, pad) in coins.pads.iter().enumerate() {
                if !products.contains(&i) {
                    fresh(pad.to_bytes());
                }
            }
            coins.rows.iter().for_each(|t| fresh(t.to_bytes()));
            masks.blindings.iter().for_each(|t| fresh(t.to_bytes()));
            let masks = masks.row.iter().chain(masks.pads.iter());
            masks.for_each(|y| fresh(y.to_bytes()));
        }
    }
}
