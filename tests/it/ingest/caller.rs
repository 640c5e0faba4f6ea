//! What the caller may do wrong, may not do, and may leave undone.
