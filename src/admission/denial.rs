//! Denials, in words: what is wrong, where Git says so, and what to do instead.

use std::fmt::{self, Write};

use super::context::Context;
use super::request::Request;
use crate::compare::Finding;
use crate::object::ObjectRef;
use crate::snapshot::{Entry, EntryClass, Source};

/// More findings than these are counted, not listed.
const LISTED: usize = 5;

/// `deployments.apps "web" in "shop"`
struct Subject<'a>(&'a Request<'a>, ObjectRef<'a>);

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(request, id) = self;
        f.write_str(request.resource)?;
        if !request.group.is_empty() {
            write!(f, ".{}", request.group)?;
        }
        write!(f, " \"{}\"", id.name)?;
        if id.namespace.is_empty() { Ok(()) } else { write!(f, " in \"{}\"", id.namespace) }
    }
}

fn subject<'a>(context: &'a Context<'_>) -> Subject<'a> {
    Subject(context.request, context.id)
}

/// A write that would move a governed object away from its desired state.
pub fn differs(context: &Context<'_>, entry: Entry<'_>, findings: &[Finding]) -> String {
    let mut text = format!("{} is governed by Git: ", subject(context));
    let single = findings.len() == 1;
    for (position, finding) in findings.iter().take(LISTED).enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        _ = write!(text, "{separator}{finding}");
        if !single && let (Some(file), Some(line)) = (entry.file(), entry.line(&finding.path)) {
            _ = write!(text, " ({file}:{line})");
        }
    }
    if findings.len() > LISTED {
        _ = write!(text, " and {} more", findings.len() - LISTED);
    }
    let position = match findings {
        [only] => Position::At(entry.line(&only.path)),
        _ => Position::Named,
    };
    _ = write!(text, " {}", Origin { context, entry, position });
    text + &remedy(context.source, "Change it")
}

/// A deletion of a governed object.
pub fn deletion(context: &Context<'_>, entry: Entry<'_>) -> String {
    let origin = Origin { context, entry, position: Position::At(entry.first_line()) };
    format!(
        "{} is governed by Git and must not be deleted {origin}{}",
        subject(context),
        remedy(context.source, "Remove it")
    )
}

/// A governed object whose desired state is not known yet.
pub fn pending(context: &Context<'_>, entry: Entry<'_>) -> String {
    let origin = Origin { context, entry, position: Position::At(entry.first_line()) };
    let problem = entry.problem().unwrap_or("the API server has not been asked yet what it makes of the manifest");
    format!(
        "{} is governed by Git, but what it must be is not known yet: {problem} {origin}. Try again when this is solved.",
        subject(context)
    )
}

/// A governed object that is shown in another API version than the one of its desired state.
pub fn other_version(context: &Context<'_>, entry: Entry<'_>) -> String {
    format!(
        "{} is governed by Git in version {} and was shown to gitadel in version {}, so that it cannot be compared. Use {}, or try again when the webhook configuration names it.",
        subject(context),
        entry.version(),
        context.request.version,
        entry.version(),
    )
}

/// A governed object, or one that follows from it, that is being deleted.
pub fn terminating(context: &Context<'_>, findings: &[Finding]) -> String {
    format!(
        "{} is being deleted: its finalizers may be removed and nothing else, but {}. Wait until it is gone.",
        subject(context),
        Listed(findings, "must not change")
    )
}

pub fn undeclared_creation(context: &Context<'_>) -> String {
    let commit = context.source.map(Source::short_commit).unwrap_or_default();
    format!(
        "{} is not declared in Git at {commit} and cannot be created{}",
        subject(context),
        remedy(context.source, "Add it")
    )
}

pub fn undeclared_change(context: &Context<'_>, findings: &[Finding]) -> String {
    let commit = context.source.map(Source::short_commit).unwrap_or_default();
    format!(
        "{} is not declared in Git at {commit} and may only be deleted: {}{}",
        subject(context),
        Listed(findings, "must not change"),
        remedy(context.source, "Declare it")
    )
}

/// A write to something that a component keeps for a governed object, by somebody else or beyond its business.
pub fn kept_by_controller(context: &Context<'_>, owner: &dyn fmt::Display, findings: &[Finding]) -> String {
    let done = match context.request.operation {
        super::request::Operation::Create => "only its controller creates it".to_owned(),
        super::request::Operation::Delete => "only its controller deletes it".to_owned(),
        _ => format!("only its controller changes it, but {}", Listed(findings, "would change")),
    };
    format!(
        "{} belongs to {owner}, which is governed by Git: {done}{}",
        subject(context),
        remedy(context.source, "Change the owner")
    )
}

/// An operation that the Enforcement forbids on Pods and Nodes.
pub fn operation(context: &Context<'_>, operation: &str, setting: &str) -> String {
    let name = context.source.map_or("", |source| source.name.as_str());
    format!(
        "{operation} of {} is not allowed: Enforcement \"{name}\" sets {setting} to Deny{}",
        subject(context),
        remedy(context.source, "Allow it")
    )
}

/// Any other reason, after the subject: `… is …`.
pub fn other(context: &Context<'_>, reason: impl fmt::Display) -> String {
    format!("{} {reason}", subject(context))
}

/// Where the desired state comes from: `(apps/web.yaml:7 at main@1a2b3c4, "scale down for winter")`.
struct Origin<'a> {
    context: &'a Context<'a>,
    entry: Entry<'a>,
    position: Position,
}

#[derive(Clone, Copy)]
enum Position {
    /// Named beside each finding.
    Named,
    /// In the file, on this line where it is known.
    At(Option<u32>),
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(source) = self.context.source else { return f.write_str("(in the baseline)") };
        match (self.entry.class(), self.entry.file()) {
            (EntryClass::Baseline, _) => write!(f, "(in the baseline of Enforcement \"{}\")", source.name),
            (class, file) => {
                f.write_str("(")?;
                if class == EntryClass::Retained {
                    f.write_str("no longer declared, ")?;
                }
                if let (Some(file), Position::At(line)) = (file, self.position) {
                    f.write_str(file)?;
                    line.map_or(Ok(()), |line| write!(f, ":{line}"))?;
                    f.write_str(" ")?;
                }
                write!(f, "at {}, \"{}\")", source.short_commit(), source.subject)
            }
        }
    }
}

/// `metadata.labels[x] must not change, spec.y must not change and 2 more`
struct Listed<'a>(&'a [Finding], &'static str);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(findings, verb) = self;
        for (position, finding) in findings.iter().take(LISTED).enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{} {verb}", Place(finding))?;
        }
        if findings.len() > LISTED { write!(f, " and {} more", findings.len() - LISTED) } else { Ok(()) }
    }
}

struct Place<'a>(&'a Finding);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.path.0.is_empty() { f.write_str("the object") } else { self.0.path.fmt(f) }
    }
}

fn remedy(source: Option<&Source>, what: &str) -> String {
    source.map_or_else(
        || ".".to_owned(),
        |source| format!(". {what} by a commit to {}.", without_credentials(&source.url)),
    )
}

/// A URL as it may be shown to everybody.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let Some((user, host)) = authority.rsplit_once('@') else { return url.to_owned() };
    match (scheme, user.split_once(':').map_or(user, |(name, _)| name)) {
        // A name such as git@ belongs to an ssh URL, what follows it does not.
        ("ssh", name) => format!("{scheme}://{name}@{host}{path}"),
        _ => format!("{scheme}://{host}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        let cases = [
            ("https://git.example.com/shop.git", "https://git.example.com/shop.git"),
            ("https://alice:s3cret@git.example.com/shop.git", "https://git.example.com/shop.git"),
            ("https://t0ken@git.example.com/shop.git", "https://git.example.com/shop.git"),
            ("https://a:p@ss@git.example.com/x@y", "https://git.example.com/x@y"),
            ("ssh://git@git.example.com/shop.git", "ssh://git@git.example.com/shop.git"),
            ("ssh://git:s3cret@git.example.com/shop.git", "ssh://git@git.example.com/shop.git"),
            ("git@git.example.com:shop.git", "git@git.example.com:shop.git"),
            ("file:///srv/shop", "file:///srv/shop"),
        ];
        for (url, shown) in cases {
            assert_eq!(without_credentials(url), shown);
        }
    }
}
