//! One binary: PID 1 of a board, or a command on a host.

use std::process::ExitCode;

fn main() -> ExitCode {
    osmia::logging::start();
    // The kernel starts the first process with the kernel's own arguments.
    if std::process::id() == 1 {
        osmia::init::run();
        return ExitCode::FAILURE;
    }
    let error = match osmia::cli::run(std::env::args_os()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    match error.downcast::<clap::Error>() {
        // Help and version come as errors, too.
        Ok(error) => {
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
        }
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
