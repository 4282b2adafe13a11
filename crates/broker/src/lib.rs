//! Composition, life cycle, command line.
