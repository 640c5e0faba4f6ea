//! Compiles the API a second time, as plainly as tonic and prost do it by default: the floor must not profit from
//! what Sealane does by hand.
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let descriptors = protox::compile(["sealane/v1/common.proto", "sealane/v1/inference.proto"], ["../../proto"])?;
    tonic_prost_build::configure()
        .extern_path(".sealane.v1.CompleteStreamRequest", "crate::pb::CompleteRequest")
        .compile_fds(descriptors)?;
    Ok(())
}
