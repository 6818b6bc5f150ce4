//! What is absorbed, how challenges are drawn, and where the prover's coins come from.
//!
//! Labels and encodings are those of docs/proof-system.md, section 7.

use curve25519_dalek::ristretto::CompressedRistretto;
use curve25519_dalek::scalar::Scalar;
use merlin::TranscriptRng;
use rand_core::{CryptoRng, OsRng, RngCore};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::field::Fq;

/// A merlin transcript with this protocol's encodings.
#[derive(Clone)]
pub struct Transcript(merlin::Transcript);

impl Transcript {
    /// A fresh transcript of the named statement.
    pub fn new(statement: &'static [u8]) -> Self {
        Self(merlin::Transcript::new(statement))
    }

    /// Absorbs an integer as 8 bytes, little-endian.
    pub fn integer(&mut self, label: &'static [u8], value: u64) {
        self.bytes(label, &value.to_le_bytes());
    }

    /// Absorbs bytes.
    pub fn bytes(&mut self, label: &'static [u8], bytes: &[u8]) {
        self.0.append_message(label, bytes);
    }

    /// Absorbs a scalar.
    pub fn scalar(&mut self, label: &'static [u8], scalar: Fq) {
        self.bytes(label, &scalar.to_bytes());
    }

    /// Absorbs a point.
    pub fn point(&mut self, label: &'static [u8], point: &CompressedRistretto) {
        self.bytes(label, point.as_bytes());
    }

    /// Draws a challenge.
    pub fn challenge(&mut self) -> Fq {
        let mut bytes = [0; 64];
        self.0.challenge_bytes(b"challenge", &mut bytes);
        Fq::from_wide_bytes(&bytes)
    }

    /// Draws a point of several challenges.
    pub fn challenge_point(&mut self, len: usize) -> Vec<Fq> {
        (0..len).map(|_| self.challenge()).collect()
    }

    /// Hedged coins: from this transcript, the witness and fresh entropy together.
    pub fn coins(&self, witness: &[&[u8]], entropy: &Entropy) -> Coins {
        let mut builder = self.0.build_rng();
        for part in witness {
            builder = builder.rekey_with_witness_bytes(b"witness", part);
        }
        Coins(builder.finalize(&mut Replayed(entropy)))
    }
}

/// 32 bytes of entropy for one set of coins.
pub struct Entropy(pub(crate) Zeroizing<[u8; 32]>);

impl Entropy {
    /// Fresh from the operating system.
    pub fn system() -> Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        OsRng
            .try_fill_bytes(&mut *bytes)
            .map_err(|_| Error::Entropy)?;
        Ok(Self(bytes))
    }
}

/// Hands entropy drawn beforehand to merlin, whose own call could only panic on failure.
struct Replayed<'a>(&'a Entropy);

impl RngCore for Replayed<'_> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        // merlin asks once, for 32 bytes.
        for (byte, entropy) in out.iter_mut().zip(self.0.0.iter()) {
            *byte = *entropy;
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> std::result::Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Replayed<'_> {}

/// A stream of secret coins.
pub struct Coins(TranscriptRng);

impl Coins {
    /// Uniform scalars.
    pub fn scalars(&mut self, count: usize) -> Zeroizing<Vec<Fq>> {
        let mut bytes = Zeroizing::new(vec![0; 64 * count]);
        self.0.fill_bytes(&mut bytes);
        let mut out = Zeroizing::new(Vec::with_capacity(count));
        out.extend(wide_chunks(&bytes).map(|chunk| Fq::from_wide_bytes(&chunk)));
        out
    }

    /// Uniform blindings.
    pub fn blindings(&mut self, count: usize) -> Zeroizing<Vec<Scalar>> {
        let scalars = self.scalars(count);
        let mut out = Zeroizing::new(Vec::with_capacity(count));
        out.extend(scalars.iter().map(|scalar| scalar.to_scalar()));
        out
    }
}

fn wide_chunks(bytes: &[u8]) -> impl Iterator<Item = [u8; 64]> + '_ {
    bytes.chunks_exact(64).map(|chunk| {
        let mut wide = [0; 64];
        wide.copy_from_slice(chunk);
        wide
    })
}
