//! What the demo prints: a story for a terminal that also reads well in a file.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Long messages are broken here, so that they stay below the line that they belong to.
const WIDTH: usize = 112;
const MARGIN: &str = "   ";
const OUTPUT_MARGIN: &str = "     ";

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

/// Prints the steps of the story and numbers them.
///
/// Nothing here fails: where nobody reads any more, the exit status still tells how it went.
pub struct Report {
    out: Box<dyn Write + Send>,
    colour: bool,
    steps: u32,
}

impl Report {
    /// To standard output; in colour on a terminal, unless `NO_COLOR` says otherwise.
    pub fn to_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::new(Box::new(io::stdout()), io::stdout().is_terminal() && !refused)
    }

    fn new(out: Box<dyn Write + Send>, colour: bool) -> Self {
        Self { out, colour, steps: 0 }
    }

    pub fn title(&mut self, text: &str) {
        self.line("", BOLD, text);
    }

    /// Begins a step.
    pub fn step(&mut self, title: &str) {
        self.steps += 1;
        let title = format!("{}. {title}", self.steps);
        self.line("", "", "");
        self.line("", BOLD, &title);
    }

    /// What is going on, in words.
    pub fn say(&mut self, text: &str) {
        for line in wrapped(text, WIDTH - MARGIN.len()) {
            self.line(MARGIN, "", &line);
        }
    }

    /// A command line, as it can be typed.
    pub fn command(&mut self, line: &str) {
        self.line(MARGIN, CYAN, &format!("$ {line}"));
    }

    /// What a command printed.
    pub fn output(&mut self, text: &str) {
        for line in text.trim_end().lines() {
            for line in wrapped(line, WIDTH - OUTPUT_MARGIN.len()) {
                self.line(OUTPUT_MARGIN, DIM, &line);
            }
        }
    }

    /// An expectation that was met.
    pub fn met(&mut self, text: &str) {
        for (number, line) in wrapped(text, WIDTH - OUTPUT_MARGIN.len()).iter().enumerate() {
            match number {
                0 => self.line(MARGIN, GREEN, &format!("✓ {line}")),
                _ => self.line(OUTPUT_MARGIN, GREEN, line),
            }
        }
    }

    /// An expectation that was not met.
    pub fn failed(&mut self, text: &str) {
        for line in text.lines() {
            self.line(MARGIN, RED, &format!("✗ {line}"));
        }
    }

    /// The end of a log, to look into.
    pub fn log(&mut self, name: &str, tail: &str) {
        self.line("", BOLD, &format!("The end of the log of {name}:"));
        self.line("", DIM, tail);
    }

    /// A line for a shell, as it is.
    pub fn verbatim(&mut self, text: &str) {
        self.line("", "", text);
    }

    fn line(&mut self, margin: &str, style: &str, text: &str) {
        let _ = if self.colour && !style.is_empty() {
            writeln!(self.out, "{margin}{style}{text}{RESET}")
        } else {
            writeln!(self.out, "{}", format!("{margin}{text}").trim_end())
        };
        let _ = self.out.flush();
    }
}

/// A duration as people say it.
pub fn took(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1000.0;
    match milliseconds {
        0.0..10.0 => format!("{milliseconds:.1} ms"),
        10.0..1000.0 => format!("{milliseconds:.0} ms"),
        _ => format!("{:.2} s", duration.as_secs_f64()),
    }
}

/// A command line with the quotes that a shell needs.
pub fn command_line<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = program.to_owned();
    for argument in arguments {
        line.push(' ');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@+%".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            line.push_str(argument);
        } else {
            line.push_str(&format!("'{}'", argument.replace('\'', r"'\''")));
        }
    }
    line
}

/// Several things in one sentence: `a, b and c`.
pub fn listed(items: &[impl Display]) -> String {
    match items {
        [] => String::new(),
        [only] => only.to_string(),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(ToString::to_string).collect();
            format!("{} and {last}", first.join(", "))
        }
    }
}

/// Breaks between words, never within one. A row of a table stays whole: columns are worth more than the width.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let is_row = text.contains("   ");
    if is_row || text.chars().count() <= width {
        return vec![text.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(colour: bool) -> String {
        let out = Shared::default();
        let mut report = Report::new(Box::new(out.clone()), colour);
        report.step("A step");
        report.command("kubectl get pods");
        report.met("as expected");
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn without_colour_there_is_no_escape_sequence() {
        assert_eq!(printed(false), "\n1. A step\n   $ kubectl get pods\n   ✓ as expected\n");
        assert!(printed(true).contains(GREEN));
    }

    #[test]
    fn long_text_is_broken_between_words_and_tables_stay() {
        assert_eq!(wrapped("NAME    AGE", 8), ["NAME    AGE"]);
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("incomprehensibilities are long", 8), ["incomprehensibilities", "are long"]);
    }

    #[test]
    fn command_lines_can_be_pasted() {
        assert_eq!(command_line("kubectl", ["get", "pods", "-n", "shop"]), "kubectl get pods -n shop");
        assert_eq!(command_line("echo", ["it's", "", "a b"]), r"echo 'it'\''s' '' 'a b'");
    }

    #[test]
    fn durations_and_lists() {
        assert_eq!(took(Duration::from_micros(4_230)), "4.2 ms");
        assert_eq!(took(Duration::from_millis(42)), "42 ms");
        assert_eq!(took(Duration::from_millis(4_230)), "4.23 s");
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
    }
}
