//! `sealane parity`.
