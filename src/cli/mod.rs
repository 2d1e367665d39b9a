//! The command line.

pub mod check;
pub mod settings;

/// placeholder
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
