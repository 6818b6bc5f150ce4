//! Multilinear extensions: tables of the Lagrange kernel `eq`, sums and foldings of tables.
//!
//! Points list the coordinate of the most significant index bit first.

use rayon::prelude::*;

use crate::field::Fq;

/// Tables at least this long are worked on by several threads.
pub const PARALLEL: usize = 4096;

/// `eq(point)`: the `2^len` Lagrange weights of a point.
pub fn eq_table(point: &[Fq]) -> Vec<Fq> {
    let mut table = Vec::with_capacity(1 << point.len());
    table.push(Fq::ONE);
    for coordinate in point.iter().rev() {
        // The coordinate added last is the most significant bit.
        let half = table.len();
        for i in 0..half {
            let high = table[i] * *coordinate;
            table[i] -= high;
            table.push(high);
        }
    }
    table
}

/// `pre(point, n)`: the sum of the first `n` Lagrange weights.
pub fn prefix(point: &[Fq], n: usize) -> Fq {
    if n >> point.len() != 0 {
        return Fq::ONE;
    }
    let mut sum = Fq::ZERO;
    let mut weight = Fq::ONE;
    for (i, coordinate) in point.iter().enumerate() {
        let high = weight * *coordinate;
        if n >> (point.len() - 1 - i) & 1 == 1 {
            sum += weight - high;
            weight = high;
        } else {
            weight -= high;
        }
    }
    sum
}

/// Inner product.
pub fn dot(a: &[Fq], b: &[Fq]) -> Fq {
    a.iter().zip(b).map(|(x, y)| *x * *y).sum()
}

/// `1, base, base^2, …`
pub fn powers(base: Fq, count: usize) -> Vec<Fq> {
    std::iter::successors(Some(Fq::ONE), |last| Some(*last * base))
        .take(count)
        .collect()
}

/// Binds the most significant variable of a table to `r`; the table halves.
pub fn fold(table: &mut Vec<Fq>, r: Fq) {
    let half = table.len() / 2;
    let (low, high) = table.split_at_mut(half);
    let bind = |(x, y): (&mut Fq, &Fq)| *x += r * (*y - *x);
    if half >= PARALLEL {
        low.par_iter_mut()
            .with_min_len(1024)
            .zip(high.par_iter())
            .for_each(bind);
    } else {
        low.iter_mut().zip(high.iter()).for_each(bind);
    }
    table.truncate(half);
}

/// Sums out the most significant variable of an `eq` table: what is left is `eq` of the rest.
pub fn drop_variable(table: &mut Vec<Fq>) {
    let half = table.len() / 2;
    if half > 0 {
        let (low, high) = table.split_at_mut(half);
        for (x, y) in low.iter_mut().zip(high) {
            *x += *y;
        }
        table.truncate(half);
    }
}
