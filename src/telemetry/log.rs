//! Logging.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON anywhere else.
    #[default]
    Auto,
    Text,
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("RUST_LOG is no log filter ({0}): write it like info,gitadel=debug")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("logging was started already")]
    Started,
}

/// What services log. The libraries tell of every attempt that failed, at length, and of what nobody can act on; what
/// matters of it is told by who asked.
pub const SERVICES: &str = "info,notify=warn,kube_client=off,kube_runtime=error";
/// What the other commands log: they have a voice of their own, and what fails is tried again or told by them.
pub const COMMANDS: &str = "warn,kube_client=off";

/// An error with all that it came from: libraries leave the last cause, which says what to do, to the chain.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

/// Starts logging to standard error, by the filter in `RUST_LOG`, or by `default` if there is none.
///
/// # Errors
/// The filter cannot be read, or logging was started before.
pub fn start_log(format: LogFormat, default: &str) -> Result<(), LogError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(filter)?,
        _ => EnvFilter::new(default),
    };
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let started = if json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    started.map_err(|_| LogError::Started)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{what}")]
    struct Outer {
        what: &'static str,
        source: io::Error,
    }

    #[test]
    fn a_cause_is_named_once() {
        let of = |what| causes(&Outer { what, source: io::Error::other("refused") });
        assert_eq!(of("not connected"), "not connected: refused");
        assert_eq!(of("not connected (refused)"), "not connected (refused)");
    }
}
