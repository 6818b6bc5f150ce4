//! The prover's side of masked messages and sumchecks.
//!
//! Tables are secret and are wiped. Every operation on them is field arithmetic, which takes
//! constant time; which operations are done depends on lengths alone.

use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::field::Fq;
use crate::poly::{PARALLEL, drop_variable, eq_table, fold};
use crate::transcript::Transcript;

/// A secret table over the hypercube.
pub type Table = Zeroizing<Vec<Fq>>;

/// State of the prover while it sends messages.
pub struct Prover<'a> {
    /// The transcript so far.
    pub transcript: Transcript,
    /// The clear messages sent so far.
    pub clear: Vec<Fq>,
    pads: &'a [Fq],
}

impl<'a> Prover<'a> {
    /// Starts after the auxiliary rows and the pad row were absorbed.
    pub fn new(transcript: Transcript, pads: &'a [Fq]) -> Self {
        Self {
            transcript,
            clear: Vec::new(),
            pads,
        }
    }

    /// Continues after messages that were sent before.
    pub fn resume(transcript: Transcript, pads: &'a [Fq], clear: Vec<Fq>) -> Self {
        Self {
            transcript,
            clear,
            pads,
        }
    }

    /// Sends a message, masked by its pad.
    pub fn send(&mut self, value: Fq) {
        let clear = value + self.pads[self.clear.len()];
        self.transcript.scalar(b"msg", clear);
        self.clear.push(clear);
    }

    /// Draws a challenge.
    pub fn challenge(&mut self) -> Fq {
        self.transcript.challenge()
    }

    /// Sends `g(0)` and `g(2)`, draws the challenge, and returns it.
    pub fn round(&mut self, g0: Fq, g2: Fq) -> Fq {
        self.send(g0);
        self.send(g2);
        self.challenge()
    }

    /// Proves a sum over all entries of `inner(tables)`, of degree at most 2 in the tables.
    /// Returns the tables' values at the point, and the point.
    pub fn sumcheck<const T: usize>(
        &mut self,
        mut tables: [Table; T],
        inner: impl Fn(&[Fq; T]) -> Fq + Sync,
    ) -> ([Fq; T], Vec<Fq>) {
        let mut point = Vec::new();
        while tables[0].len() > 1 {
            let (g0, g2) = evaluate(&tables, None, &inner);
            let r = self.round(g0, g2);
            for table in &mut tables {
                fold(table, r);
            }
            point.push(r);
        }
        (tables.each_ref().map(|table| table[0]), point)
    }

    /// Proves a sum over all entries of `eq(at) · inner(tables)`, the eq factor outside.
    /// Returns the tables' values at the point, and the point.
    pub fn zero_check<const T: usize>(
        &mut self,
        at: &[Fq],
        mut tables: [Table; T],
        inner: impl Fn(&[Fq; T]) -> Fq + Sync,
    ) -> ([Fq; T], Vec<Fq>) {
        let mut point = Vec::new();
        let mut eq = eq_table(at.get(1..).unwrap_or(&[]));
        while tables[0].len() > 1 {
            let (g0, g2) = evaluate(&tables, Some(&eq), &inner);
            let r = self.round(g0, g2);
            for table in &mut tables {
                fold(table, r);
            }
            drop_variable(&mut eq);
            point.push(r);
        }
        (tables.each_ref().map(|table| table[0]), point)
    }
}

/// `g(0)` and `g(2)` of the round polynomial.
fn evaluate<const T: usize>(
    tables: &[Table; T],
    eq: Option<&[Fq]>,
    inner: &(impl Fn(&[Fq; T]) -> Fq + Sync),
) -> (Fq, Fq) {
    let half = tables[0].len() / 2;
    let term = |i: usize| {
        let low = std::array::from_fn(|t| tables[t][i]);
        let beyond = std::array::from_fn(|t| tables[t][i + half].double() - tables[t][i]);
        let (at0, at2) = (inner(&low), inner(&beyond));
        eq.map_or((at0, at2), |eq| (at0 * eq[i], at2 * eq[i]))
    };
    let add = |a: (Fq, Fq), b: (Fq, Fq)| (a.0 + b.0, a.1 + b.1);
    if half >= PARALLEL / 4 {
        (0..half)
            .into_par_iter()
            .with_min_len(512)
            .map(term)
            .reduce(Default::default, add)
    } else {
        (0..half).map(term).fold(Default::default(), add)
    }
}
