//! Gives the coordinators' cores a home on internal topics.
