//! What the cluster shall become: commands to facts.
