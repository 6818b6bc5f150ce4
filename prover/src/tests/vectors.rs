//! Vectors for the independent verifier: `prover/vectors/*.json`, made here and compared.
//!
//! To make them again: `ZKPOT_WRITE_VECTORS=1 cargo test --release vectors`.

use serde_json::{Value, json};

use crate::tests::support::{CONTEXT, Case, generators, view};

/// (name, dims, shifts, bias bits, batch, seed)
type Vector = (
    &'static str,
    &'static [u64],
    &'static [u64],
    u64,
    usize,
    u64,
);

const VECTORS: [Vector; 8] = [
    ("one-weight", &[1, 1], &[], 0, 1, 1),
    ("one-layer", &[13, 3], &[], 6, 5, 2),
    ("two-layers", &[9, 6, 4], &[5], 10, 7, 3),
    ("three-layers", &[4, 1, 5, 2], &[0, 9], 8, 3, 4),
    ("full-row", &[3, 2], &[], 4, 64, 5),
    ("more-samples-than-columns", &[2, 3], &[], 4, 70, 6),
    ("wide", &[20, 33, 10], &[7], 12, 2, 7),
    ("padded-input", &[2049, 1, 1], &[9], 8, 2, 8),
];

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn vector(&(name, dims, shifts, bias_bits, batch, seed): &Vector) -> Value {
    let case = Case::random(dims, shifts, bias_bits, batch, seed);
    let commitment = case.commitment();
    let (count, proof) = case.prove();
    let wellformed = case.prove_wellformed();
    case.verify(&commitment, count, &proof).expect("accuracy");
    case.verify_wellformed(&commitment, &wellformed)
        .expect("well-formedness");
    let view = view(&case, count, &commitment, &proof);
    json!({
        "name": name,
        "dims": dims,
        "shifts": shifts,
        "bias_bits": bias_bits,
        "log_columns": case.shape.log_columns,
        "folds": case.shape.folds,
        "theta": hex(&case.theta),
        "blinding": hex(&case.blinding),
        "commitment": hex(&commitment),
        "context": hex(&CONTEXT),
        "inputs": hex(&case.inputs),
        "labels": hex(&case.labels),
        "count": count,
        "proof": hex(&proof),
        "wellformed": hex(&wellformed),
        // Challenges and the final form of the accuracy proof, to find where an implementation
        // goes astray.
        "accuracy_trace": {
            "c": hex(&view.challenges.c.to_bytes()),
            "theta": hex(&view.challenges.theta.to_bytes()),
            "psi": hex(&view.challenges.psi.to_bytes()),
            "const": hex(&view.form.constant.to_bytes()),
        },
    })
}

#[test]
fn vectors_are_reproduced() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    for spec in &VECTORS {
        let path = folder.join(format!("{}.json", spec.0));
        let made = format!("{:#}\n", vector(spec));
        if std::env::var_os("ZKPOT_WRITE_VECTORS").is_some() {
            std::fs::create_dir_all(&folder).expect("folder");
            std::fs::write(&path, &made).expect("write");
        }
        let kept = std::fs::read_to_string(&path).expect("vector");
        assert!(made == kept, "{} changed", path.display());
    }
}

/// The first generators, so that an implementation can be started from the bottom.
#[test]
fn generators_are_fixed() {
    let case = Case::random(&[1, 1], &[], 0, 1, 1);
    let generators = generators(&case.shape, &case.layout().plan);
    let encoded = [generators.g[0], generators.g[1], generators.h, generators.q]
        .map(|p| hex(p.compress().as_bytes()));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/generators.json");
    let made = format!(
        "{:#}\n",
        json!({"G_0": encoded[0], "G_1": encoded[1], "H": encoded[2], "Q": encoded[3]})
    );
    if std::env::var_os("ZKPOT_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &made).expect("write");
    }
    assert!(made == std::fs::read_to_string(&path).expect("vector"));
}
