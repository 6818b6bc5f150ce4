//! The bytes of a proof: 32-byte units, one length per shape, canonical points and scalars only.
//!
//! Section 11 of the document. The length is checked before anything is allocated.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::field::Fq;
use crate::replay::Plan;
use crate::statement::layout::proof_bytes;
use crate::statement::shape::Shape;

/// A point and its encoding.
#[derive(Clone, Copy)]
pub struct Point {
    /// The 32 bytes.
    pub bytes: CompressedRistretto,
    /// The group element.
    pub point: RistrettoPoint,
}

/// A decoded proof.
pub struct Proof {
    /// Auxiliary rows.
    pub auxiliary: Vec<Point>,
    /// The pad row.
    pub pads: Point,
    /// Clear messages.
    pub clear: Vec<Fq>,
    /// `δ1, δ2`
    pub deltas: [Point; 2],
    /// `vd, e0, e1`
    pub sigma: [Fq; 3],
    /// `z2`
    pub z2: Vec<Fq>,
    /// `t1, t2`
    pub blinds: [Fq; 2],
    /// `Lf, Rf` per fold.
    pub folds: Vec<[Point; 2]>,
    /// The folded `z1`.
    pub last: Vec<Fq>,
}

impl Proof {
    /// Decodes a proof for a statement with that plan and that many auxiliary rows.
    pub fn decode(shape: &Shape, plan: &Plan, rows: usize, bytes: &[u8]) -> Result<Self> {
        if bytes.len() != proof_bytes(shape, plan, rows) {
            return Err(Error::ProofLength);
        }
        let mut units = Units(bytes);
        Ok(Self {
            auxiliary: units.points(rows)?,
            pads: units.point()?,
            clear: units.scalars(plan.messages)?,
            deltas: [units.point()?, units.point()?],
            sigma: [units.scalar()?, units.scalar()?, units.scalar()?],
            z2: units.scalars(plan.pads())?,
            blinds: [units.scalar()?, units.scalar()?],
            folds: (0..shape.folds)
                .map(|_| Ok([units.point()?, units.point()?]))
                .collect::<Result<_>>()?,
            last: units.scalars(shape.columns() >> shape.folds)?,
        })
    }
}

/// The units not yet read. The total length was checked.
struct Units<'a>(&'a [u8]);

impl<'a> Units<'a> {
    fn take(&mut self, count: usize) -> &'a [[u8; 32]] {
        let (head, tail) = self.0.split_at(32 * count);
        self.0 = tail;
        head.as_chunks().0
    }

    fn points(&mut self, count: usize) -> Result<Vec<Point>> {
        decode_points(self.take(count)).ok_or(Error::ProofPoint)
    }

    fn scalars(&mut self, count: usize) -> Result<Vec<Fq>> {
        self.take(count)
            .iter()
            .map(|unit| Fq::from_canonical_bytes(*unit).ok_or(Error::ProofScalar))
            .collect()
    }

    fn point(&mut self) -> Result<Point> {
        decode_point(&self.take(1)[0]).ok_or(Error::ProofPoint)
    }

    fn scalar(&mut self) -> Result<Fq> {
        Fq::from_canonical_bytes(self.take(1)[0]).ok_or(Error::ProofScalar)
    }
}

fn decode_point(unit: &[u8; 32]) -> Option<Point> {
    let bytes = CompressedRistretto(*unit);
    bytes.decompress().map(|point| Point { bytes, point })
}

fn decode_points(units: &[[u8; 32]]) -> Option<Vec<Point>> {
    units.par_iter().map(decode_point).collect()
}

/// Decodes a commitment for a shape.
pub fn decode_commitment(shape: &Shape, bytes: &[u8]) -> Result<Vec<Point>> {
    if bytes.len() != shape.commitment_bytes() {
        return Err(Error::CommitmentLength);
    }
    decode_points(bytes.as_chunks().0).ok_or(Error::CommitmentEncoding)
}

/// Encodes points.
pub fn encode_points(points: &[CompressedRistretto]) -> Vec<u8> {
    points
        .iter()
        .flat_map(CompressedRistretto::to_bytes)
        .collect()
}

/// Decodes the blindings of a commitment for a shape: canonical scalars.
pub fn decode_blindings(shape: &Shape, bytes: &[u8]) -> Result<Zeroizing<Vec<Scalar>>> {
    if bytes.len() != shape.commitment_bytes() {
        return Err(Error::BlindingLength);
    }
    let mut out = Zeroizing::new(Vec::with_capacity(shape.rows));
    for unit in bytes.as_chunks().0 {
        out.push(
            Option::<Scalar>::from(Scalar::from_canonical_bytes(*unit))
                .ok_or(Error::BlindingEncoding)?,
        );
    }
    Ok(out)
}

/// Collects the bytes of a proof.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Appends a point.
    pub fn point(&mut self, point: &CompressedRistretto) {
        self.0.extend_from_slice(point.as_bytes());
    }

    /// Appends a scalar.
    pub fn scalar(&mut self, scalar: Fq) {
        self.0.extend_from_slice(&scalar.to_bytes());
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}
