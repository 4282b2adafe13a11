//! What `cargo run -p ottla-xtask -- codegen` writes. Not edited by hand.

pub(crate) mod api_table;
pub(crate) mod shapes;
