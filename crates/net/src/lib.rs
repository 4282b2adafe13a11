//! Listeners, connections, frames, back-pressure.
