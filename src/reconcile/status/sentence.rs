//! Problems in one line, as a column and a condition have room for.

use crate::api::Problem;

/// Characters of a problem that a condition repeats.
const BRIEF: usize = 300;

/// What a condition says of problems that are listed elsewhere.
pub(super) fn problems_text(problems: &[Problem]) -> Option<String> {
    let first = brief(&sentence(problems.first()?));
    Some(match problems.len() {
        1 => first,
        count => format!("{count} problems; the first: {first}"),
    })
}

/// A problem that can be understood where nothing stands beside it.
fn sentence(problem: &Problem) -> String {
    let (message, position) = (&problem.message, problem.position.as_deref());
    // Of a file that cannot be read, the message names it.
    let position = position.filter(|position| !message.contains(position));
    let object = problem.object.as_deref().filter(|object| !message.contains(object));
    match (object, position) {
        (Some(object), Some(position)) => format!("{object} ({position}): {message}"),
        (Some(subject), None) | (None, Some(subject)) => format!("{subject}: {message}"),
        (None, None) => message.clone(),
    }
}

/// As much of a message as is read in a column. The whole of it stands among the problems.
fn brief(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    match line.char_indices().nth(BRIEF) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.len() < message.trim_end().len() => format!("{line} …"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_what_it_is_about() {
        let problem = |message: &str, object: Option<&str>| Problem {
            message: message.into(),
            reason: "OutOfScope".into(),
            object: object.map(str::to_owned),
            position: Some("x/v.yaml:1".into()),
            commit: None,
        };
        let cases = [
            (problem("it lies outside", Some("ConfigMap shop/v")), "ConfigMap shop/v (x/v.yaml:1): it lies outside"),
            (problem("no YAML", None), "x/v.yaml:1: no YAML"),
            (problem("x/v.yaml:1 at main@1a2b3c4: no YAML", None), "x/v.yaml:1 at main@1a2b3c4: no YAML"),
            (Problem::of_enforcement("RoundFailed", "it is down"), "it is down"),
        ];
        for (problem, expected) in cases {
            assert_eq!(sentence(&problem), expected);
        }
    }

    #[test]
    fn a_column_shows_one_line_of_a_problem() {
        assert_eq!(brief("short"), "short");
        assert_eq!(brief("one\ntwo\n"), "one …");
        let long = brief(&"ü".repeat(1000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (BRIEF + 1, true));
    }
}
