//! What the cluster is: facts, image.
