//! The shape of a model: limits, static bounds, and the parameters that follow from it.
//!
//! Section 3 and 4 of the document. Everything is checked before anything is allocated.

use crate::error::{Error, Result};

/// `L` at most.
pub const MAX_LAYERS: usize = 64;
const MAX_INPUT_DIM: u64 = 1 << 20;
const MAX_HIDDEN_DIM: u64 = 1 << 14;
/// Labels are bytes.
const MAX_CLASSES: u64 = 256;
/// Biases are 32-bit integers.
const MAX_BIAS_BITS: u64 = 30;
/// Integers stay far below the group order, and sums of them within 64 bits.
const MAX_BITS: u32 = 45;
const MAX_ENTRIES: u64 = 1 << 27;

/// Weights are 8-bit integers.
pub const WEIGHT_BITS: usize = 8;

/// Dims, shifts and bias bits, checked, with everything that follows from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `d_0 … d_L`
    pub dims: Vec<usize>,
    /// `s_1 … s_{L-1}`
    pub shifts: Vec<u32>,
    /// `β`
    pub bias_bits: u32,
    /// `p_0 … p_L`
    pub log_dims: Vec<usize>,
    /// `κ`
    pub log_columns: usize,
    /// `f`
    pub folds: usize,
    /// `n_1 … n_L`
    pub bits: Vec<u32>,
    /// For each layer: its first weight row, how many, its bias row, counted within `C`.
    pub layer_rows: Vec<LayerRows>,
    /// `T`
    pub rows: usize,
}

/// Where a layer's parameters lie in the commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerRows {
    /// First weight row.
    pub weights: usize,
    /// Number of weight rows.
    pub weight_rows: usize,
    /// The bias row.
    pub bias: usize,
}

/// `lg`: smallest exponent with `2^exponent >= value`.
pub fn log2_up(value: u64) -> usize {
    value.max(1).next_power_of_two().trailing_zeros() as usize
}

impl Shape {
    /// Checks a shape. `shifts` has one entry per hidden layer.
    pub fn new(dims: &[u64], shifts: &[u64], bias_bits: u64) -> Result<Self> {
        let layers = dims.len().wrapping_sub(1);
        if !(1..=MAX_LAYERS).contains(&layers) {
            return Err(Error::Layers);
        }
        if shifts.len() != layers - 1 {
            return Err(Error::ShiftCount);
        }
        if bias_bits > MAX_BIAS_BITS {
            return Err(Error::BiasBits);
        }
        let limit = |l: usize| {
            if l == 0 {
                MAX_INPUT_DIM
            } else if l == layers {
                MAX_CLASSES
            } else {
                MAX_HIDDEN_DIM
            }
        };
        if dims
            .iter()
            .enumerate()
            .any(|(l, d)| !(1..=limit(l)).contains(d))
        {
            return Err(Error::Dims);
        }
        let bits = static_bounds(dims, shifts, bias_bits)?;
        let log_dims: Vec<usize> = dims.iter().map(|d| log2_up(*d)).collect();
        let width: u64 = log_dims[1..].iter().map(|p| 1u64 << p).sum();
        let area: u64 = log_dims.windows(2).map(|p| 1u64 << (p[0] + p[1])).sum();
        let log_columns = (2 + log2_up(width))
            .max(log2_up(area).div_ceil(2))
            .clamp(6, 14);
        let mut rows = 0u64;
        let mut layer_rows = Vec::with_capacity(layers);
        for l in 1..=layers {
            let weight_rows = (dims[l - 1] << log_dims[l]).div_ceil(1 << log_columns);
            layer_rows.push((rows, weight_rows));
            rows += weight_rows + 1;
        }
        if log_dims[1..].iter().any(|p| *p > log_columns) || rows << log_columns > MAX_ENTRIES {
            return Err(Error::Parameters);
        }
        let to_usize = |value: u64| usize::try_from(value).map_err(|_| Error::Parameters);
        let layer_rows = layer_rows
            .into_iter()
            .map(|(first, count)| {
                let (weights, weight_rows) = (to_usize(first)?, to_usize(count)?);
                Ok(LayerRows {
                    weights,
                    weight_rows,
                    bias: weights + weight_rows,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            dims: dims.iter().map(|d| to_usize(*d)).collect::<Result<_>>()?,
            shifts: shifts
                .iter()
                .map(|s| u32::try_from(*s).map_err(|_| Error::Shift))
                .collect::<Result<_>>()?,
            bias_bits: u32::try_from(bias_bits).map_err(|_| Error::BiasBits)?,
            log_dims,
            log_columns,
            folds: (log_columns - 4).div_ceil(2),
            bits,
            layer_rows,
            rows: to_usize(rows)?,
        })
    }

    /// `L`
    pub fn layers(&self) -> usize {
        self.dims.len() - 1
    }

    /// `d_L`
    pub fn classes(&self) -> usize {
        self.dims[self.layers()]
    }

    /// `m`
    pub fn columns(&self) -> usize {
        1 << self.log_columns
    }

    /// `v`: bits of a comparison.
    pub fn comparison_bits(&self) -> usize {
        self.bits[self.layers() - 1] as usize + 1
    }

    /// `g`: bits of the loser gadget.
    pub fn gadget_bits(&self) -> usize {
        self.classes().ilog2() as usize + 1
    }

    /// Number of integers in `theta`.
    pub fn parameters(&self) -> usize {
        self.dims.windows(2).map(|d| d[0] * d[1] + d[1]).sum()
    }

    /// Length of a commitment in bytes.
    pub fn commitment_bytes(&self) -> usize {
        32 * self.rows
    }
}

/// `n_l`: bits of each layer's worst case.
fn static_bounds(dims: &[u64], shifts: &[u64], bias_bits: u64) -> Result<Vec<u32>> {
    let mut largest_activation: u128 = 255;
    let mut bits = Vec::with_capacity(dims.len() - 1);
    for (l, d) in dims[..dims.len() - 1].iter().enumerate() {
        let bound = 128 * u128::from(*d) * largest_activation + (1u128 << bias_bits);
        let layer_bits = bound.ilog2() + 1;
        if layer_bits > MAX_BITS {
            return Err(Error::Bounds);
        }
        bits.push(layer_bits);
        if let Some(shift) = shifts.get(l) {
            let kept = u64::from(layer_bits)
                .checked_sub(*shift)
                .filter(|kept| *kept > 0)
                .ok_or(Error::Shift)?;
            largest_activation = (1u128 << kept) - 1;
        }
    }
    Ok(bits)
}
