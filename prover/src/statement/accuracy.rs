//! The accuracy statement: the verifier's pass and the prover's (section 8 of the document).
//!
//! Both follow the same order: comparison, logits, layers from last to first, booleanity.

use curve25519_dalek::ristretto::CompressedRistretto;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::booleanity;
use crate::error::{Error, Result};
use crate::field::{Fq, IntegerSum};
use crate::forms::Form;
use crate::poly::{dot, eq_table, prefix};
use crate::replay::{Entry, Message, Replay, shifted};
use crate::rows::AuxiliaryRows;
use crate::statement::layout::{AccuracyLayout, Slabs};
use crate::statement::model::Parameters;
use crate::statement::shape::Shape;
use crate::sumcheck::{Prover, Table};
use crate::transcript::Transcript;

/// The public values of an accuracy statement, of matching lengths.
pub struct Accuracy<'a> {
    shape: &'a Shape,
    /// The auxiliary rows' layout.
    pub layout: AccuracyLayout,
    inputs: &'a [u8],
    labels: &'a [u8],
    context: &'a [u8],
    count: u64,
}

impl<'a> Accuracy<'a> {
    /// Checks lengths and ranges; the batch size is the number of labels.
    pub fn new(
        shape: &'a Shape,
        inputs: &'a [u8],
        labels: &'a [u8],
        context: &'a [u8],
        count: u64,
    ) -> Result<Self> {
        let layout = AccuracyLayout::new(shape, labels.len())?;
        check_batch(shape, inputs, labels)?;
        if context.len() != 32 {
            return Err(Error::ContextLength);
        }
        if count > labels.len() as u64 {
            return Err(Error::Count);
        }
        Ok(Self {
            shape,
            layout,
            inputs,
            labels,
            context,
            count,
        })
    }

    /// The transcript up to and including the public values (section 7).
    pub fn transcript(&self, commitment: &[CompressedRistretto]) -> Transcript {
        let mut transcript = Transcript::new(b"zkpot/sumcheck/v1/accuracy");
        absorb_shape(&mut transcript, self.shape);
        for shift in &self.shape.shifts {
            transcript.integer(b"shift", u64::from(*shift));
        }
        transcript.integer(b"batch", self.layout.batch as u64);
        absorb_commitment(&mut transcript, commitment);
        transcript.bytes(b"context", self.context);
        transcript.bytes(b"inputs", self.inputs);
        transcript.bytes(b"labels", self.labels);
        transcript.integer(b"count", self.count);
        transcript
    }
}

/// Inputs are whole samples of bytes, labels are classes.
pub fn check_batch(shape: &Shape, inputs: &[u8], labels: &[u8]) -> Result<()> {
    if inputs.len() != labels.len() * shape.dims[0] {
        return Err(Error::InputsLength);
    }
    if labels
        .iter()
        .any(|label| usize::from(*label) >= shape.classes())
    {
        return Err(Error::LabelRange);
    }
    Ok(())
}

/// What both statements absorb of the shape.
pub fn absorb_shape(transcript: &mut Transcript, shape: &Shape) {
    transcript.integer(b"layers", shape.layers() as u64);
    transcript.integer(b"bias-bits", u64::from(shape.bias_bits));
    transcript.integer(b"log-columns", shape.log_columns as u64);
    transcript.integer(b"folds", shape.folds as u64);
    for dim in &shape.dims {
        transcript.integer(b"dim", *dim as u64);
    }
}

/// What both statements absorb of the commitment.
pub fn absorb_commitment(transcript: &mut Transcript, commitment: &[CompressedRistretto]) {
    transcript.integer(b"rows", commitment.len() as u64);
    for row in commitment {
        transcript.point(b"C", row);
    }
}

const ONE: Fq = Fq::ONE;

// ---------------------------------------------------------------- verifier

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

    fn margin_point(&self, transcript: &mut Transcript) -> Vec<Fq> {
        transcript.challenge_point(self.layout.log_batch + self.shape.log_dims[self.shape.layers()])
    }

    /// `X~(samples, k)` for each input `k`; everything here is public.
    fn inputs_at(&self, samples: &[Fq]) -> Vec<Fq> {
        let weights = eq_table(samples);
        let inputs = self.shape.dims[0];
        let mut sums = vec![IntegerSum::default(); inputs];
        sums.par_chunks_mut(64)
            .enumerate()
            .for_each(|(chunk, sums)| {
                for (sample, weight) in self.inputs.chunks_exact(inputs).zip(&weights) {
                    for (sum, x) in sums.iter_mut().zip(&sample[64 * chunk..]) {
                        if *x != 0 {
                            sum.add(weight, i64::from(*x));
                        }
                    }
                }
            });
        sums.iter().map(IntegerSum::finish).collect()
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

/// `eq(point)` with 0 beyond the true dim.
fn real_weights(point: &[Fq], dim: usize) -> Vec<Fq> {
    let mut weights = eq_table(point);
    weights[dim..].fill(Fq::ZERO);
    weights
}

/// The public table `Y` of 8.2 and what belongs to it.
struct MarginTable<'a> {
    labels: &'a [u8],
    samples: Vec<Fq>,
    classes: Vec<Fq>,
    /// `pre(r_j, j)` for each class, and `pre(r_j, d_L)` last.
    prefixes: Vec<Fq>,
}

impl<'a> MarginTable<'a> {
    fn new(statement: &'a Accuracy, at: &[Fq]) -> Self {
        let (samples, classes) = at.split_at(statement.layout.log_batch);
        let (samples, classes) = (eq_table(samples), eq_table(classes));
        let mut prefixes = vec![Fq::ZERO];
        for weight in &classes[..statement.shape.classes()] {
            prefixes.push(prefixes[prefixes.len() - 1] + *weight);
        }
        Self {
            labels: statement.labels,
            samples,
            classes,
            prefixes,
        }
    }

    /// The share of `[j < y]`.
    fn ties(&self) -> Fq {
        self.labels
            .iter()
            .zip(&self.samples)
            .map(|(y, weight)| *weight * self.prefixes[usize::from(*y)])
            .sum()
    }

    fn total(&self) -> Fq {
        self.prefixes[self.prefixes.len() - 1]
    }

    /// All entries of `Y`.
    fn entries(&self) -> Vec<Fq> {
        let mut out: Vec<Fq> = self
            .samples
            .iter()
            .flat_map(|n| self.classes.iter().map(|j| -(*n * *j)))
            .collect();
        for (n, (label, weight)) in self.labels.iter().zip(&self.samples).enumerate() {
            out[n * self.classes.len() + usize::from(*label)] += *weight * self.total();
        }
        out
    }

    /// `Y~(point)`, without the table.
    fn evaluate(&self, point: &[Fq]) -> Fq {
        let (samples, classes) =
            point.split_at(point.len() - self.classes.len().trailing_zeros() as usize);
        let (samples, classes) = (eq_table(samples), eq_table(classes));
        let labels = self.labels.iter().zip(samples.iter().zip(&self.samples));
        let labels: Fq = labels
            .map(|(label, (a, b))| *a * *b * classes[usize::from(*label)])
            .sum();
        self.total() * labels - dot(&samples, &self.samples) * dot(&classes, &self.classes)
    }
}

// ---------------------------------------------------------------- prover

/// The integers behind the messages, all secret.
///
/// They are read back from the auxiliary rows, so that what is proven is what was committed.
pub struct Tables {
    /// Per hidden layer: `neg`, `U >> s`, `U`, and the activations, over `2^ν · D_l` entries.
    pub hidden: Vec<HiddenTables>,
    /// `Z_L`, over `2^ν · D_L` entries, 0 in padding.
    pub logits: Integers,
    /// `Δ`, the same.
    pub margins: Integers,
    /// `nc`, the same.
    pub flags: Integers,
    /// `V`, the same.
    pub magnitudes: Integers,
    /// `win`, per sample.
    pub wins: Integers,
}

/// The integers behind one activation.
pub struct HiddenTables {
    /// `neg`
    pub flags: Integers,
    /// `U`
    pub magnitudes: Integers,
    /// `U >> s`
    pub high: Integers,
    /// `(1 - neg) · (U >> s)`
    pub activations: Integers,
}

/// Secret integers.
pub type Integers = Zeroizing<Vec<i64>>;

impl Accuracy<'_> {
    /// Reads the tables from the rows; `logits` are `Z_L`, unpadded.
    pub fn tables(&self, rows: &impl AuxiliaryRows, logits: &[i64]) -> Tables {
        let (shape, layout) = (self.shape, &self.layout);
        let gather = |slabs: &Slabs, log_width: usize| {
            let len = 1 << (layout.log_batch + log_width);
            let flags = rows.gather(slabs.flag, slabs.rows, 1, len);
            (
                flags,
                rows.gather(slabs.bit(0), slabs.rows, slabs.bits, len),
            )
        };
        let hidden = layout.hidden.iter().enumerate().map(|(i, slabs)| {
            let (flags, magnitudes) = gather(slabs, shape.log_dims[i + 1]);
            let high = rows.gather(
                slabs.bit(shape.shifts[i] as usize),
                slabs.rows,
                slabs.bits - shape.shifts[i] as usize,
                flags.len(),
            );
            let activations = flags
                .iter()
                .zip(high.iter())
                .map(|(flag, high)| (1 - flag) * high);
            let activations = Zeroizing::new(activations.collect());
            HiddenTables {
                flags,
                magnitudes,
                high,
                activations,
            }
        });
        let hidden = hidden.collect();
        let log_width = shape.log_dims[shape.layers()];
        let (flags, magnitudes) = gather(&layout.comparison, log_width);
        let wins = rows.gather(
            layout.winner.flag,
            layout.winner.rows,
            1,
            1 << layout.log_batch,
        );
        let mut padded = Zeroizing::new(vec![0; flags.len()]);
        let mut margins = Zeroizing::new(vec![0; flags.len()]);
        for (n, (logits, label)) in logits
            .chunks_exact(shape.classes())
            .zip(self.labels)
            .enumerate()
        {
            for (j, logit) in logits.iter().enumerate() {
                padded[(n << log_width) + j] = *logit;
                margins[(n << log_width) + j] =
                    crate::statement::witness::margin(logits, usize::from(*label), j, *logit);
            }
        }
        Tables {
            hidden,
            logits: padded,
            margins,
            flags,
            magnitudes,
            wins,
        }
    }

    /// The statement up to the opening.
    pub fn prove(
        &self,
        prover: &mut Prover,
        rows: &impl AuxiliaryRows,
        tables: &Tables,
        model: &impl Parameters,
    ) {
        let at = self.prove_comparison(prover, tables);
        let point = self.prove_logits(prover, tables, &at);
        let (samples, outputs) = point.split_at(self.layout.log_batch);
        let mut matmul = self.matmul(tables, model, self.shape.layers(), samples, outputs);
        for layer in (2..=self.shape.layers()).rev() {
            matmul = self.prove_hidden(prover, tables, model, layer, samples, matmul);
        }
        prover.send(matmul.bias);
        let ([_, w], _) = prover.sumcheck([matmul.inputs, matmul.weights], |[a, w]| *a * *w);
        prover.send(w);
        booleanity::run(prover, rows, self.shape.log_columns);
    }

    fn prove_comparison(&self, prover: &mut Prover, tables: &Tables) -> Vec<Fq> {
        let at = self.margin_point(&mut prover.transcript);
        prover.send(integer_dot(&eq_table(&at), &tables.margins));
        let lambda = prover.challenge();
        let classes = self.shape.log_dims[self.shape.layers()];
        let wins = Zeroizing::new(
            (0..tables.flags.len())
                .map(|i| tables.wins[i >> classes])
                .collect::<Vec<_>>(),
        );
        let all = [
            to_field(&tables.flags),
            to_field(&tables.magnitudes),
            to_field(&wins),
        ];
        let (last, _) = prover.zero_check(&at, all, |[nc, v, win]| {
            *nc * (v.double() + ONE + lambda * *win) - *v
        });
        last.into_iter().for_each(|value| prover.send(value));
        at
    }

    fn prove_logits(&self, prover: &mut Prover, tables: &Tables, at: &[Fq]) -> Vec<Fq> {
        let public = Zeroizing::new(MarginTable::new(self, at).entries());
        let ([_, z], point) = prover.sumcheck([public, to_field(&tables.logits)], |[y, z]| *y * *z);
        prover.send(z);
        point
    }

    /// One layer's tables for the claim about its sums at `(samples, outputs)`.
    fn matmul(
        &self,
        tables: &Tables,
        model: &impl Parameters,
        layer: usize,
        samples: &[Fq],
        outputs: &[Fq],
    ) -> Matmul {
        let across = real_weights(outputs, self.shape.dims[layer]);
        let mut weights = model.weights_at(layer, &across);
        let mut inputs = if layer == 1 {
            Zeroizing::new(self.inputs_at(samples))
        } else {
            let real = self.layout.batch << self.shape.log_dims[layer - 1];
            columns_at(
                samples,
                &tables.hidden[layer - 2].activations[..real],
                self.shape.log_dims[layer - 1],
            )
        };
        inputs.truncate(self.shape.dims[layer - 1]);
        resize(&mut inputs, 1 << self.shape.log_dims[layer - 1]);
        resize(&mut weights, 1 << self.shape.log_dims[layer - 1]);
        Matmul {
            inputs,
            weights,
            bias: model.bias_at(layer, &across),
        }
    }

    fn prove_hidden(
        &self,
        prover: &mut Prover,
        tables: &Tables,
        model: &impl Parameters,
        layer: usize,
        samples: &[Fq],
        matmul: Matmul,
    ) -> Matmul {
        prover.send(matmul.bias);
        let ([a, w], inputs) = prover.sumcheck([matmul.inputs, matmul.weights], |[a, w]| *a * *w);
        prover.send(a);
        prover.send(w);
        let below = self.matmul(tables, model, layer - 1, samples, &inputs);
        prover.send(
            dot(&below.inputs, &below.weights) + prefix(samples, self.layout.batch) * below.bias,
        );
        let lambda = prover.challenge();
        let at = [samples, &inputs].concat();
        let hidden = &tables.hidden[layer - 2];
        let all = [
            to_field(&hidden.flags),
            to_field(&hidden.high),
            to_field(&hidden.magnitudes),
        ];
        let ([neg, hi, u], _) = prover.zero_check(&at, all, |[neg, hi, u]| {
            *hi - *neg * *hi + lambda * (*u - *neg * (u.double() + ONE))
        });
        prover.send(neg);
        prover.send(hi);
        prover.send(u - hi * Fq::power_of_two(self.shape.shifts[layer - 2]));
        below
    }
}

/// Tables of one matrix product, bound to one output point.
struct Matmul {
    inputs: Table,
    weights: Table,
    bias: Fq,
}

fn to_field(integers: &[i64]) -> Table {
    let mut out = Zeroizing::new(Vec::with_capacity(integers.len()));
    integers
        .par_iter()
        .with_min_len(1024)
        .map(|x| Fq::from_i64(*x))
        .collect_into_vec(&mut out);
    out
}

/// Lengthens without leaving an unwiped copy behind.
fn resize(table: &mut Table, len: usize) {
    let mut longer = Zeroizing::new(Vec::with_capacity(len));
    longer.extend_from_slice(table);
    longer.resize(len, Fq::ZERO);
    *table = longer;
}

fn integer_dot(scalars: &[Fq], integers: &[i64]) -> Fq {
    let mut sum = IntegerSum::default();
    for (scalar, integer) in scalars.iter().zip(integers) {
        sum.add(scalar, *integer);
    }
    sum.finish()
}

/// `Σ_n eq(point)[n] · table[n][k]` for each `k`.
fn columns_at(point: &[Fq], table: &[i64], log_width: usize) -> Table {
    let weights = eq_table(point);
    let mut sums = Zeroizing::new(vec![IntegerSum::default(); 1 << log_width]);
    sums.par_chunks_mut(32)
        .enumerate()
        .for_each(|(chunk, sums)| {
            for (row, weight) in table.chunks_exact(1 << log_width).zip(&weights) {
                for (sum, integer) in sums.iter_mut().zip(&row[32 * chunk..]) {
                    sum.add(weight, *integer);
                }
            }
        });
    Zeroizing::new(sums.iter().map(IntegerSum::finish).collect())
}
