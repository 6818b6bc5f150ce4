//! Scalars modulo the order `q` of ristretto255, and constant-time sums of scalars times integers.
//!
//! The arithmetic is fiat-crypto's: generated from a machine-checked proof, constant-time, four
//! 64-bit limbs in Montgomery form. This module only gives it operators and conversions.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "limbs are cut from wider sums on purpose"
)]

use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use curve25519_dalek::scalar::Scalar;
use fiat_crypto::curve25519_scalar_64 as fiat;
use fiat_crypto::curve25519_scalar_64::{
    fiat_25519_scalar_montgomery_domain_field_element as Mont,
    fiat_25519_scalar_non_montgomery_domain_field_element as Plain,
};
use subtle::{Choice, ConditionallySelectable};
use zeroize::DefaultIsZeroes;

/// `q` in 64-bit limbs, lowest first.
const ORDER: [u64; 4] = [
    0x5812_631a_5cf5_d3ed,
    0x14de_f9de_a2f7_9cd6,
    0,
    0x1000_0000_0000_0000,
];

/// A scalar modulo `q`, always reduced.
///
/// `==` may take variable time: it is used on public values only. There is no `Debug`: most
/// scalars here are secret.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Fq([u64; 4]);

impl DefaultIsZeroes for Fq {}

impl Fq {
    /// 0
    pub const ZERO: Self = Self([0; 4]);
    /// 1 (the limbs are 2^256 mod `q`)
    pub const ONE: Self = Self([
        0xd6ec_3174_8d98_951d,
        0xc6ef_5bf4_737d_cf70,
        0xffff_ffff_ffff_fffe,
        0x0fff_ffff_ffff_ffff,
    ]);

    /// The scalar of an unsigned integer.
    pub fn from_u64(value: u64) -> Self {
        let mut out = Mont([0; 4]);
        fiat::fiat_25519_scalar_to_montgomery(&mut out, &Plain([value, 0, 0, 0]));
        Self(out.0)
    }

    /// The scalar of a signed integer, in constant time.
    pub fn from_i64(value: i64) -> Self {
        let positive = Self::from_u64(value.unsigned_abs());
        let negative = Choice::from(u8::from(value < 0));
        Self::conditional_select(&positive, &-positive, negative)
    }

    /// `2^exponent`, for exponents below 64.
    pub fn power_of_two(exponent: u32) -> Self {
        Self::from_u64(1 << exponent)
    }

    /// 64 little-endian bytes, reduced.
    pub fn from_wide_bytes(bytes: &[u8; 64]) -> Self {
        Self::from_scalar(&Scalar::from_bytes_mod_order_wide(bytes))
    }

    /// The scalar of a curve25519-dalek scalar.
    pub fn from_scalar(scalar: &Scalar) -> Self {
        let mut out = Mont([0; 4]);
        fiat::fiat_25519_scalar_to_montgomery(&mut out, &Plain(limbs(scalar.as_bytes())));
        Self(out.0)
    }

    /// 32 little-endian bytes; `None` unless smaller than `q`.
    pub fn from_canonical_bytes(bytes: [u8; 32]) -> Option<Self> {
        Option::<Scalar>::from(Scalar::from_canonical_bytes(bytes)).map(|s| Self::from_scalar(&s))
    }

    /// 32 little-endian bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut plain = Plain([0; 4]);
        fiat::fiat_25519_scalar_from_montgomery(&mut plain, &Mont(self.0));
        let mut out = [0; 32];
        for (bytes, limb) in out.chunks_exact_mut(8).zip(plain.0) {
            bytes.copy_from_slice(&limb.to_le_bytes());
        }
        out
    }

    /// The same scalar for curve25519-dalek.
    pub fn to_scalar(self) -> Scalar {
        Scalar::from_bytes_mod_order(self.to_bytes())
    }

    /// The square.
    #[must_use]
    pub fn square(self) -> Self {
        let mut out = Mont([0; 4]);
        fiat::fiat_25519_scalar_square(&mut out, &Mont(self.0));
        Self(out.0)
    }

    /// The scalar itself where `mask` is all ones, 0 where it is 0.
    #[inline]
    #[must_use]
    pub fn masked(self, mask: u64) -> Self {
        Self(self.0.map(|limb| limb & mask))
    }

    /// Twice the scalar.
    #[must_use]
    pub fn double(self) -> Self {
        self + self
    }

    /// The inverse; 0 for 0.
    #[must_use]
    pub fn invert(self) -> Self {
        Self::from_scalar(&self.to_scalar().invert())
    }

    /// Montgomery limbs of a sum, given as an unsigned integer of eight limbs, not yet reduced.
    fn from_unreduced(sum: [u64; 8]) -> Self {
        let mut bytes = [0; 64];
        for (out, limb) in bytes.chunks_exact_mut(8).zip(sum) {
            out.copy_from_slice(&limb.to_le_bytes());
        }
        Self(limbs(Scalar::from_bytes_mod_order_wide(&bytes).as_bytes()))
    }
}

fn limbs(bytes: &[u8; 32]) -> [u64; 4] {
    let mut out = [0; 4];
    for (limb, chunk) in out.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        *limb = u64::from_le_bytes(eight);
    }
    out
}

impl ConditionallySelectable for Fq {
    fn conditional_select(a: &Self, b: &Self, choice: Choice) -> Self {
        Self(std::array::from_fn(|i| {
            u64::conditional_select(&a.0[i], &b.0[i], choice)
        }))
    }
}

impl Add for Fq {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        let mut out = Mont([0; 4]);
        fiat::fiat_25519_scalar_add(&mut out, &Mont(self.0), &Mont(other.0));
        Self(out.0)
    }
}

impl Sub for Fq {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        let mut out = Mont([0; 4]);
        fiat::fiat_25519_scalar_sub(&mut out, &Mont(self.0), &Mont(other.0));
        Self(out.0)
    }
}

impl Mul for Fq {
    type Output = Self;
    #[inline]
    fn mul(self, other: Self) -> Self {
        let mut out = Mont([0; 4]);
        fiat::fiat_25519_scalar_mul(&mut out, &Mont(self.0), &Mont(other.0));
        Self(out.0)
    }
}

impl Neg for Fq {
    type Output = Self;
    fn neg(self) -> Self {
        Self::ZERO - self
    }
}

impl AddAssign for Fq {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Fq {
    #[inline]
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl MulAssign for Fq {
    #[inline]
    fn mul_assign(&mut self, other: Self) {
        *self = *self * other;
    }
}

impl Sum for Fq {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// Inverses of all elements with one inversion; 0 stays 0. Variable time: public values only.
pub fn invert_all(values: &[Fq]) -> Vec<Fq> {
    let mut products = Vec::with_capacity(values.len());
    let mut product = Fq::ONE;
    for value in values {
        products.push(product);
        if *value != Fq::ZERO {
            product *= *value;
        }
    }
    let mut inverse = product.invert();
    for (value, before) in values.iter().zip(&mut products).rev() {
        if *value == Fq::ZERO {
            *before = Fq::ZERO;
        } else {
            *before *= inverse;
            inverse *= *value;
        }
    }
    products
}

/// Sum of scalars times signed integers, without reduction in between, in constant time.
///
/// Exact while the sum of the absolute values of the integers stays below 2^62.
#[derive(Clone, Copy, Default)]
pub struct IntegerSum([i128; 4]);

impl DefaultIsZeroes for IntegerSum {}

impl IntegerSum {
    /// Adds `scalar * integer`.
    #[inline]
    pub fn add(&mut self, scalar: &Fq, integer: i64) {
        for (sum, limb) in self.0.iter_mut().zip(scalar.0) {
            *sum += i128::from(limb) * i128::from(integer);
        }
    }

    /// The sum, reduced.
    pub fn finish(&self) -> Fq {
        // A multiple of q, larger than any sum in absolute value, makes the integer positive.
        let mut out = [0, 0, ORDER[0], ORDER[1], ORDER[2], ORDER[3], 0, 0];
        let mut carry = 0i128;
        for (i, limb) in out.iter_mut().enumerate() {
            let sum = self.0.get(i).copied().unwrap_or(0);
            // The low and high halves are added apart so that nothing overflows.
            let low =
                i128::from(*limb) + (sum & i128::from(u64::MAX)) + (carry & i128::from(u64::MAX));
            *limb = (low & i128::from(u64::MAX)) as u64;
            carry = (low >> 64) + (sum >> 64) + (carry >> 64);
        }
        Fq::from_unreduced(out)
    }
}

/// A scalar cut into 32-bit pieces, one per 64-bit lane, ready for [`BitSum`].
pub type Lanes = [u64; 8];

/// Cuts a scalar into lanes.
#[inline]
pub fn lanes(scalar: &Fq) -> Lanes {
    let mut out = [0; 8];
    for (pair, limb) in out.chunks_exact_mut(2).zip(scalar.0) {
        pair[0] = limb & 0xffff_ffff;
        pair[1] = limb >> 32;
    }
    out
}

/// Sum of scalars times secret bits, in constant time. Exact for up to 2^32 terms.
#[derive(Clone, Copy, Default)]
pub struct BitSum(Lanes);

impl DefaultIsZeroes for BitSum {}

impl BitSum {
    /// Adds `scalar * bit`; `mask` is all ones for bit 1 and 0 for bit 0.
    #[inline]
    pub fn add(&mut self, scalar: &Lanes, mask: u64) {
        for (sum, lane) in self.0.iter_mut().zip(scalar) {
            *sum += lane & mask;
        }
    }

    /// The sum, reduced.
    pub fn finish(&self) -> Fq {
        let mut out = [0; 8];
        let mut carry = 0u128;
        for (limb, pair) in out.iter_mut().zip(self.0.chunks_exact(2)) {
            carry += u128::from(pair[0]) + (u128::from(pair[1]) << 32);
            *limb = (carry & u128::from(u64::MAX)) as u64;
            carry >>= 64;
        }
        out[4] = (carry & u128::from(u64::MAX)) as u64;
        Fq::from_unreduced(out)
    }
}
