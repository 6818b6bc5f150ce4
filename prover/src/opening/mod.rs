//! One opening for all claims, constraints and products (section 10 of the document).
//!
//! This module holds what prover and verifier share: batching the claims, and reducing everything
//! to one linear form. [`prove`] and [`verify`] hold the two sides, [`fold`] the folding.

pub mod fold;
pub mod prove;
pub mod verify;

use crate::field::Fq;
use crate::forms::Form;
use crate::poly::{dot, eq_table, powers};
use crate::replay::Replay;

/// Claims combined by powers of `ρ`.
pub struct Batched {
    /// For each column the coefficients of the combined row: (row, coefficient).
    pub columns: Vec<Vec<(usize, Fq)>>,
    /// The sum over all columns of `<combined row, column>`.
    pub value: Form,
}

/// 10.1 up to the sumcheck.
pub fn batch_claims(replay: &mut Replay) -> Batched {
    let rho = replay.challenge();
    let weights = powers(rho, replay.claims.len());
    let mut columns = vec![Vec::new(); replay.columns.len()];
    let mut parts = Vec::with_capacity(replay.claims.len());
    for (claim, weight) in replay.claims.iter().zip(weights) {
        for entry in &claim.entries {
            columns[entry.column].push((entry.row, entry.coefficient * weight));
        }
        parts.push((claim.value, weight));
    }
    let value = replay.tape.combine(Fq::ZERO, &parts);
    Batched { columns, value }
}

/// What remains to be shown: `<t*, eq*> + <pads, linear> + constant = 0`, and the products.
pub struct Linear {
    /// `eq*`
    pub eq: Vec<Fq>,
    /// Coefficient of each row in `t*`.
    pub row_coefficients: Vec<Fq>,
    /// Coefficient of each column's combined row in `t*`.
    pub column_weights: Vec<Fq>,
    /// The constant.
    pub constant: Fq,
    /// Coefficients on the pads.
    pub linear: Vec<Fq>,
    /// Weights of the products.
    pub product_weights: Vec<Fq>,
}

/// 10.1 from the sumcheck on, and 10.2, for that many rows in all.
pub fn reduce(
    replay: &mut Replay,
    batched: &Batched,
    log_columns: usize,
    rows: usize,
    products: usize,
) -> Linear {
    let (last, point) = replay.sumcheck(batched.value, log_columns);
    let combined: Vec<Form> = batched
        .columns
        .iter()
        .map(|_| replay.message().form)
        .collect();
    let eq = eq_table(&point);
    let mut parts = vec![(last, Fq::ONE)];
    parts.extend(
        replay
            .columns
            .iter()
            .zip(&combined)
            .map(|(column, form)| (*form, -dot(column, &eq))),
    );
    replay.constrain(&parts);

    let tau = replay.challenge();
    let column_weights = powers(tau, combined.len());
    let mut row_coefficients = vec![Fq::ZERO; rows];
    for (column, weight) in batched.columns.iter().zip(&column_weights) {
        for (row, coefficient) in column {
            row_coefficients[*row] += *coefficient * *weight;
        }
    }
    let chi = replay.challenge();
    let constraint_weights = powers(chi, replay.constraints.len() + 1);
    let mut parts: Vec<_> = replay
        .constraints
        .iter()
        .copied()
        .zip(constraint_weights.into_iter().skip(1))
        .collect();
    parts.extend(
        combined
            .iter()
            .zip(&column_weights)
            .map(|(form, weight)| (*form, -*weight)),
    );
    let form = replay.tape.combine(Fq::ZERO, &parts);
    let omega = replay.challenge();
    Linear {
        eq,
        row_coefficients,
        column_weights,
        constant: form.constant,
        linear: replay.tape.linear_part(form),
        product_weights: powers(omega, products),
    }
}
