//! Requests to calls and responses: one file per API, one table.
