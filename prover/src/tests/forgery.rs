//! Forgeries that succeed against weaker verifiers, and must fail against this one.

use crate::encoding::Writer;
use crate::error::Error;
use crate::field::Fq;
use crate::generators::Generators;
use crate::opening::prove::Hedged;
use crate::opening::verify::{Challenges, check_products, equation};
use crate::poly::dot;
use crate::statement::shape::Shape;
use crate::tests::support::{
    Attempt, Case, Recorder, ScalarRows, View, combined_row, entropy, generators, view,
    wellformed_verdict,
};
use crate::transcript::Transcript;

/// How the weight `ψ` of the two group equations is drawn.
#[derive(Clone, Copy, PartialEq)]
enum Weight {
    /// Before the folding, by a verifier that gets the order wrong.
    Early,
    /// As specified; the forger can only guess it.
    Specified,
}

/// A proof of a false count. The forger knows `ψ` before the folding, so that an error in `z2`
/// that mends the linear form can be hidden in the last `Lf`.
fn forge(case: &Case, weight: Weight) -> (Vec<u8>, u64, Vec<u8>, View, Challenges) {
    let mut attempt = Attempt::honest(case);
    attempt.count += 1;
    let coins = entropy(6);
    let source = Recorder::new(Hedged {
        witness: &[],
        entropy: &coins,
    });
    let (commitment, bytes) = attempt.prove(case, &source);
    let view = view(case, attempt.count, &commitment, &bytes);
    let c = view.challenges.c;
    let plan = case.layout().plan;
    let generators = generators(&case.shape, &plan);

    // What an honest prover would answer, and how far the linear form is off.
    let t = combined_row(&view.form, &attempt.rows, &attempt.model);
    let masks = source.masks.take().expect("recorded");
    let mut z: Vec<Fq> = masks.row.iter().zip(&t).map(|(y, t)| *y + c * *t).collect();
    let mut z2 = view.proof.z2.clone();
    let y = view.proof.sigma[0] - c * view.form.constant - dot(&z2, &view.form.linear);
    let error = y - dot(&z, &view.form.eq);
    assert!(error != Fq::ZERO, "the count is false");
    // A pad that no product uses and the form does: the first message.
    assert!(plan.products.iter().all(|(i, j)| *i != 0 && *j != 0));
    let shift = error * view.form.linear[0].invert();
    z2[0] += shift;

    let mut transcript = view.before_c.clone();
    assert!(transcript.challenge() == c);
    for scalar in &z2 {
        transcript.scalar(b"z2", *scalar);
    }
    for scalar in view.proof.blinds {
        transcript.scalar(b"blind", scalar);
    }
    let psi = match weight {
        Weight::Early => transcript.challenge(),
        Weight::Specified => transcript.clone().challenge(),
    };
    let theta = transcript.challenge();
    let (folds, points) = fold_with_error(
        &mut transcript,
        case,
        &generators,
        theta,
        &mut z,
        &view,
        psi * shift,
    );

    let mut writer = Writer::default();
    for row in &view.proof.auxiliary {
        writer.point(&row.bytes);
    }
    writer.point(&view.proof.pads.bytes);
    view.proof
        .clear
        .iter()
        .for_each(|scalar| writer.scalar(*scalar));
    view.proof
        .deltas
        .iter()
        .for_each(|delta| writer.point(&delta.bytes));
    view.proof
        .sigma
        .iter()
        .for_each(|scalar| writer.scalar(*scalar));
    for scalar in &z2 {
        writer.scalar(*scalar);
    }
    view.proof
        .blinds
        .iter()
        .for_each(|scalar| writer.scalar(*scalar));
    for point in &points {
        writer.point(point);
    }
    for scalar in &z {
        writer.scalar(*scalar);
    }
    let challenges = Challenges {
        c,
        theta,
        folds,
        psi,
    };
    (commitment, attempt.count, writer.finish(), view, challenges)
}

/// The folding of 10.4, with `error · G_0` added to the last `Lf`, whose factor in (A) is 1.
fn fold_with_error(
    transcript: &mut Transcript,
    case: &Case,
    generators: &Generators,
    theta: Fq,
    z: &mut Vec<Fq>,
    view: &View,
    error: Fq,
) -> (
    Vec<Fq>,
    Vec<curve25519_dalek::ristretto::CompressedRistretto>,
) {
    let (mut eq, mut g) = (
        view.form.eq.clone(),
        generators.g[..case.shape.columns()].to_vec(),
    );
    let (mut challenges, mut points) = (Vec::new(), Vec::new());
    for fold in 0..case.shape.folds {
        let half = z.len() / 2;
        let cross = |z: &[Fq], g: &[curve25519_dalek::RistrettoPoint], eq: &[Fq]| {
            let sum: curve25519_dalek::RistrettoPoint =
                z.iter().zip(g).map(|(z, g)| z.to_scalar() * g).sum();
            sum + (theta * dot(z, eq)).to_scalar() * generators.q
        };
        let mut left = cross(&z[..half], &g[half..], &eq[half..]);
        let right = cross(&z[half..], &g[..half], &eq[..half]);
        if fold + 1 == case.shape.folds {
            left += error.to_scalar() * generators.g[0];
        }
        for point in [left, right].map(|point| point.compress()) {
            transcript.point(b"fold", &point);
            points.push(point);
        }
        let x = transcript.challenge();
        *z = (0..half).map(|i| z[i] + x * z[half + i]).collect();
        eq = (0..half).map(|i| x * eq[i] + eq[half + i]).collect();
        g = (0..half)
            .map(|i| x.to_scalar() * g[i] + g[half + i])
            .collect();
        challenges.push(x);
    }
    (challenges, points)
}

#[test]
fn early_weight_of_the_two_equations() {
    let case = Case::random(&[6, 5, 3], &[4], 9, 5, 21);
    // Against the weak order the forgery works: this is what the rule is for.
    let (_, _, bytes, view, challenges) = forge(&case, Weight::Early);
    let layout = case.layout();
    let proof = crate::encoding::Proof::decode(&case.shape, &layout.plan, layout.rows, &bytes)
        .expect("decodes");
    check_products(&layout.plan, &proof, &view.form, challenges.c).expect("products are untouched");
    let weak = equation(
        &case.shape,
        &view.commitment,
        &proof,
        &view.form,
        &challenges,
    );
    assert!(
        weak.holds(&generators(&case.shape, &layout.plan)),
        "the weak verifier accepts a false count"
    );
    // Against this verifier it does not.
    for weight in [Weight::Early, Weight::Specified] {
        let (commitment, count, bytes, ..) = forge(&case, weight);
        assert_eq!(
            case.verify(&commitment, count, &bytes),
            Err(Error::Equation)
        );
    }
}

/// Weights `X⁻¹`, not integers, give one-hot logits for any labels; only well-formedness refuses.
#[test]
fn field_valued_weights_need_the_wellformedness_proof() {
    let third = Fq::from_u64(3).invert();
    let mut case = Case::random(&[2, 2], &[], 4, 2, 22);
    case.theta = vec![0; case.theta.len()];
    (case.inputs, case.labels) = (vec![2, 1, 1, 2], vec![0, 1]);
    let layout = case.layout();
    let mut attempt = Attempt::honest(&case);
    let (two, minus_one) = (Fq::from_u64(2) * third, -third);
    attempt.model.weights[0] = vec![vec![two, minus_one], vec![minus_one, two]];
    attempt.model.rows[0][..4].copy_from_slice(&[two, minus_one, minus_one, two]);
    let logits = [1, 0, 0, 1];
    for n in 0..2 {
        for j in 0..2 {
            let own = &logits[2 * n..2 * n + 2];
            let value = crate::statement::witness::margin(own, n, j, own[j]);
            attempt
                .rows
                .set_slabs(&layout.comparison, 2 * n + j, 0, value);
        }
        attempt.rows.set_slabs(&layout.winner, n, 1, 0);
    }
    attempt.count = 2;
    attempt.refresh(&case, &logits);
    attempt
        .verdict(&case)
        .expect("an accuracy proof alone is about field elements");
    let (_, bits) = crate::tests::support::wellformed_bits(&case);
    assert_eq!(
        wellformed_verdict(&case, &attempt.model, &bits),
        Err(Error::Equation)
    );
    // Field-valued "bits" that add up do not help either.
    let mut field = bits.clone();
    for (i, weight) in [two, minus_one, minus_one, two].into_iter().enumerate() {
        *field.at(0, i) += weight;
    }
    assert_eq!(
        wellformed_verdict(&case, &attempt.model, &field),
        Err(Error::Equation)
    );
    let honest_bits = ScalarRows {
        claimed: Some(bits.rows.clone()),
        ..field
    };
    assert_eq!(
        wellformed_verdict(&case, &attempt.model, &honest_bits),
        Err(Error::Equation)
    );
}

/// Shapes with equally long commitments do not share them.
#[test]
fn wellformedness_binds_the_dims() {
    let case = Case::random(&[6, 5, 3], &[4], 9, 5, 23);
    let (commitment, proof) = (case.commitment(), case.prove_wellformed());
    case.verify_wellformed(&commitment, &proof)
        .expect("its own shape");
    for (dims, bias_bits) in [
        ([7, 5, 3], 9),
        ([6, 6, 3], 9),
        ([6, 5, 4], 9),
        ([6, 5, 3], 10),
    ] {
        let shape = Shape::new(&dims, &[4], bias_bits).expect("shape");
        assert_eq!(shape.commitment_bytes(), case.shape.commitment_bytes());
        let other = Case {
            shape,
            ..Case::random(&[6, 5, 3], &[4], 9, 5, 23)
        };
        assert!(
            other.verify_wellformed(&commitment, &proof).is_err(),
            "{dims:?} {bias_bits}"
        );
    }
    // Shifts are not part of it: proven once, whatever the batch proof's shifts are.
    let shape = Shape::new(&[6, 5, 3], &[7], 9).expect("shape");
    let other = Case {
        shape,
        ..Case::random(&[6, 5, 3], &[4], 9, 5, 23)
    };
    other
        .verify_wellformed(&commitment, &proof)
        .expect("shifts are free");
    let (count, accuracy) = case.prove();
    case.verify(&commitment, count, &accuracy)
        .expect("its own shift");
    assert!(
        other.verify(&commitment, count, &accuracy).is_err(),
        "but bound by the accuracy proof"
    );
}
