//! Zero-knowledge proofs of the accuracy of small quantized neural networks.
//!
//! The specification is docs/proof-system.md; section numbers in this crate refer to it. Layers,
//! from the bottom, each readable on its own:
//!
//! * [`field`], [`generators`]: arithmetic and points
//! * [`transcript`]: what is absorbed and where coins come from
//! * [`commitment`], [`rows`]: Pedersen commitments to rows
//! * [`forms`], [`replay`]: the verifier's pass, in affine forms of the prover's pads
//! * [`poly`], [`sumcheck`], [`booleanity`]: the prover's sumchecks
//! * [`opening`]: all claims, constraints and products in one group equation
//! * [`statement`]: shapes, layout, accuracy, well-formedness
//! * the bytes of a proof: [`encoding`]
//!
//! Callers use [`api`] and [`sums`].

pub mod api;
pub mod booleanity;
pub mod commitment;
pub mod encoding;
pub mod error;
pub mod field;
pub mod forms;
pub mod generators;
pub mod opening;
pub mod poly;
pub mod replay;
pub mod rows;
pub mod statement;
pub mod sumcheck;
pub mod sums;
pub mod transcript;

#[cfg(feature = "python")]
mod bindings;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use statement::shape::Shape;
