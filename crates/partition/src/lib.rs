//! What one replica does next: producers, epochs, watermarks.
