//! Denials, in words: what is wrong, where Git says so, and what to do instead.

use std::fmt::{self, Display};

use super::context::Context;
use super::request::{Operation, Request};
use crate::compare::{AgainstRecord, Finding};
use crate::object::{ObjectId, ObjectRef};
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
    let (subject, source) = (subject(context), context.source);
    match (entry.class(), entry.problem()) {
        (EntryClass::Declared, Some(problem)) => {
            let what = Described(findings, fmt::Display::fmt);
            let declared = Origin { context, entry, position: Position::At(entry.first_line()) };
            // What Git declares now is not what is in force, and must not be cited for it.
            let why = problem.lines().next().unwrap_or_default().trim_end_matches('.');
            let way = remedy(source, "Correct it");
            format!(
                "{subject} is governed by Git: {what}. That is the last state that could be brought about; the one \
                 declared now {declared} could not: {why}{way}"
            )
        }
        (EntryClass::Declared, None) => {
            let position = match findings {
                [only] => Position::At(entry.line(&only.path)),
                _ => Position::Named,
            };
            let origin = Origin { context, entry, position };
            let what = Positioned { entry, findings };
            format!("{subject} is governed by Git: {what} {origin}{}", remedy(source, "Change it"))
        }
        (EntryClass::Baseline, _) => {
            let what = Described(findings, |finding, f| AgainstRecord(finding).fmt(f));
            let recorded = Baseline(source);
            format!("{subject} {recorded}: {what}{}", remedy(source, "To change it, declare it as it shall be"))
        }
        (EntryClass::Retained, _) => {
            let what = Described(findings, fmt::Display::fmt);
            let again = remedy(source, "Delete it, or declare it again");
            format!("{subject} is no longer declared in Git, and frozen as it was declared last: {what}{again}")
        }
    }
}

/// By this annotation kube-apiserver leaves a role or binding of its own as it is.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Whether a recorded role or binding says that kube-apiserver makes it. That gives it nothing: it only tells which advice
/// is of use, for other versions of Kubernetes as well.
fn has_bootstrapping_label(entry: Entry<'_>) -> bool {
    entry.id().group == "rbac.authorization.k8s.io"
        && entry
            .canonical()
            .is_some_and(|canonical| canonical.at(&["metadata", "labels", "kubernetes.io/bootstrapping"]).is_some())
}

/// A deletion of a governed object.
pub fn deletion(context: &Context<'_>, entry: Entry<'_>) -> String {
    let (subject, source) = (subject(context), context.source);
    if entry.class() == EntryClass::Baseline {
        let way = source.map(|source| {
            let url = without_credentials(&source.url);
            if has_bootstrapping_label(entry) {
                return format!(
                    ". kube-apiserver demands it at each start, and ends where it may not make it. To take its rights \
                     away, declare it by a commit to {url}, without rules or subjects and with annotation \
                     {AUTOUPDATE}: \"false\""
                );
            }
            format!(". To remove it, declare it by one commit to {url}, and take it out of Git again by the next")
        });
        return format!("{subject} {}: it must not be deleted{}.", Baseline(source), way.unwrap_or_default());
    }
    let origin = Origin { context, entry, position: Position::At(entry.first_line()) };
    format!("{subject} is governed by Git and must not be deleted {origin}{}", remedy(source, "Remove it"))
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
    let kind = context.request.kind;
    let shown =
        if kind.group.is_empty() { kind.version.to_owned() } else { format!("{}/{}", kind.group, kind.version) };
    let wanted = entry.version();
    format!(
        "{} is governed by Git in version {wanted} and cannot be compared in version {shown}. Write it in version \
         {wanted}, or try again in a moment: gitadel is about to ask the API server for that version.",
        subject(context)
    )
}

/// A governed object, or one that follows from it, that is being deleted.
pub fn terminating(context: &Context<'_>, findings: &[Finding]) -> String {
    format!(
        "{} is being deleted: finalizers may be removed from it, but {}. Wait until it is gone.",
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
        "{} is not declared in Git at {commit}: it may be deleted, but {}{}",
        subject(context),
        Listed(findings, "must not change"),
        remedy(context.source, "To change it, declare it")
    )
}

/// For whom a component keeps an object.
pub enum Keeper<'a> {
    /// For the object at the end of its chain of controllers.
    Owner(&'a ObjectId),
    /// For an object that does not own it, but from which it follows.
    Origin(&'a ObjectId),
    /// For itself.
    Component(&'static str),
}

/// A write to something that a component keeps, by somebody else or beyond its business.
pub fn kept_by_controller(context: &Context<'_>, keeper: &Keeper<'_>, findings: &[Finding]) -> String {
    let (kept, by, change) = match keeper {
        Keeper::Owner(owner) => (format!("belongs to {owner}"), "its controller", "Change that"),
        Keeper::Origin(object) => {
            (format!("follows from {object}"), "its controller", "To keep it otherwise, declare it")
        }
        Keeper::Component(name) => (format!("is kept by {name}"), *name, "To keep it otherwise, declare it"),
    };
    let done = match context.request.operation {
        Operation::Create => format!("only {by} creates it"),
        Operation::Delete => format!("only {by} deletes it"),
        _ if findings.is_empty() => format!("only {by} changes it"),
        _ => format!("only {by} changes it, but {}", Listed(findings, "would change")),
    };
    format!("{} {kept}: {done}{}", subject(context), remedy(context.source, change))
}

/// A child that would not be what its owner's template yields.
pub fn not_of_template(context: &Context<'_>, owner: &ObjectId, findings: &[Finding]) -> String {
    let what = Described(findings, fmt::Display::fmt);
    let way = remedy(context.source, "Change the template");
    format!("{} belongs to {owner}, whose template yields another: {what}{way}", subject(context))
}

/// An operation that the Enforcement forbids on Pods and Nodes.
pub fn operation(context: &Context<'_>, source: &Source, operation: &str, setting: &str) -> String {
    format!(
        "{operation} of {} is not allowed: Enforcement \"{}\" sets {setting} to Deny. Allow it there.",
        subject(context),
        source.name
    )
}

/// A write to status that others act on, by somebody who does not keep it.
pub fn status(context: &Context<'_>, findings: &[Finding]) -> String {
    format!(
        "{} has a status that others act on: only who keeps it writes it, but {}{}",
        subject(context),
        Listed(findings, "would change"),
        remedy(context.source, "To let somebody else keep it, delegate it")
    )
}

/// A write through a subresource whose effect on the object nobody can foresee.
pub fn subresource(context: &Context<'_>) -> String {
    let request = context.request;
    let through = request.subresource.unwrap_or(request.resource);
    format!(
        "{} is governed by Git: what {} of {through} makes of it cannot be compared with Git. Write the object itself \
         instead.",
        subject(context),
        request.operation.as_str(),
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
        let Some(source) = self.context.source else { return Ok(()) };
        f.write_str("(")?;
        if let (Some(file), Position::At(line)) = (self.entry.file(), self.position) {
            f.write_str(file)?;
            line.map_or(Ok(()), |line| write!(f, ":{line}"))?;
            f.write_str(" ")?;
        }
        // Escaped: a subject may hold quotation marks, and control characters for the reader's terminal.
        write!(f, "at {}, {:?})", source.short_commit(), source.subject)
    }
}

/// What there is to know of an object that was never in Git.
struct Baseline<'a>(Option<&'a Source>);

impl fmt::Display for Baseline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not declared in Git, and frozen as it was when its scope came under Git (in the baseline")?;
        self.0.map_or(Ok(()), |source| write!(f, " of Enforcement \"{}\"", source.name))?;
        f.write_str(")")
    }
}

/// The first findings, each in words.
struct Described<'a>(&'a [Finding], fn(&Finding, &mut fmt::Formatter<'_>) -> fmt::Result);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(findings, describe) = self;
        list(f, findings, describe)
    }
}

/// The first findings, and where there are more than one also the line of each.
struct Positioned<'a> {
    entry: Entry<'a>,
    findings: &'a [Finding],
}

impl fmt::Display for Positioned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = self.findings.len() == 1;
        list(f, self.findings, |finding, f| {
            finding.fmt(f)?;
            match (self.entry.file(), self.entry.line(&finding.path)) {
                (Some(file), Some(line)) if !single => write!(f, " ({file}:{line})"),
                _ => Ok(()),
            }
        })
    }
}

fn list(
    f: &mut fmt::Formatter<'_>,
    findings: &[Finding],
    describe: impl Fn(&Finding, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (position, finding) in findings.iter().take(LISTED).enumerate() {
        f.write_str(if position == 0 { "" } else { ", " })?;
        describe(finding, f)?;
    }
    if findings.len() > LISTED { write!(f, " and {} more", findings.len() - LISTED) } else { Ok(()) }
}

/// `metadata.labels[x] must not change, spec.y must not change and 2 more`
struct Listed<'a>(&'a [Finding], &'static str);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(findings, verb) = self;
        list(f, findings, |finding, f| write!(f, "{} {verb}", Place(finding)))
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
    use serde_json::json;

    use super::*;
    use crate::admission::testing::{Review, World};

    #[test]
    fn nobody_is_told_to_remove_what_kube_apiserver_cannot_start_without() {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {
            "name": "view", "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}});
        let world = World::new().entry(&role, |draft| draft.class = EntryClass::Baseline);
        let said = world.verdict(&Review::delete(&role)).message.unwrap();
        assert!(said.contains("rbac.authorization.kubernetes.io/autoupdate: \"false\""), "{said}");
        assert!(!said.contains("take it out of Git"), "{said}");
    }

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
