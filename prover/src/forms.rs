//! Affine forms in the prover's pads, and their linear parts by backward propagation.
//!
//! The verifier computes with forms `const + <pads, lin>` instead of values (section 6 of the
//! document). Only the constants are computed at once; every form remembers which forms it was
//! combined from, and [`Tape::linear_part`] walks that record backwards once, at the end.

use crate::field::Fq;

/// An affine form; cheap to copy.
#[derive(Clone, Copy)]
pub struct Form {
    /// The part that does not depend on the pads.
    pub constant: Fq,
    /// Position in the tape's record; `None` for constants.
    node: Option<u32>,
}

impl Form {
    /// A constant.
    pub fn constant(constant: Fq) -> Self {
        Self {
            constant,
            node: None,
        }
    }
}

/// The record of all forms of a proof. The first nodes are the pads themselves.
pub struct Tape {
    pads: usize,
    terms: Vec<(u32, Fq)>,
    /// `ends[i]` is where the terms of node `pads + i` end.
    ends: Vec<usize>,
}

impl Tape {
    /// An empty record over that many pads.
    pub fn new(pads: usize) -> Self {
        Self {
            pads,
            terms: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// `constant + Σ coefficient · pads[index]`
    pub fn pads(&mut self, constant: Fq, terms: &[(usize, Fq)]) -> Form {
        self.terms.extend(
            terms
                .iter()
                .map(|(index, coefficient)| (index_u32(*index), *coefficient)),
        );
        self.close(constant)
    }

    /// `constant + Σ coefficient · form`
    pub fn combine(&mut self, constant: Fq, parts: &[(Form, Fq)]) -> Form {
        let mut sum = constant;
        for (form, coefficient) in parts {
            sum += form.constant * *coefficient;
            self.terms
                .extend(form.node.map(|node| (node, *coefficient)));
        }
        self.close(sum)
    }

    fn close(&mut self, constant: Fq) -> Form {
        self.ends.push(self.terms.len());
        Form {
            constant,
            node: Some(index_u32(self.pads + self.ends.len() - 1)),
        }
    }

    /// The coefficients of a form on the pads.
    pub fn linear_part(&self, form: Form) -> Vec<Fq> {
        let mut weights = vec![Fq::ZERO; self.pads + self.ends.len()];
        if let Some(node) = form.node {
            weights[node as usize] = Fq::ONE;
        }
        for (i, end) in self.ends.iter().enumerate().rev() {
            let weight = weights[self.pads + i];
            let start = if i == 0 { 0 } else { self.ends[i - 1] };
            if weight != Fq::ZERO {
                for (node, coefficient) in &self.terms[start..*end] {
                    weights[*node as usize] += weight * *coefficient;
                }
            }
        }
        weights.truncate(self.pads);
        weights
    }
}

/// Tapes stay far below 2^32 nodes: the limits of a shape allow some 10^5 messages.
fn index_u32(index: usize) -> u32 {
    u32::try_from(index).expect("tape within limits")
}
