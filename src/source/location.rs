//! The URL of a source: which ones are taken, and how one is shown.

use gix::bstr::ByteSlice;
use gix::url::Scheme;

use super::SourceError;

/// A checked URL, with what may be printed of it.
#[derive(Clone, Debug)]
pub(super) struct Location {
    pub url: gix::Url,
    /// The URL without user and password. The user of an ssh URL is no secret and stays.
    pub shown: String,
    secrets: Vec<String>,
}

impl Location {
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let refuse = |reason: &str| SourceError::Url { url: without_user_info(text), reason: reason.to_owned() };
        if text.chars().any(char::is_control) {
            return Err(refuse("it contains control characters"));
        }
        let url = gix::url::parse(text.as_bytes().as_bstr()).map_err(|_| refuse("it cannot be parsed"))?;
        match url.scheme {
            Scheme::File if text.starts_with("file://") => {}
            // A plain path would make the meaning of a source depend on where the reconciler runs.
            Scheme::File => return Err(refuse("it is a path on a disk")),
            // Nobody means a host by the drive of `C:shop`.
            Scheme::Ssh if !text.contains("://") && url.user().is_none() => {
                return Err(refuse("without a scheme it must have a user"));
            }
            Scheme::Http | Scheme::Https | Scheme::Ssh => {
                if url.host().is_none_or(str::is_empty) {
                    return Err(refuse("it names no host"));
                }
            }
            _ => return Err(refuse("its scheme is not supported")),
        }
        let mut secrets = Vec::new();
        if !matches!(url.scheme, Scheme::Ssh) {
            secrets.extend(url.user().map(str::to_owned));
        }
        secrets.extend(url.password().map(str::to_owned));
        let mut visible = url.clone();
        visible.set_password(None);
        if !matches!(url.scheme, Scheme::Ssh) {
            visible.set_user(None);
        }
        Ok(Self { shown: visible.to_bstring().to_string(), url, secrets })
    }

    /// Credentials may go to this host only, whatever a redirect says.
    pub fn is_same_server(&self, other: &gix::Url) -> bool {
        self.url.scheme == other.scheme
            && self.url.host() == other.host()
            && self.url.port_or_default() == other.port_or_default()
    }

    /// Whether this is the other URL, or one below it.
    pub fn is_under(&self, other: &Self) -> bool {
        let parts = |url: &gix::Url| {
            let path = url.path.to_string();
            path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let (path, above) = (parts(&self.url), parts(&other.url));
        self.is_same_server(&other.url) && path.starts_with(&above) && !path.iter().any(|part| part == "..")
    }

    /// Whoever is between here and the server reads what is sent over plain http.
    pub fn may_carry_credentials(&self) -> bool {
        self.url.scheme != Scheme::Http
    }

    pub fn is_http(&self) -> bool {
        matches!(self.url.scheme, Scheme::Http | Scheme::Https)
    }

    pub fn is_ssh(&self) -> bool {
        self.url.scheme == Scheme::Ssh
    }

    /// An error of a library as one line, without what must not be printed.
    pub fn describe(&self, error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !cause_text.is_empty() && !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        self.redact(&text)
    }

    fn redact(&self, text: &str) -> String {
        let original = self.url.to_bstring().to_string();
        let mut text = text.replace(&original, &self.shown).replace('\n', " ");
        for secret in self.secrets.iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret.as_str(), "…");
        }
        text
    }
}

/// For a URL that cannot be parsed: drops everything between `//` and the last `@` before the path.
fn without_user_info(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}{host}{path}").chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_secrets() {
        let cases = [
            ("https://git.example/shop.git", "https://git.example/shop.git"),
            ("https://alice:s3cret@git.example:8443/shop.git", "https://git.example:8443/shop.git"),
            ("http://token@git.example/shop", "http://git.example/shop"),
            ("ssh://git@git.example:2222/shop.git", "ssh://git@git.example:2222/shop.git"),
            ("git@git.example:shop.git", "git@git.example:shop.git"),
            ("file:///srv/git/shop.git", "file:///srv/git/shop.git"),
        ];
        for (url, shown) in cases {
            assert_eq!(Location::parse(url).unwrap().shown, shown, "{url}");
        }
    }

    #[test]
    fn unusable_urls_are_refused_without_showing_their_password() {
        for url in [
            "/srv/git",
            "../shop",
            "ftp://alice:s3cret@host/x",
            "git://host/x",
            "https://",
            "https://a:s3cret@ho\nst/x",
            "C:shop",
        ] {
            let message = Location::parse(url).map(|location| location.shown).unwrap_err().to_string();
            assert!(message.contains("https://…") && !message.contains("s3cret"), "{url}: {message}");
        }
    }

    #[test]
    fn messages_of_libraries_are_redacted() {
        let location = Location::parse("https://alice:s3cret@git.example/shop.git").unwrap();
        let text =
            location.redact("cannot reach https://alice:s3cret@git.example/shop.git as alice with s3cret\nat all");
        assert_eq!(text, "cannot reach https://git.example/shop.git as … with … at all");
    }

    #[test]
    fn a_url_is_under_another() {
        let url = Location::parse("https://git.example/shop/web.git").unwrap();
        for (above, expected) in [
            ("https://git.example", true),
            ("https://git.example:443/shop", true),
            ("https://git.example/shop/", true),
            ("https://git.example/shop/web.git", true),
            ("https://git.example/sh", false),
            ("https://git.example/shop/web.git/x", false),
            ("https://evil.example/shop", false),
            ("http://git.example/shop", false),
        ] {
            assert_eq!(url.is_under(&Location::parse(above).unwrap()), expected, "{above}");
        }
        let up = Location::parse("https://git.example/shop/../bank/web.git").unwrap();
        assert!(!up.is_under(&Location::parse("https://git.example/shop").unwrap()));
    }

    #[test]
    fn credentials_belong_to_one_server() {
        let location = Location::parse("https://git.example/shop.git").unwrap();
        let cases = [
            ("https://git.example:443/other", true),
            ("https://evil.example/shop.git", false),
            ("http://git.example/shop.git", false),
            ("https://git.example:8443/shop.git", false),
        ];
        for (other, same) in cases {
            assert_eq!(location.is_same_server(&gix::url::parse(other.as_bytes().as_bstr()).unwrap()), same, "{other}");
        }
    }
}
