//! The prover's pass over the accuracy statement (section 8 of the document).
//!
//! Order: comparison, logits, layers from last to first, booleanity.

use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::booleanity;
use crate::field::{Fq, IntegerSum};
use crate::poly::{dot, eq_table, prefix};
use crate::rows::AuxiliaryRows;
use crate::statement::accuracy::{Accuracy, MarginTable, real_weights};
use crate::statement::layout::Slabs;
use crate::statement::model::Parameters;
use crate::statement::witness::margin;
use crate::sumcheck::{Prover, Table};

const ONE: Fq = Fq::ONE;

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
                margins[(n << log_width) + j] = margin(logits, usize::from(*label), j, *logit);
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
        prover.send(margin_dot(&eq_table(&at), &tables.margins));
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
        for value in last {
            prover.send(value);
        }
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

/// `<scalars, margins>`
pub(crate) fn margin_dot(scalars: &[Fq], margins: &[i64]) -> Fq {
    // Margins stay within 46 bits, so sums of this many are exact.
    const EXACT: usize = 1 << 15;
    let sum = |(scalars, margins): (&[Fq], &[i64])| {
        let mut sum = IntegerSum::default();
        for (scalar, margin) in scalars.iter().zip(margins) {
            sum.add(scalar, *margin);
        }
        sum.finish()
    };
    scalars
        .chunks(EXACT)
        .zip(margins.chunks(EXACT))
        .map(sum)
        .sum()
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
