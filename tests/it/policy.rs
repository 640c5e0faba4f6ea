//! Residency as callers and auditors see it: what is refused, with which words, and that nothing was sent.
mod refusals;
