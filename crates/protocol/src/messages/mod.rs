//! The request and response types of every API, under the names kafka-protocol gives them.
//!
//! Most come from kafka-protocol. Those whose newest version it lacks are ours, generated in the same
//! conventions and implementing the same traits, and stand in its place here: handlers see no difference.

pub use crate::{
    generated::messages::*,
    private::{OttlaRaftEndpoint, OttlaRaftRequest, OttlaRaftResponse},
};
