//! The verifier's pass over the accuracy statement (section 8 of the document).
//!
//! Order: comparison, logits, layers from last to first, booleanity.

use crate::booleanity;
use crate::field::Fq;
use crate::forms::Form;
use crate::poly::{dot, eq_table, prefix};
use crate::replay::{Entry, Message, Replay, shifted};
use crate::statement::accuracy::{Accuracy, MarginTable, real_weights};
use crate::statement::layout::Slabs;

const ONE: Fq = Fq::ONE;

impl Accuracy<'_> {
    /// The statement up to the opening.
    pub fn replay(&self, replay: &mut Replay) {
        let margin_point = self.replay_comparison(replay);
        let (z, point) = self.replay_logits(replay, &margin_point);
        let (samples, mut outputs) = (
            point[..self.layout.log_batch].to_vec(),
            point[self.layout.log_batch..].to_vec(),
        );
        let mut sums = z;
        for layer in (2..=self.shape.layers()).rev() {
            (sums, outputs) = self.replay_hidden(replay, layer, sums, &samples, &outputs);
        }
        self.replay_first(replay, sums, &samples, &outputs);
        booleanity::replay(replay, self.layout.rows, self.shape.log_columns);
    }

    /// 8.1; returns `δ` and the point it belongs to.
    fn replay_comparison(&self, replay: &mut Replay) -> (Form, Vec<Fq>) {
        let layout = &self.layout;
        let at = self.margin_point(&mut replay.transcript);
        let delta = replay.message().form;
        let lambda = replay.challenge();
        let negated = replay.tape.combine(Fq::ZERO, &[(delta, -ONE)]);
        let (last, point) = replay.zero_check(negated, &at);
        let (nc, v, win) = (replay.message(), replay.message(), replay.message());
        let (nc_v, win_nc) = (replay.product(nc, v), replay.product(win, nc));
        replay.constrain(&[
            (last, ONE),
            (v.form, ONE),
            (nc.form, -ONE),
            (nc_v, -Fq::from_u64(2)),
            (win_nc, -lambda),
        ]);

        let (samples, classes) = point.split_at(layout.log_batch);
        let batch = layout.batch;
        let flags = replay.tensor(
            &[(layout.comparison.flag, ONE)],
            batch,
            samples,
            &eq_table(classes),
            false,
        );
        let bits = bit_entries(&layout.comparison, &flags, 0..layout.comparison.bits);
        replay.claim(flags, nc.form);
        replay.claim(bits, v.form);
        let wins = replay.tensor(&[(layout.winner.flag, ONE)], batch, samples, &[ONE], false);
        replay.claim(wins.clone(), win.form);
        // Gadget: Σ_j nc + win - E = [n < N].
        let all = vec![ONE; 1 << self.shape.log_dims[self.shape.layers()]];
        let mut gadget = replay.tensor(
            &[(layout.comparison.flag, ONE)],
            batch,
            samples,
            &all,
            false,
        );
        gadget.extend_from_slice(&wins);
        for entry in bit_entries(&layout.winner, &wins, 0..layout.winner.bits) {
            gadget.push(Entry {
                coefficient: -entry.coefficient,
                ..entry
            });
        }
        replay.claim(gadget, Form::constant(prefix(samples, batch)));
        self.replay_count(replay);
        (delta, at)
    }

    fn replay_count(&self, replay: &mut Replay) {
        let (columns, first) = (self.shape.columns(), self.layout.winner.flag);
        let (full, rest) = (self.layout.batch / columns, self.layout.batch % columns);
        let mut entries = Vec::new();
        if full > 0 {
            let column = replay.column(vec![ONE; columns]);
            entries.extend((0..full).map(|i| Entry {
                column,
                row: first + i,
                coefficient: ONE,
            }));
        }
        if rest > 0 {
            let column = replay.column(vec![ONE; rest]);
            entries.push(Entry {
                column,
                row: first + full,
                coefficient: ONE,
            });
        }
        replay.claim(entries, Form::constant(Fq::from_u64(self.count)));
    }

    /// 8.2; returns the claim about the logits and its point.
    fn replay_logits(&self, replay: &mut Replay, (delta, at): &(Form, Vec<Fq>)) -> (Form, Vec<Fq>) {
        let table = MarginTable::new(self, at);
        let claim = replay.tape.combine(table.ties(), &[(*delta, ONE)]);
        let (last, point) = replay.sumcheck(claim, at.len());
        let z = replay.message().form;
        replay.constrain(&[(last, ONE), (z, -table.evaluate(&point))]);
        (z, point)
    }

    /// 8.3 up to the claim about the weights' sumcheck; returns its last claim and point.
    fn replay_matmul(
        &self,
        replay: &mut Replay,
        layer: usize,
        sums: Form,
        samples: &[Fq],
        across: &[Fq],
    ) -> (Form, Vec<Fq>) {
        let bias = replay.message().form;
        let column = replay.column(across.to_vec());
        let row = self.layout.rows + self.shape.layer_rows[layer - 1].bias;
        replay.claim(
            vec![Entry {
                column,
                row,
                coefficient: ONE,
            }],
            bias,
        );
        let claim = replay.tape.combine(
            Fq::ZERO,
            &[(sums, ONE), (bias, -prefix(samples, self.layout.batch))],
        );
        replay.sumcheck(claim, self.shape.log_dims[layer - 1])
    }

    fn claim_weights(
        &self,
        replay: &mut Replay,
        layer: usize,
        point: &[Fq],
        across: &[Fq],
        weight: Message,
    ) {
        let base = self.layout.rows + self.shape.layer_rows[layer - 1].weights;
        let entries = replay.tensor(
            &[(base, ONE)],
            self.shape.dims[layer - 1],
            point,
            across,
            true,
        );
        replay.claim(entries, weight.form);
    }

    /// 8.3 for a layer whose inputs are activations; returns the claim about the layer below.
    fn replay_hidden(
        &self,
        replay: &mut Replay,
        layer: usize,
        sums: Form,
        samples: &[Fq],
        outputs: &[Fq],
    ) -> (Form, Vec<Fq>) {
        let across = real_weights(outputs, self.shape.dims[layer]);
        let (last, inputs) = self.replay_matmul(replay, layer, sums, samples, &across);
        let (a, w) = (replay.message(), replay.message());
        let product = replay.product(a, w);
        replay.constrain(&[(last, ONE), (product, -ONE)]);
        self.claim_weights(replay, layer, &inputs, &across, w);

        let below = replay.message().form;
        let lambda = replay.challenge();
        let at = [samples, &inputs].concat();
        let claim = replay
            .tape
            .combine(Fq::ZERO, &[(a.form, ONE), (below, lambda)]);
        let (last, point) = replay.zero_check(claim, &at);
        let (neg, hi, lo) = (replay.message(), replay.message(), replay.message());
        let (neg_hi, neg_lo) = (replay.product(neg, hi), replay.product(neg, lo));
        let shift = self.shape.shifts[layer - 2];
        let scale = Fq::power_of_two(shift);
        // F = hi - neg hi + λ (2^s hi + lo - 2^(s+1) neg hi - 2 neg lo - neg)
        replay.constrain(&[
            (last, ONE),
            (hi.form, -ONE - lambda * scale),
            (neg_hi, ONE + (lambda * scale).double()),
            (lo.form, -lambda),
            (neg_lo, lambda.double()),
            (neg.form, lambda),
        ]);
        let slabs = &self.layout.hidden[layer - 2];
        let (samples, outputs) = point.split_at(self.layout.log_batch);
        let flags = replay.tensor(
            &[(slabs.flag, ONE)],
            self.layout.batch,
            samples,
            &eq_table(outputs),
            false,
        );
        let low = bit_entries(slabs, &flags, 0..shift as usize);
        let high = bit_entries(slabs, &flags, shift as usize..slabs.bits);
        replay.claim(flags, neg.form);
        replay.claim(low, lo.form);
        replay.claim(high, hi.form);
        (below, inputs)
    }

    /// 8.3 for the first layer, whose inputs are public.
    fn replay_first(&self, replay: &mut Replay, sums: Form, samples: &[Fq], outputs: &[Fq]) {
        let across = real_weights(outputs, self.shape.dims[1]);
        let (last, inputs) = self.replay_matmul(replay, 1, sums, samples, &across);
        let w = replay.message();
        let x = dot(
            &self.inputs_at(samples),
            &eq_table(&inputs)[..self.shape.dims[0]],
        );
        replay.constrain(&[(last, ONE), (w.form, -x)]);
        self.claim_weights(replay, 1, &inputs, &across, w);
    }
}

/// Entries for the bits `range` of an integer, from the entries for its flag; the lowest bit of
/// the range counts 1.
fn bit_entries(slabs: &Slabs, flags: &[Entry], range: std::ops::Range<usize>) -> Vec<Entry> {
    let lowest = range.start;
    range
        .flat_map(|bit| {
            let factor = Fq::from_u64(1 << (bit - lowest));
            shifted(flags, slabs.flag, slabs.bit(bit), factor)
        })
        .collect()
}
