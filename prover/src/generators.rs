//! The public generators, and tables of their sums for committing to bits.
//!
//! Generators are hashed to the group (section 4 of the document); nobody knows a logarithm.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use curve25519_dalek::ristretto::{RistrettoBasepointTable, RistrettoPoint};
use curve25519_dalek::traits::Identity;
use rayon::prelude::*;
use sha2::{Digest, Sha512};

const DOMAIN: &[u8] = b"zkpot/sumcheck/v1/generator/";

/// Bits per table when tables are scanned in constant time.
pub const SCAN_BITS: usize = 4;
/// Bits per table when tables are indexed.
pub const LOOKUP_BITS: usize = 8;

/// `G_0, G_1, …`, `H` and `Q`.
pub struct Generators {
    /// `G_i`: rows and pads.
    pub g: Vec<RistrettoPoint>,
    /// `H`: blindings.
    pub h: RistrettoPoint,
    /// `Q`: inner products.
    pub q: RistrettoPoint,
    h_table: RistrettoBasepointTable,
    scan: OnceLock<Vec<RistrettoPoint>>,
    lookup: OnceLock<Vec<RistrettoPoint>>,
}

impl Generators {
    /// At least `count` generators, made once per process and shared.
    ///
    /// No lock is held while points are computed: a rayon worker that waits may pick up another
    /// proof, which would come back to the same lock.
    pub fn shared(count: usize) -> Arc<Self> {
        static SHARED: Mutex<Option<Arc<Generators>>> = Mutex::new(None);
        let lock = || SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(generators) = lock().as_ref().filter(|shared| shared.g.len() >= count) {
            return Arc::clone(generators);
        }
        let generators = Arc::new(Self::derive(count.next_power_of_two().max(1024)));
        let mut shared = lock();
        if shared
            .as_ref()
            .is_none_or(|shared| shared.g.len() < generators.g.len())
        {
            *shared = Some(Arc::clone(&generators));
        }
        generators
    }

    fn derive(count: usize) -> Self {
        let g = (0..count as u64)
            .into_par_iter()
            .map(|i| hash_to_group(b'G', i))
            .collect();
        Self::from_points(g, hash_to_group(b'H', 0), hash_to_group(b'Q', 0))
    }

    /// Generators from given points.
    pub(crate) fn from_points(
        g: Vec<RistrettoPoint>,
        h: RistrettoPoint,
        q: RistrettoPoint,
    ) -> Self {
        let h_table = RistrettoBasepointTable::create(&h);
        Self {
            g,
            h,
            q,
            h_table,
            scan: OnceLock::new(),
            lookup: OnceLock::new(),
        }
    }

    /// Multiples of `H`, in constant time.
    pub fn h_table(&self) -> &RistrettoBasepointTable {
        &self.h_table
    }

    /// For each 4 neighbouring generators, the 16 sums of their subsets.
    pub fn scan_table(&self) -> &[RistrettoPoint] {
        table(&self.scan, &self.g, SCAN_BITS)
    }

    /// For each 8 neighbouring generators, the 256 sums of their subsets.
    pub fn lookup_table(&self) -> &[RistrettoPoint] {
        table(&self.lookup, &self.g, LOOKUP_BITS)
    }
}

fn hash_to_group(letter: u8, index: u64) -> RistrettoPoint {
    let hash = Sha512::new()
        .chain_update(DOMAIN)
        .chain_update([letter])
        .chain_update(index.to_le_bytes());
    RistrettoPoint::from_uniform_bytes(&hash.finalize().into())
}

fn subset_sums(g: &[RistrettoPoint], bits: usize) -> Vec<RistrettoPoint> {
    let mut out = vec![RistrettoPoint::identity(); (g.len() / bits) << bits];
    out.par_chunks_mut(1 << bits)
        .zip(g.par_chunks(bits))
        .for_each(|(sums, g)| {
            for (i, point) in g.iter().enumerate() {
                for j in 0..1 << i {
                    sums[j | (1 << i)] = sums[j] + point;
                }
            }
        });
    out
}

/// Fills the cell without holding its lock while computing, for the same reason as above.
fn table<'a>(
    cell: &'a OnceLock<Vec<RistrettoPoint>>,
    g: &[RistrettoPoint],
    bits: usize,
) -> &'a [RistrettoPoint] {
    if let Some(table) = cell.get() {
        return table;
    }
    let computed = subset_sums(g, bits);
    cell.get_or_init(|| computed)
}
