//! Random cases; rows, parameters and messages that honest code could not hold; what a verifier sees.

mod case;
mod cheat;
mod view;

pub use case::{CONTEXT, Case, entropy, generators};
pub use cheat::{Attempt, ScalarModel, ScalarRows, wellformed_bits, wellformed_verdict};
pub use view::{Recorder, View, combined_row, copy_commitments, copy_masks, view};
