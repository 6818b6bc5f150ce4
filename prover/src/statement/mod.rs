//! The two statements: what is public, where everything lies, what has to hold.

pub mod accuracy;
pub mod accuracy_prove;
pub mod accuracy_replay;
pub mod layout;
pub mod model;
pub mod shape;
pub mod wellformed;
pub mod witness;
