//! What the scripts are made of: requests from words, facts and answers into words.

mod asked;
mod told;

pub(crate) use asked::asked;
pub(crate) use told::{answered, told};
