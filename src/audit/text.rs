//! A report for a person at a terminal: the most severe first, each line no wider than the terminal.

use std::fmt::Write as _;

use super::finding::Finding;
use super::report::Report;

const SEVERITY: usize = "critical".len();
const GAP: &str = "  ";
/// Narrower than this, nothing fits beside the first columns.
const NARROWEST: usize = 60;
/// Subjects of one finding that are named.
const SUBJECTS: usize = 10;

pub fn render(report: &Report, width: usize) -> String {
    let width = width.max(NARROWEST);
    let ids = report.findings.iter().map(|finding| finding.id.len()).max().unwrap_or(0).max("ID".len());
    let mut text = String::new();
    if !report.findings.is_empty() {
        line(&mut text, &format!("{:SEVERITY$}{GAP}{:ids$}{GAP}FINDING", "SEVERITY", "ID"));
    }
    for finding in &report.findings {
        block(&mut text, finding, ids, width);
    }
    if !report.findings.is_empty() {
        text.push('\n');
    }
    line(&mut text, &report.summary());
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", line.trim_end());
}

fn block(text: &mut String, finding: &Finding, ids: usize, width: usize) {
    let first = format!("{:SEVERITY$}{GAP}{:ids$}{GAP}", finding.severity, finding.id);
    let indent = " ".repeat(first.len());
    paragraph(text, &first, &indent, &finding.title, width);
    // Most titles name the object.
    if !finding.object.is_empty() && !finding.title.contains(&finding.object) {
        paragraph(text, &format!("{indent}what  "), &format!("{indent}      "), &finding.object, width);
    }
    for (number, subject) in finding.subjects.iter().take(SUBJECTS).enumerate() {
        let label = if number == 0 { "who   " } else { "      " };
        paragraph(text, &format!("{indent}{label}"), &format!("{indent}        "), &subject.to_string(), width);
    }
    if let Some(more) = finding.subjects.len().checked_sub(SUBJECTS).filter(|more| *more > 0) {
        line(text, &format!("{indent}      and {more} more: see -o json"));
    }
    paragraph(text, &format!("{indent}why   "), &format!("{indent}      "), &finding.why, width);
    paragraph(text, &format!("{indent}fix   "), &format!("{indent}      "), &finding.fix, width);
}

/// Breaks lines between words. A word that is wider than the terminal stays whole: it may be a name to copy.
fn paragraph(text: &mut String, first: &str, indent: &str, words: &str, width: usize) {
    let mut current = first.to_owned();
    let mut empty = true;
    for word in words.split_whitespace() {
        if !empty && current.chars().count() + 1 + word.chars().count() > width {
            line(text, &current);
            current = indent.to_owned();
            empty = true;
        }
        if !empty {
            current.push(' ');
        }
        current.push_str(word);
        empty = false;
    }
    line(text, &current);
}

#[cfg(test)]
mod tests {
    use super::super::finding::{Severity, Subject, Who};
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_broken() {
        let findings = vec![
            Finding::new(
                "GA-RBAC-002",
                Severity::Critical,
                "ClusterRole ops may alter gitadel's webhook configuration",
            )
            .object("ClusterRole ops")
            .subjects([Subject::new(Who::user("a")), Subject::new(Who::user("b"))])
            .why("Nobody is asked.")
            .fix("Take it away."),
            Finding::new("GA-SYS-007", Severity::Info, "One token").object("Secret x/y").why("W.").fix("F."),
        ];
        let expected = "\
SEVERITY  ID           FINDING
critical  GA-RBAC-002  ClusterRole ops may alter gitadel's
                       webhook configuration
                       who   User a
                             User b
                       why   Nobody is asked.
                       fix   Take it away.
info      GA-SYS-007   One token
                       what  Secret x/y
                       why   W.
                       fix   F.

1 critical, 0 high, 0 medium, 0 low, 1 info
";
        assert_eq!(render(&Report::new(findings, &[]), 60), expected);
    }

    #[test]
    fn a_long_word_is_not_cut_and_many_subjects_are_counted() {
        let name = "x".repeat(100);
        let subjects = (0..12).map(|number| Subject::new(Who::user(&format!("u{number:02}"))));
        let finding = Finding::new("GA-X-001", Severity::Low, name.clone()).subjects(subjects).why("W.").fix("F.");
        let text = render(&Report::new(vec![finding], &[]), 80);
        assert!(text.contains(&name) && text.contains("and 2 more: see -o json"), "{text}");
    }

    #[test]
    fn nothing_found_is_one_line() {
        assert_eq!(render(&Report::new(Vec::new(), &[]), 80), "0 critical, 0 high, 0 medium, 0 low, 0 info\n");
    }
}
