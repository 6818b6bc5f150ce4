//! What a proof holds is what a replay consumes: nothing is left out of the transcript.

use proptest::prelude::*;

use crate::field::Fq;
use crate::opening::{batch_claims, reduce};
use crate::replay::{Plan, Replay};
use crate::statement::accuracy::Accuracy;
use crate::statement::shape::Shape;
use crate::statement::wellformed::Wellformed;
use crate::tests::support::CONTEXT;
use crate::transcript::Transcript;

/// Both statements with all messages 0: consumes what the plan says, no more and no less.
fn replays_completely(shape: &Shape, batch: usize) {
    let (inputs, labels) = (vec![3; batch * shape.dims[0]], vec![0; batch]);
    let statement = Accuracy::new(shape, &inputs, &labels, &CONTEXT, 0).expect("statement");
    let run = |plan: &Plan, rows: usize, pass: &dyn Fn(&mut Replay)| {
        let clear = vec![Fq::ZERO; plan.messages];
        let transcript = Transcript::new(b"test");
        let mut replay = Replay::new(transcript, plan, shape.log_columns, clear);
        pass(&mut replay);
        let batched = batch_claims(&mut replay);
        let rows = rows + shape.rows;
        reduce(
            &mut replay,
            &batched,
            shape.log_columns,
            rows,
            plan.products.len(),
        );
        assert!(replay.is_complete(), "{shape:?} {batch}");
    };
    let layout = &statement.layout;
    run(&layout.plan, layout.rows, &|replay| {
        statement.replay(replay);
    });
    let statement = Wellformed::new(shape, &CONTEXT).expect("statement");
    let layout = &statement.layout;
    run(&layout.plan, layout.rows, &|replay| {
        statement.replay(replay);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_is_absorbed(
        dims in prop::collection::vec(prop_oneof![1u64..6, 1u64..70, Just(256)], 2..7),
        shift in 0u64..20,
        bias_bits in 0u64..31,
        batch in prop_oneof![1usize..6, 1usize..300, Just(64), Just(128), Just(1024)],
    ) {
        let shifts = vec![shift; dims.len() - 2];
        if let Ok(shape) = Shape::new(&dims, &shifts, bias_bits) {
            replays_completely(&shape, batch);
        }
    }
}

#[test]
fn every_message_is_absorbed_at_the_limits() {
    let cases: [(Vec<u64>, Vec<u64>, u64, usize); 6] = [
        (vec![1 << 20, 2], vec![], 30, 3),
        (vec![2, 1 << 12, 2], vec![13], 4, 2),
        (vec![2, 1 << 14, 2], vec![13], 4, 1),
        (vec![1; 65], vec![7; 63], 0, 2),
        (vec![1, 256], vec![], 0, 5000),
        (vec![1, 1], vec![], 0, 1 << 16),
    ];
    for (dims, shifts, bias_bits, batch) in cases {
        let shape = Shape::new(&dims, &shifts, bias_bits).expect("shape");
        replays_completely(&shape, batch);
    }
}
