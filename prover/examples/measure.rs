//! Times all operations on random models: `cargo run --release --example measure [threads]`.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "random bytes"
)]

use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use zkpot_prover::Shape;
use zkpot_prover::api::{self, AccuracyItem, Batch, WellformedItem};

/// Best of fifteen, in milliseconds.
fn best<T>(mut f: impl FnMut() -> T) -> (f64, T) {
    let mut best = f64::MAX;
    let mut last = None;
    for _ in 0..15 {
        let start = Instant::now();
        last = Some(f());
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    (best, last.expect("fifteen runs"))
}

fn measure(name: &str, dims: &[u64], shifts: &[u64], batch: usize) -> zkpot_prover::Result<()> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let shape = Shape::new(dims, shifts, 20)?;
    let mut theta = Vec::new();
    for d in dims.windows(2) {
        for _ in 0..d[0] * d[1] {
            theta.extend_from_slice(&(i32::from(rng.next_u32() as u8) - 128).to_le_bytes());
        }
        for _ in 0..d[1] {
            theta.extend_from_slice(&((rng.next_u32() % 200_000) as i32 - 100_000).to_le_bytes());
        }
    }
    // Four pixels of five are black, as in MNIST.
    let inputs: Vec<u8> = (0..batch * shape.dims[0])
        .map(|_| {
            if rng.next_u32() % 5 == 0 {
                rng.next_u32() as u8
            } else {
                0
            }
        })
        .collect();
    let labels: Vec<u8> = (0..batch)
        .map(|_| (rng.next_u32() as usize % shape.classes()) as u8)
        .collect();
    let batch = Batch {
        inputs: &inputs,
        labels: &labels,
    };
    let context = [7; 32];
    let blinding = api::random_blinding(&shape)?;
    let (t, commitment) = best(|| api::commit(&shape, &theta, &blinding));
    let commitment = commitment?;
    println!(
        "{name} N={}: commit {t:.1} ms, {} B",
        labels.len(),
        commitment.len()
    );
    for constant_time in [true, false] {
        let (with, proof) = best(|| {
            api::prove(
                &shape,
                &theta,
                &blinding,
                Some(&commitment),
                batch,
                &context,
                constant_time,
            )
        });
        let (without, _) = best(|| {
            api::prove(
                &shape,
                &theta,
                &blinding,
                None,
                batch,
                &context,
                constant_time,
            )
        });
        let (wellformed, _) =
            best(|| api::prove_wellformed(&shape, &theta, &blinding, &context, constant_time));
        let (count, proof) = proof?;
        println!(
            "  constant_time={constant_time}: prove {with:.1} ms ({without:.1} ms with commit), {} B, count {count}; \
             well-formedness {wellformed:.1} ms",
            proof.len()
        );
    }
    let (count, proof) = api::prove(&shape, &theta, &blinding, None, batch, &context, true)?;
    let item = AccuracyItem {
        commitment: &commitment,
        context: &context,
        count,
        proof: &proof,
    };
    let (t, result) = best(|| api::verify(&shape, batch, item));
    result?;
    let (many, results) = best(|| api::verify_many(&shape, batch, &[item; 100]));
    results?.into_iter().collect::<zkpot_prover::Result<()>>()?;
    println!(
        "  verify {t:.1} ms, of 100 together {:.2} ms each",
        many / 100.0
    );
    let proof = api::prove_wellformed(&shape, &theta, &blinding, &context, true)?;
    let item = WellformedItem {
        commitment: &commitment,
        context: &context,
        proof: &proof,
    };
    let (t, result) = best(|| api::verify_wellformed(&shape, item));
    result?;
    println!("  well-formedness verify {t:.1} ms, {} B", proof.len());
    Ok(())
}

fn main() -> zkpot_prover::Result<()> {
    let threads = std::env::args()
        .nth(1)
        .and_then(|threads| threads.parse().ok());
    api::with_threads(threads, || {
        measure("64-32-10", &[64, 32, 10], &[8], 100)?;
        measure("784-128-10", &[784, 128, 10], &[15], 100)?;
        measure("784-256-128-10", &[784, 256, 128, 10], &[15, 15], 100)
    })?
}
