//! What a caller does: commit, prove, verify. Bytes in, bytes out.
//!
//! An accuracy proof means something only together with a well-formedness proof of the identical
//! commitment under the same owner's context: **accept both or neither** (docs/proof-system.md,
//! section 1).

mod prove;
mod verify;

use crate::error::{Error, Result};
use crate::statement::layout::{AccuracyLayout, WellformedLayout, proof_bytes};
use crate::statement::shape::Shape;

#[cfg(test)]
pub(crate) use prove::{Opened, prove_wellformed_with, prove_with};
pub use prove::{commit, count, prove, prove_wellformed, random_blinding};
pub use verify::{
    AccuracyItem, WellformedItem, verify, verify_many, verify_wellformed, verify_wellformed_many,
};

/// A labelled batch.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// `N · d_0` bytes, row-major.
    pub inputs: &'a [u8],
    /// `N` class numbers.
    pub labels: &'a [u8],
}

/// Length in bytes of an accuracy proof for a batch of that size.
pub fn accuracy_bytes(shape: &Shape, batch: usize) -> Result<usize> {
    let layout = AccuracyLayout::new(shape, batch)?;
    Ok(proof_bytes(shape, &layout.plan, layout.rows))
}

/// Length in bytes of a well-formedness proof.
pub fn wellformed_bytes(shape: &Shape) -> usize {
    let layout = WellformedLayout::new(shape);
    proof_bytes(shape, &layout.plan, layout.rows)
}

/// Runs `f` on that many threads, or on rayon's default number.
pub fn with_threads<T: Send>(threads: Option<usize>, f: impl FnOnce() -> T + Send) -> Result<T> {
    match threads {
        None => Ok(f()),
        Some(1..=256) => {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads.unwrap_or(0))
                .build();
            Ok(pool.map_err(|_| Error::Threads)?.install(f))
        }
        Some(_) => Err(Error::Threads),
    }
}
