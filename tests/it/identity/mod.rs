//! Who may call: tokens, certificates, their rotation, and what each caller may use. Real sockets, real handshakes, the
//! service as a configuration describes it, and simulated regions that count what reaches them.
mod command_line;
mod configuration;
mod credentials;
mod limits;
mod pki;
mod rotation;
mod transport;
mod world;
