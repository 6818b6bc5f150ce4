//! What a caller does: commit, prove, verify. Bytes in, bytes out.
//!
//! An accuracy proof means something only together with a well-formedness proof of the identical
//! commitment under the same owner's context: **accept both or neither** (docs/proof-system.md,
//! section 1).

mod prove;
mod verify;

use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

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

/// Runs `f` on that many threads, or on the process's own pool.
pub fn with_threads<T: Send>(threads: Option<usize>, f: impl FnOnce() -> T + Send) -> Result<T> {
    let pool = match threads {
        None => shared_pool()?,
        Some(threads @ 1..=256) => Arc::new(pool(threads)?),
        Some(_) => return Err(Error::Threads),
    };
    Ok(pool.install(f))
}

/// The pool of this process. Threads do not survive a fork, so a child makes a pool of its own.
fn shared_pool() -> Result<Arc<ThreadPool>> {
    static SHARED: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if let Some((owner, pool)) = &*shared
        && *owner == process
    {
        return Ok(Arc::clone(pool));
    }
    // 0: rayon's default, one thread per core.
    let own = Arc::new(pool(0)?);
    // A parent's pool is not dropped: its threads are not here to be told.
    std::mem::forget(shared.replace((process, Arc::clone(&own))));
    Ok(own)
}

fn pool(threads: usize) -> Result<ThreadPool> {
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    builder.build().map_err(|_| Error::Threads)
}
