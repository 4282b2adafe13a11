//! Record batches: view, validate, build, compress, without copying.
