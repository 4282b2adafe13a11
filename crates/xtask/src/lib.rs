//! Tools of the house: code generation, tidy, reports.
