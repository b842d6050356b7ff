//! Which ways to a repository this process takes.
//!
//! Whoever may create an Enforcement names a URL, and gitadel goes there with rights of its own: it would read every
//! directory of its container, and believe whoever is on the way to a server that proves nothing. So these ways are open
//! only where whoever starts the process says so.

use gix::url::Scheme;

use super::location::Location;

/// A way that is closed unless a flag opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// Repositories in directories that this process can read (file:///…).
    File,
    /// Servers that do not prove who they are (http://…).
    Http,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    #[error(
        "spec.source.url: {url} is a directory where gitadel runs, which it reads only if it is started with \
         --allow-transport=file; use an https or ssh URL"
    )]
    File { url: String },
    #[error(
        "spec.source.url: nobody proves to be the server of {url}, so gitadel asks it only if it is started with \
         --allow-transport=http; use an https or ssh URL"
    )]
    Http { url: String },
}

/// The ways that are open beside https and ssh.
#[derive(Clone, Debug, Default)]
pub struct Transports(Vec<Transport>);

impl Transports {
    pub fn new(opened: Vec<Transport>) -> Self {
        Self(opened)
    }

    /// Whether a source may be there. A URL that cannot be used at all is the source's own problem, which names it.
    ///
    /// # Errors
    /// The way to it is closed.
    pub fn admit(&self, url: &str) -> Result<(), TransportError> {
        // A plain path is refused by what reads URLs, with the same advice for everybody.
        let Ok(location) = Location::parse(url) else { return Ok(()) };
        let (transport, error) = match location.url.scheme {
            Scheme::Https | Scheme::Ssh => return Ok(()),
            Scheme::Http => (Transport::Http, TransportError::Http { url: location.shown }),
            // What reads URLs takes no other.
            _ => (Transport::File, TransportError::File { url: location.shown }),
        };
        if self.0.contains(&transport) { Ok(()) } else { Err(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_that_prove_who_they_are_without_a_flag() {
        let closed = Transports::default();
        let refused = |url: &str| closed.admit(url).map_err(|error| error.to_string()).err();
        for url in ["https://git.example/shop.git", "ssh://git@git.example/shop.git", "git@git.example:shop.git"] {
            assert_eq!(refused(url), None, "{url}");
        }
        for (url, flag) in [
            ("file:///etc", "--allow-transport=file"),
            ("file:///var/cache/gitadel/all", "--allow-transport=file"),
            ("file://host/srv/shop.git", "--allow-transport=file"),
            ("http://git.example/shop.git", "--allow-transport=http"),
        ] {
            let message = refused(url).unwrap_or_else(|| panic!("{url} is taken"));
            assert!(message.contains(flag), "{message}");
        }
        let message = refused("http://alice:s3cret@git.example/shop.git").unwrap();
        assert!(!message.contains("s3cret"), "{message}");
    }

    #[test]
    fn a_flag_opens_its_own_way_only() {
        let (file, http) = ("file:///srv/shop.git", "http://git.example/shop.git");
        let opened = |transport| Transports::new(vec![transport]);
        assert!(opened(Transport::File).admit(file).is_ok() && opened(Transport::File).admit(http).is_err());
        assert!(opened(Transport::Http).admit(http).is_ok() && opened(Transport::Http).admit(file).is_err());
    }
}
