//! Folding of `z1` (10.4): public values only, so variable time.

use rayon::prelude::*;

use crate::commitment::multi_scalar_mul;
use crate::encoding::Writer;
use crate::field::Fq;
use crate::generators::Generators;
use crate::poly::dot;
use crate::transcript::Transcript;

/// The prover's rounds: writes and absorbs `Lf, Rf` and the final scalars.
pub fn prove(
    generators: &Generators,
    transcript: &mut Transcript,
    writer: &mut Writer,
    folds: usize,
    mut z: Vec<Fq>,
    mut eq: Vec<Fq>,
) {
    let columns = z.len();
    let theta = transcript.challenge();
    // The folded generator i is Σ_b factors[b·len + i] · G_{b·len + i}.
    let mut factors = vec![Fq::ONE; columns];
    for _ in 0..folds {
        let (len, half) = (z.len(), z.len() / 2);
        let cross = |z: &[Fq], eq: &[Fq], offset: usize| {
            let (mut scalars, mut points) = (
                Vec::with_capacity(columns / 2 + 1),
                Vec::with_capacity(columns / 2 + 1),
            );
            for block in (offset..columns).step_by(len) {
                scalars.extend(
                    z.iter()
                        .zip(&factors[block..])
                        .map(|(z, factor)| *z * *factor),
                );
                points.extend_from_slice(&generators.g[block..block + half]);
            }
            scalars.push(theta * dot(z, eq));
            points.push(generators.q);
            multi_scalar_mul(&scalars, &points).compress()
        };
        let (left, right) = rayon::join(
            || cross(&z[..half], &eq[half..], half),
            || cross(&z[half..], &eq[..half], 0),
        );
        for point in [left, right] {
            transcript.point(b"fold", &point);
            writer.point(&point);
        }
        let x = transcript.challenge();
        factors
            .par_chunks_mut(half)
            .step_by(2)
            .for_each(|low| low.iter_mut().for_each(|factor| *factor *= x));
        z = (0..half).map(|i| z[i] + x * z[half + i]).collect();
        eq = (0..half).map(|i| x * eq[i] + eq[half + i]).collect();
    }
    for scalar in z {
        transcript.scalar(b"z1", scalar);
        writer.scalar(scalar);
    }
}
