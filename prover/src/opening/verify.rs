//! The verifier: from the bytes of a proof to one group equation (sections 10.5 and 12).

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::traits::IsIdentity;

use crate::commitment::multi_scalar_mul;
use crate::encoding::{Point, Proof};
use crate::error::{Error, Result};
use crate::field::Fq;
use crate::generators::Generators;
use crate::opening::{Linear, batch_claims, reduce};
use crate::replay::{Plan, Replay};
use crate::statement::shape::Shape;
use crate::transcript::Transcript;

/// `Σ g_i G_i + h H + q Q + Σ scalars_i points_i = 0` if the proof is right.
pub struct Equation {
    g: Vec<Fq>,
    h: Fq,
    q: Fq,
    scalars: Vec<Fq>,
    points: Vec<RistrettoPoint>,
}

impl Equation {
    /// An equation over rows only.
    pub fn opening(g: Vec<Fq>, h: Fq, scalars: Vec<Fq>, points: Vec<RistrettoPoint>) -> Self {
        Self {
            g,
            h,
            q: Fq::ZERO,
            scalars,
            points,
        }
    }

    /// Whether it holds.
    pub fn holds(self, generators: &Generators) -> bool {
        self.left_side(generators).is_identity()
    }

    pub(crate) fn left_side(mut self, generators: &Generators) -> RistrettoPoint {
        self.scalars.extend_from_slice(&self.g);
        self.points.extend_from_slice(&generators.g[..self.g.len()]);
        self.scalars.extend([self.h, self.q]);
        self.points.extend([generators.h, generators.q]);
        multi_scalar_mul(&self.scalars, &self.points)
    }

    /// The sum of equations, each times a weight.
    pub fn sum<'a>(weighted: impl Iterator<Item = (&'a Self, Fq)>) -> Self {
        let mut sum = Self {
            g: Vec::new(),
            h: Fq::ZERO,
            q: Fq::ZERO,
            scalars: Vec::new(),
            points: Vec::new(),
        };
        for (equation, weight) in weighted {
            sum.g.resize(sum.g.len().max(equation.g.len()), Fq::ZERO);
            sum.g
                .iter_mut()
                .zip(&equation.g)
                .for_each(|(sum, g)| *sum += weight * *g);
            sum.h += weight * equation.h;
            sum.q += weight * equation.q;
            sum.scalars
                .extend(equation.scalars.iter().map(|scalar| weight * *scalar));
            sum.points.extend_from_slice(&equation.points);
        }
        sum
    }
}

/// Checks everything but the group equation, which is returned.
///
/// `transcript` holds the public values; `replay_statement` is the statement up to the opening.
pub fn verify(
    shape: &Shape,
    plan: &Plan,
    mut transcript: Transcript,
    commitment: &[Point],
    proof: &Proof,
    replay_statement: impl FnOnce(&mut Replay),
) -> Result<Equation> {
    for row in &proof.auxiliary {
        transcript.point(b"aux", &row.bytes);
    }
    transcript.point(b"pads", &proof.pads.bytes);
    let mut replay = Replay::new(transcript, plan, shape.log_columns, proof.clear.clone());
    replay_statement(&mut replay);
    let batched = batch_claims(&mut replay);
    let rows = proof.auxiliary.len() + commitment.len();
    let form = reduce(
        &mut replay,
        &batched,
        shape.log_columns,
        rows,
        plan.products.len(),
    );
    debug_assert!(replay.is_complete());
    let challenges = challenges(&mut replay.transcript, proof);
    check_products(plan, proof, &form, challenges.c)?;
    Ok(equation(shape, commitment, proof, &form, &challenges))
}

/// The challenges of 10.3 and 10.4.
pub(crate) struct Challenges {
    pub(crate) c: Fq,
    pub(crate) theta: Fq,
    pub(crate) folds: Vec<Fq>,
    pub(crate) psi: Fq,
}

pub(crate) fn challenges(transcript: &mut Transcript, proof: &Proof) -> Challenges {
    for delta in &proof.deltas {
        transcript.point(b"delta", &delta.bytes);
    }
    for value in proof.sigma {
        transcript.scalar(b"sigma", value);
    }
    let c = transcript.challenge();
    for z in &proof.z2 {
        transcript.scalar(b"z2", *z);
    }
    for response in proof.blinds {
        transcript.scalar(b"blind", response);
    }
    let theta = transcript.challenge();
    let mut folds = Vec::with_capacity(proof.folds.len());
    for [left, right] in &proof.folds {
        transcript.point(b"fold", &left.bytes);
        transcript.point(b"fold", &right.bytes);
        folds.push(transcript.challenge());
    }
    for z in &proof.last {
        transcript.scalar(b"z1", *z);
    }
    // Last of all: drawn earlier, it would let any count be proven.
    let psi = transcript.challenge();
    Challenges {
        c,
        theta,
        folds,
        psi,
    }
}

/// 10.5.1
pub(crate) fn check_products(plan: &Plan, proof: &Proof, form: &Linear, c: Fq) -> Result<()> {
    let z = &proof.z2;
    let mut sum = z[z.len() - 1];
    for (k, ((i, j), weight)) in plan.products.iter().zip(&form.product_weights).enumerate() {
        sum += *weight * (z[*i] * z[*j] - c * z[plan.messages + k]);
    }
    let [_, e0, e1] = proof.sigma;
    if sum == e0 + c * e1 {
        Ok(())
    } else {
        Err(Error::Products)
    }
}

/// 10.5.2 plus `ψ` times 10.5.3.
pub(crate) fn equation(
    shape: &Shape,
    commitment: &[Point],
    proof: &Proof,
    form: &Linear,
    challenges: &Challenges,
) -> Equation {
    let Challenges { c, theta, psi, .. } = *challenges;
    let [vd, ..] = proof.sigma;
    let [t1, t2] = proof.blinds;
    let y = vd - c * form.constant - crate::poly::dot(&proof.z2, &form.linear);

    // The folded generators are Σ_b factors[b] G_{b·len + i}; eq folds alongside.
    let (mut factors, mut eq) = (vec![Fq::ONE], form.eq.clone());
    for x in &challenges.folds {
        let half = eq.len() / 2;
        eq = (0..half).map(|i| *x * eq[i] + eq[half + i]).collect();
        factors = factors
            .iter()
            .flat_map(|factor| [*factor * *x, *factor])
            .collect();
    }

    let rows = proof.auxiliary.len() + commitment.len();
    let mut scalars = Vec::with_capacity(rows + 3 + 2 * proof.folds.len());
    let mut points = Vec::with_capacity(scalars.capacity());
    // A_f = Σ_k (Π_{i>k} x_i) (Lf_k + x_k² Rf_k) + (Π x_i) A_0
    let mut outer = Fq::ONE;
    for ([left, right], x) in proof.folds.iter().zip(&challenges.folds).rev() {
        scalars.extend([outer, outer * x.square()]);
        points.extend([left.point, right.point]);
        outer *= *x;
    }
    scalars.extend([outer, psi, psi * c]);
    points.extend([
        proof.deltas[0].point,
        proof.deltas[1].point,
        proof.pads.point,
    ]);
    scalars.extend(
        form.row_coefficients
            .iter()
            .map(|coefficient| outer * c * *coefficient),
    );
    points.extend(
        proof
            .auxiliary
            .iter()
            .chain(commitment)
            .map(|row| row.point),
    );

    let mut g = vec![Fq::ZERO; shape.columns().max(proof.z2.len())];
    for (factor, block) in factors.iter().zip(g.chunks_exact_mut(proof.last.len())) {
        block
            .iter_mut()
            .zip(&proof.last)
            .for_each(|(g, z)| *g = -(*factor * *z));
    }
    g.iter_mut()
        .zip(&proof.z2)
        .for_each(|(g, z)| *g -= psi * *z);
    let h = -(outer * t1 + psi * t2);
    let q = theta * (outer * y - crate::poly::dot(&proof.last, &eq));
    Equation {
        g,
        h,
        q,
        scalars,
        points,
    }
}
