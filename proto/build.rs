//! Generates the gRPC contract from `proto/`; protox compiles it, so no `protoc` is needed.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("proto");
    let files = [
        "cluster", "error", "flight", "jobs", "links", "models", "pool", "session", "tables",
    ]
    .map(|name| root.join(format!("whimbrel/v1/{name}.proto")));
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, [root])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
