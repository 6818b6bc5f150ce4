//! Everything the library refuses, with messages that do not change between versions.

/// Why something was refused. No variant carries a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Error {
    /// Not between 1 and 64 layers.
    #[error("shape: the number of layers must be 1 to 64")]
    Layers,
    /// A dim is 0 or beyond its limit.
    #[error("shape: dims must be 1 to 2^20 (input), 1 to 2^14 (hidden), 1 to 256 (classes)")]
    Dims,
    /// The number of shifts is not the number of hidden layers.
    #[error("shape: there must be one shift per hidden layer")]
    ShiftCount,
    /// A shift is not below the number of bits of its layer.
    #[error("shape: a shift must be smaller than the number of bits of its layer")]
    Shift,
    /// More than 30 bias bits.
    #[error("shape: bias bits must be 0 to 30")]
    BiasBits,
    /// A layer's worst case needs more than 45 bits.
    #[error("shape: the worst case of a layer needs more than 45 bits")]
    Bounds,
    /// The commitment would have more than 2^27 entries.
    #[error("shape: too many parameters")]
    Parameters,
    /// Batch size 0 or beyond the limits for this shape.
    #[error("shape: the batch must have 1 to 65536 samples and fit the limits of the shape")]
    Batch,
    /// Flat parameters of the wrong length.
    #[error("theta has the wrong length for the shape")]
    ThetaLength,
    /// A weight or bias outside its range.
    #[error("theta has a weight outside [-128, 127] or a bias outside [-2^b, 2^b)")]
    ThetaRange,
    /// Blindings of the wrong length.
    #[error("blinding has the wrong length for the shape")]
    BlindingLength,
    /// A blinding that is not a canonical scalar.
    #[error("blinding holds a scalar that is not canonical")]
    BlindingEncoding,
    /// A commitment of the wrong length.
    #[error("commitment has the wrong length for the shape")]
    CommitmentLength,
    /// A commitment row that is not a canonical point.
    #[error("commitment holds a point that is not canonical")]
    CommitmentEncoding,
    /// Inputs that are not a whole number of samples.
    #[error("inputs have the wrong length for the labels and the shape")]
    InputsLength,
    /// A label that is no class.
    #[error("a label is not smaller than the number of classes")]
    LabelRange,
    /// A context that is not 32 bytes.
    #[error("context must be 32 bytes")]
    ContextLength,
    /// More correct samples claimed than there are.
    #[error("count must be 0 to the size of the batch")]
    Count,
    /// A proof of the wrong length.
    #[error("proof has the wrong length for the shape and batch")]
    ProofLength,
    /// A point in the proof that is not canonical.
    #[error("proof holds a point that is not canonical")]
    ProofPoint,
    /// A scalar in the proof that is not canonical.
    #[error("proof holds a scalar that is not canonical")]
    ProofScalar,
    /// The product check failed.
    #[error("proof does not verify: product check")]
    Products,
    /// The group equation failed.
    #[error("proof does not verify: group equation")]
    Equation,
    /// A commitment does not open to the given values.
    #[error("commitment does not open to these values")]
    Opening,
    /// Nothing to add, or as many weights as summands are missing.
    #[error("there must be at least one summand and one weight per summand")]
    Summands,
    /// A weight that no 64-bit integer holds.
    #[error("weights must be -2^63 to 2^63 - 1")]
    Weight,
    /// A thread pool of the requested size could not be had.
    #[error("threads must be 1 to 256, and the system must be able to start them")]
    Threads,
    /// The operating system gave no randomness.
    #[error("the operating system's random generator failed")]
    Entropy,
}

impl Error {
    /// Whether the shape or batch size was refused, rather than what was shown for it.
    pub fn is_shape(self) -> bool {
        matches!(
            self,
            Self::Layers
                | Self::Dims
                | Self::ShiftCount
                | Self::Shift
                | Self::BiasBits
                | Self::Bounds
                | Self::Parameters
                | Self::Batch
        )
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
