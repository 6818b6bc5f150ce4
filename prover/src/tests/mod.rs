//! Tests that need the inside: dishonest provers, forgeries, zero knowledge, vectors.
//!
//! Nothing here is compiled into the library.

mod arithmetic;
mod attacks;
mod dishonest;
mod forgery;
mod padding;
mod support;
mod vectors;
mod zero_knowledge;
