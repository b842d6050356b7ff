//! The certificate that opens what is closed to everybody.
//!
//! Whoever may impersonate chooses the user, the groups and everything else that a policy sees of who asks. What they
//! cannot choose is what they do not know: for a client certificate the API server itself writes its SHA-256 into
//! `userInfo.extra`. So that digest is a secret, as long as the certificate was never in the cluster and never used. It
//! stands in files that only the control plane's administrators read, and in the audit log from the first use on.

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::cel::list;

/// Where the API server tells by which credential a user was known.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

#[derive(Debug, thiserror::Error)]
#[error("there is no certificate in it, as PEM: give the client certificate that is kept offline, without its key")]
pub struct CredentialError;

/// A client certificate, as the API server names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credential(String);

impl Credential {
    /// Reads the first certificate of a PEM text: the client's own, if more follow.
    ///
    /// # Errors
    /// There is none.
    pub fn of_certificate(pem: &[u8]) -> Result<Self, CredentialError> {
        let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| CredentialError)?;
        let digest = digest(&SHA256, &certificate);
        let hexadecimal: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self(format!("X509SHA256={hexadecimal}")))
    }

    /// What the API server shows of it, and whoever knows it can claim.
    pub fn id(&self) -> &str {
        &self.0
    }
}

/// CEL that is true for requests by anybody else.
pub fn by_nobody_of(offline: &[Credential]) -> String {
    format!(
        "!request.userInfo.?extra[?'{CREDENTIAL_ID}'].orValue([]).exists(id, id in {})",
        list(offline.iter().map(Credential::id))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::issue::Authority;

    #[test]
    fn a_certificate_has_an_id_and_a_key_has_none() {
        let issued = Authority::new("test").unwrap().issue_client("break-glass", None).unwrap();
        let credential = Credential::of_certificate(issued.certificate.as_bytes()).unwrap();
        let digest = credential.id().strip_prefix("X509SHA256=").unwrap();
        assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        assert!(Credential::of_certificate(issued.key.as_bytes()).is_err());
        assert!(Credential::of_certificate(b"").is_err());
    }
}
