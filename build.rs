//! Compiles `proto/` into `OUT_DIR`, with protox instead of a protoc binary on the machine, and keeps the
//! descriptor set for server reflection. Tells the program which compiler built it.
use std::{env, error::Error, fs, path::PathBuf, process::Command};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-env-changed=SEALANE_REVISION");
    let rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output()?;
    println!("cargo:rustc-env=SEALANE_RUSTC={}", String::from_utf8_lossy(&rustc.stdout).trim());
    let files = ["common", "inference", "region", "operator"].map(|name| format!("sealane/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("sealane.protoset"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // The lint-clean twin of CompleteRequest: one Rust type serves both (a test holds the descriptors equal).
        .extern_path(".sealane.v1.CompleteStreamRequest", "crate::grpc::pb::CompleteRequest")
        // Packed floats and bytes are the same on the wire: vectors pass through without being parsed.
        .extern_path(".sealane.v1.Embedding", "crate::grpc::Embedding")
        // Sorted, so that the journal's MAC of a request is the same wherever it is computed.
        .btree_map(".sealane.v1.CompleteRequest")
        // Once in a stream; the deltas between them should not be moved about as if they were as large.
        .boxed(".sealane.v1.CompleteStreamResponse.event.start")
        .boxed(".sealane.v1.CompleteStreamResponse.event.end")
        .compile_fds(descriptors)?;
    Ok(())
}
