//! Mutation fuzzing of the verifier: no panic, no acceptance. Bounded; the corpus is `vectors/`.
//!
//! `ZKPOT_FUZZ_CASES` sets the number of cases for a longer run.

mod support;

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;
use zkpot_prover::Shape;
use zkpot_prover::api::{self, AccuracyItem, Batch, WellformedItem};

struct Vector {
    shape: Shape,
    commitment: Vec<u8>,
    context: Vec<u8>,
    inputs: Vec<u8>,
    labels: Vec<u8>,
    count: u64,
    proof: Vec<u8>,
    wellformed: Vec<u8>,
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hex");
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex"))
        .collect()
}

static CORPUS: LazyLock<Vec<Vector>> = LazyLock::new(|| {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let names = [
        "one-weight",
        "one-layer",
        "two-layers",
        "three-layers",
        "more-samples-than-columns",
    ];
    let read = |name: &&str| {
        let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).expect("vector");
        let v: Value = serde_json::from_str(&text).expect("json");
        let numbers = |key: &str| -> Vec<u64> {
            v[key]
                .as_array()
                .expect("list")
                .iter()
                .map(|x| x.as_u64().expect("number"))
                .collect()
        };
        let shape = Shape::new(
            &numbers("dims"),
            &numbers("shifts"),
            v["bias_bits"].as_u64().expect("number"),
        );
        Vector {
            shape: shape.expect("shape"),
            commitment: unhex(&v["commitment"]),
            context: unhex(&v["context"]),
            inputs: unhex(&v["inputs"]),
            labels: unhex(&v["labels"]),
            count: v["count"].as_u64().expect("number"),
            proof: unhex(&v["proof"]),
            wellformed: unhex(&v["wellformed"]),
        }
    };
    names.iter().map(read).collect()
});

/// One change of a byte string.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Set(prop::sample::Index, u8),
    Unit(prop::sample::Index, [u8; 32]),
    Copy(prop::sample::Index, prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Truncate(prop::sample::Index),
    Extend(Vec<u8>),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    let interesting = prop_oneof![
        Just([0; 32]),
        Just([255; 32]),
        Just(curve25519_order()),
        any::<[u8; 32]>(),
        any::<[u8; 32]>().prop_map(|mut bytes| {
            bytes[31] &= 0x0f; // a canonical scalar
            bytes
        }),
    ];
    prop_oneof![
        4 => (index(), 0u8..8).prop_map(|(i, bit)| Mutation::Flip(i, bit)),
        2 => (index(), any::<u8>()).prop_map(|(i, byte)| Mutation::Set(i, byte)),
        4 => (index(), interesting).prop_map(|(i, unit)| Mutation::Unit(i, unit)),
        3 => (index(), index()).prop_map(|(i, j)| Mutation::Copy(i, j)),
        3 => (index(), index()).prop_map(|(i, j)| Mutation::Swap(i, j)),
        1 => index().prop_map(Mutation::Truncate),
        1 => prop::collection::vec(any::<u8>(), 1..70).prop_map(Mutation::Extend),
    ]
}

fn curve25519_order() -> [u8; 32] {
    let mut order = [0; 32];
    order[..16].copy_from_slice(&0x14de_f9de_a2f7_9cd6_5812_631a_5cf5_d3ed_u128.to_le_bytes());
    order[31] = 0x10;
    order
}

fn apply(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let units = bytes.len() / 32;
    if units == 0 {
        return;
    }
    match mutation {
        Mutation::Flip(i, bit) => bytes[i.index(32 * units)] ^= 1 << bit,
        Mutation::Set(i, byte) => bytes[i.index(32 * units)] = *byte,
        Mutation::Unit(i, unit) => bytes[32 * i.index(units)..][..32].copy_from_slice(unit),
        Mutation::Copy(i, j) => bytes.copy_within(
            32 * i.index(units)..32 * i.index(units) + 32,
            32 * j.index(units),
        ),
        Mutation::Swap(i, j) => {
            let (i, j) = (i.index(units), j.index(units));
            (0..32).for_each(|byte| bytes.swap(32 * i + byte, 32 * j + byte));
        }
        Mutation::Truncate(i) => bytes.truncate(i.index(bytes.len())),
        Mutation::Extend(more) => bytes.extend_from_slice(more),
    }
}

fn cases() -> u32 {
    std::env::var("ZKPOT_FUZZ_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(20_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_proofs(
        which in 0usize..5,
        target in 0u8..8,
        mutations in prop::collection::vec(mutation(), 1..4),
        count in any::<u64>(),
    ) {
        let vector = &CORPUS[which];
        let mut changed = [vector.proof.clone(), vector.commitment.clone(), vector.inputs.clone(), vector.labels.clone(), vector.context.clone(), vector.wellformed.clone()];
        let original = changed.clone();
        // Proofs most often, then the other arguments.
        let index = [0, 0, 0, 5, 5, 1, 2, 3][usize::from(target)];
        for mutation in &mutations {
            apply(&mut changed[index], mutation);
        }
        let claimed = if count % 16 == 0 { count } else { vector.count };
        let same = changed == original;
        let [proof, commitment, inputs, labels, context, wellformed] = &changed;
        let batch = Batch { inputs, labels };
        let item = AccuracyItem { commitment, context, count: claimed, proof };
        let accepted = api::verify(&vector.shape, batch, item).is_ok();
        prop_assert_eq!(accepted, (same || index == 5) && claimed == vector.count);
        if index == 5 || index == 1 {
            let item = WellformedItem { commitment, context, proof: wellformed };
            prop_assert_eq!(api::verify_wellformed(&vector.shape, item).is_ok(), same);
        }
    }

    #[test]
    fn garbage_shapes(dims in prop::collection::vec(any::<u64>().prop_flat_map(|x| 0..=x >> (x % 64)), 0..8), shifts in prop::collection::vec(0u64..70, 0..7), bias_bits in 0u64..40, batch in any::<usize>()) {
        if let Ok(shape) = Shape::new(&dims, &shifts, bias_bits) {
            prop_assert!(shape.bits.iter().all(|bits| *bits <= 45));
            let _ = api::accuracy_bytes(&shape, batch);
            let _ = api::wellformed_bytes(&shape);
            let item = WellformedItem { commitment: &[], context: &[0; 32], proof: &[] };
            let refused = api::verify_wellformed(&shape, item).is_err();
            prop_assert!(refused);
        }
    }
}
