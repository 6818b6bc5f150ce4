//! Where auxiliary rows lie and how many messages a proof has (sections 5 and 11 of the document).

use crate::error::{Error, Result};
use crate::replay::Plan;
use crate::statement::shape::{Shape, WEIGHT_BITS, log2_up};

const MAX_BATCH: usize = 1 << 16;
const MAX_INPUT_BYTES: u64 = 1 << 31;
const MAX_AUXILIARY_ENTRIES: u64 = 1 << 30;

/// A group of slabs: a flag, then the bits of an integer, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slabs {
    /// First row of the flag.
    pub flag: usize,
    /// Rows per slab.
    pub rows: usize,
    /// Bits of the integer.
    pub bits: usize,
}

impl Slabs {
    /// First row of a bit's slab.
    pub fn bit(&self, bit: usize) -> usize {
        self.flag + (1 + bit) * self.rows
    }

    fn end(&self) -> usize {
        self.bit(self.bits)
    }
}

/// Auxiliary rows of an accuracy proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccuracyLayout {
    /// `N`
    pub batch: usize,
    /// `ν`
    pub log_batch: usize,
    /// `neg` and the bits of `U`, for each hidden layer.
    pub hidden: Vec<Slabs>,
    /// `nc` and the bits of `V`.
    pub comparison: Slabs,
    /// `win` and the bits of `E`.
    pub winner: Slabs,
    /// `R`
    pub rows: usize,
    /// Messages and products.
    pub plan: Plan,
}

impl AccuracyLayout {
    /// The layout for a batch of that many samples.
    pub fn new(shape: &Shape, batch: usize) -> Result<Self> {
        let (layers, columns) = (shape.layers(), shape.columns());
        if !(1..=MAX_BATCH).contains(&batch)
            || batch as u64 * shape.dims[0] as u64 > MAX_INPUT_BYTES
        {
            return Err(Error::Batch);
        }
        let mut rows = 0usize;
        // At most 2^16 samples, 2^14 entries each, 46 bits, 64 layers: far from overflow.
        let mut slabs = |log_width: usize, bits: usize| {
            let out = Slabs {
                flag: rows,
                rows: (batch << log_width).div_ceil(columns),
                bits,
            };
            rows = out.end();
            out
        };
        let hidden = (1..layers)
            .map(|l| slabs(shape.log_dims[l], shape.bits[l - 1] as usize))
            .collect();
        let comparison = slabs(shape.log_dims[layers], shape.comparison_bits());
        let winner = slabs(0, shape.gadget_bits());
        if (rows as u64) << shape.log_columns > MAX_AUXILIARY_ENTRIES {
            return Err(Error::Batch);
        }
        let log_batch = log2_up(batch as u64);
        let plan = accuracy_plan(shape, batch, log_batch, rows);
        Ok(Self {
            batch,
            log_batch,
            hidden,
            comparison,
            winner,
            rows,
            plan,
        })
    }
}

fn accuracy_plan(shape: &Shape, batch: usize, log_batch: usize, rows: usize) -> Plan {
    let layers = shape.layers();
    let columns_of_batch =
        |log_width: usize| tensor_columns(shape, log_width, log_batch, batch, false);
    let mut products = Vec::new();
    let comparison_rounds = log_batch + shape.log_dims[layers];
    // 8.1: δ, the rounds, then nc, V, win.
    let mut next = 1 + 2 * comparison_rounds;
    products.extend([(next, next + 1), (next + 2, next)]);
    next += 3;
    // 8.2: the rounds, then z.
    next += 2 * comparison_rounds + 1;
    let count_columns =
        usize::from(batch >= shape.columns()) + usize::from(!batch.is_multiple_of(shape.columns()));
    let mut columns =
        2 * columns_of_batch(shape.log_dims[layers]) + columns_of_batch(0) + count_columns;
    for l in (1..=layers).rev() {
        // 8.3: b, the rounds, then w, or a and w and the activation.
        next += 1 + 2 * shape.log_dims[l - 1];
        columns += 1 + tensor_columns(
            shape,
            shape.log_dims[l],
            shape.log_dims[l - 1],
            shape.dims[l - 1],
            true,
        );
        if l == 1 {
            next += 1;
        } else {
            products.push((next, next + 1));
            next += 3 + 2 * (log_batch + shape.log_dims[l - 1]);
            products.extend([(next, next + 1), (next, next + 2)]);
            next += 3;
            columns += columns_of_batch(shape.log_dims[l - 1]);
        }
    }
    finish_plan(shape, rows, next, products, columns)
}

/// Columns that a tensor functional makes.
fn tensor_columns(
    shape: &Shape,
    log_width: usize,
    log_count: usize,
    count: usize,
    masked: bool,
) -> usize {
    let inner = shape.log_columns - log_width;
    if !masked || log_count < inner {
        return 1;
    }
    usize::from(count >> inner > 0) + usize::from(!count.is_multiple_of(1 << inner))
}

/// Booleanity (8.4) and opening (10.1), which both statements end with.
fn finish_plan(
    shape: &Shape,
    rows: usize,
    mut next: usize,
    mut products: Vec<(usize, usize)>,
    columns: usize,
) -> Plan {
    next += 2 * (log2_up(rows as u64) + shape.log_columns);
    products.push((next, next));
    let messages = next + 1 + 2 * shape.log_columns + columns + 1;
    Plan { messages, products }
}

/// Auxiliary rows of a well-formedness proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WellformedLayout {
    /// First row of each layer's weight bits; bit `t` starts `t · weight_rows` further.
    pub weights: Vec<usize>,
    /// First row of each layer's bias bits, one row per bit.
    pub biases: Vec<usize>,
    /// `R`
    pub rows: usize,
    /// Messages and products.
    pub plan: Plan,
}

impl WellformedLayout {
    /// The layout for a shape.
    pub fn new(shape: &Shape) -> Self {
        let (mut weights, mut biases, mut rows, mut columns) = (Vec::new(), Vec::new(), 0, 0);
        for l in 1..=shape.layers() {
            weights.push(rows);
            rows += WEIGHT_BITS * shape.layer_rows[l - 1].weight_rows;
            biases.push(rows);
            rows += shape.bias_bits as usize + 1;
            let log_inputs = wellformed_point(shape, l);
            columns += 3 + tensor_columns(
                shape,
                shape.log_dims[l],
                log_inputs,
                shape.dims[l - 1],
                true,
            );
        }
        let plan = finish_plan(shape, rows, 0, Vec::new(), columns);
        Self {
            weights,
            biases,
            rows,
            plan,
        }
    }
}

/// `e_k`: the length of a layer's input point, long enough to reach every column of a row.
pub fn wellformed_point(shape: &Shape, layer: usize) -> usize {
    shape.log_dims[layer - 1].max(shape.log_columns - shape.log_dims[layer])
}

/// Length of a proof in bytes (section 11).
pub fn proof_bytes(shape: &Shape, plan: &Plan, rows: usize) -> usize {
    let last = shape.columns() >> shape.folds;
    32 * (rows + 1 + plan.messages + 2 + 3 + plan.pads() + 2 + 2 * shape.folds + last)
}
