//! Field sums, tables of eq, and affine forms against their definitions.
#![allow(clippy::cast_possible_wrap, reason = "random test data")]

use proptest::prelude::*;

use crate::field::{BitSum, Fq, IntegerSum, invert_all, lanes};
use crate::forms::{Form, Tape};
use crate::poly::{drop_variable, eq_table, fold, prefix};
use crate::statement::accuracy_prove::margin_dot;

/// proptest wants `Debug`, which scalars do not have.
#[derive(Clone)]
struct Hidden<T>(T);

impl<T> std::fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

fn scalars(count: std::ops::Range<usize>) -> impl Strategy<Value = Hidden<Vec<Fq>>> {
    prop::collection::vec(any::<[[u8; 32]; 2]>(), count).prop_map(|all| {
        Hidden(
            all.iter()
                .map(|halves| {
                    let mut wide = [0; 64];
                    wide[..32].copy_from_slice(&halves[0]);
                    wide[32..].copy_from_slice(&halves[1]);
                    Fq::from_wide_bytes(&wide)
                })
                .collect(),
        )
    })
}

proptest! {
    #[test]
    fn sums_of_integers_are_exact(Hidden(s) in scalars(1..40), seed in any::<u64>()) {
        let mut sum = IntegerSum::default();
        let mut bits = BitSum::default();
        let (mut expected, mut expected_bits) = (Fq::ZERO, Fq::ZERO);
        for (i, scalar) in s.iter().enumerate() {
            let integer = (seed.wrapping_mul(2 * i as u64 + 1) as i64) >> (8 + i % 50);
            sum.add(scalar, integer);
            expected += *scalar * Fq::from_i64(integer);
            let bit = seed >> (i % 64) & 1;
            bits.add(&lanes(scalar), 0u64.wrapping_sub(bit));
            expected_bits += *scalar * Fq::from_u64(bit);
        }
        prop_assert!(sum.finish() == expected);
        prop_assert!(bits.finish() == expected_bits);
    }

    #[test]
    fn field_agrees_with_dalek(Hidden(s) in scalars(2..3)) {
        let (a, b) = (s[0], s[1]);
        let (x, y) = (a.to_scalar(), b.to_scalar());
        prop_assert!((a * b).to_bytes() == (x * y).to_bytes());
        prop_assert!((a + b).to_bytes() == (x + y).to_bytes());
        prop_assert!((a - b).to_bytes() == (x - y).to_bytes());
        prop_assert!(a.square() == a * a && a.double() == a + a && -a + a == Fq::ZERO);
        prop_assert!(a.invert().to_bytes() == x.invert().to_bytes());
        prop_assert!(Fq::from_canonical_bytes(a.to_bytes()) == Some(a));
    }

    #[test]
    fn tables_of_eq(Hidden(point) in scalars(1..7), n in 0usize..80, Hidden(r) in scalars(1..2)) {
        let table = eq_table(&point);
        for (i, weight) in table.iter().enumerate() {
            let expected = point.iter().enumerate().map(|(j, x)| {
                if i >> (point.len() - 1 - j) & 1 == 1 { *x } else { Fq::ONE - *x }
            });
            prop_assert!(*weight == expected.fold(Fq::ONE, |a, b| a * b));
        }
        prop_assert!(prefix(&point, n) == table.iter().take(n).copied().sum());
        let mut rest = table.clone();
        drop_variable(&mut rest);
        prop_assert!(rest == eq_table(&point[1..]));
        let mut folded = table.clone();
        fold(&mut folded, r[0]);
        let factor = (Fq::ONE - point[0]) * (Fq::ONE - r[0]) + point[0] * r[0];
        prop_assert!(folded.iter().zip(rest).all(|(a, b)| *a == factor * b));
    }
}

#[test]
fn zero_has_inverse_zero() {
    let values = [Fq::from_u64(5), Fq::ZERO, Fq::from_u64(9)];
    let inverses = invert_all(&values);
    assert!(
        inverses[0] * values[0] == Fq::ONE
            && inverses[1] == Fq::ZERO
            && inverses[2] * values[2] == Fq::ONE
    );
}

#[test]
fn largest_sums_do_not_overflow() {
    let largest = -Fq::ONE;
    let mut sum = IntegerSum::default();
    for _ in 0..1 << 10 {
        sum.add(&largest, -(1 << 51));
    }
    assert!(sum.finish() == Fq::power_of_two(61));
}

/// As many margins as a batch may have, each as large as the limits allow.
#[test]
fn largest_margins_do_not_overflow() {
    let margin = 1 << 46;
    let scalars = vec![-Fq::ONE; 1 << 18];
    for margin in [margin, -margin] {
        let expected = Fq::from_i64(-margin) * Fq::power_of_two(18);
        assert!(margin_dot(&scalars, &vec![margin; scalars.len()]) == expected);
    }
}

#[test]
fn forms_propagate_backwards() {
    let k = Fq::from_u64;
    let mut tape = Tape::new(3);
    let a = tape.pads(k(10), &[(0, k(2)), (1, k(3))]);
    let b = tape.pads(k(20), &[(1, k(5)), (2, k(7))]);
    let c = tape.combine(
        k(1),
        &[(a, k(2)), (b, -k(1)), (Form::constant(k(4)), k(100))],
    );
    let d = tape.combine(k(0), &[(c, k(3)), (a, k(1))]);
    assert!(c.constant == k(401) && d.constant == k(1213));
    assert!(tape.linear_part(d) == [k(14), k(6), -k(21)]);
    assert!(tape.linear_part(Form::constant(k(9))) == [k(0); 3]);
}
