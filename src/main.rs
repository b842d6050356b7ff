use std::process::ExitCode;

use clap::Parser;
use gitadel::cli::{Cli, run};

/// A round over many objects takes far more memory than what it leaves: this allocator gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Libraries that bring their own TLS settings take the process's provider. Only a second call could fail.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    run(cli).await
}
