//! Tests that need the inside: dishonest provers, forgeries, zero knowledge, vectors.
//!
//! Nothing here is compiled into the library; `tests/prover_attacks/` looks at the installed one.

mod arithmetic;
mod attacks;
mod dishonest;
mod forgery;
mod padding;
mod plan;
mod support;
mod vectors;
mod zero_knowledge;
