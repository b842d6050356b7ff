//! Making certificates: an authority, and the server and client certificates that it signs.
//!
//! gitadel's webhook needs a serving certificate whose authority stands in the webhook configuration, and the embedded
//! control plane of the demo and the tests needs a whole public-key infrastructure. Both are made here, in memory, so
//! that a private key is only ever written where its owner decides. Keys are ECDSA P-256: made in well under a
//! millisecond, understood by every Kubernetes component.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// Clocks of nodes differ: a certificate is valid a little before the moment it was made.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const AUTHORITY_VALIDITY: Duration = Duration::from_secs(10 * YEAR.as_secs());
const CLIENT_VALIDITY: Duration = YEAR;

#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("cannot make a key: {0}")]
    Key(#[source] rcgen::Error),
    #[error("cannot make a certificate for {subject}: {source}; names must be DNS names or IP addresses")]
    Certificate { subject: String, source: rcgen::Error },
}

/// A certificate (with nothing above it in the chain but its authority) and its private key (PKCS #8), both as PEM.
#[derive(Clone)]
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

/// A self-signed certificate authority, with its key.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(common_name: &str) -> Result<Self, IssueError> {
        let key = new_key()?;
        let mut params = parameters(common_name, None, &[], AUTHORITY_VALIDITY)?;
        // It signs leaves only.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .map_err(|source| IssueError::Certificate { subject: common_name.into(), source })?
            .pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// What clients and servers that trust this authority are given.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The authority's own private key, for those who have to hand it to another signer (kube-controller-manager signs
    /// certificate requests with it).
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A serving certificate for DNS names and IP addresses; the first one is also its common name.
    pub fn issue_server(&self, names: &[&str], validity: Duration) -> Result<Issued, IssueError> {
        let common_name = names.first().copied().unwrap_or_default();
        let mut params = parameters(common_name, None, names, validity)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(common_name, params)
    }

    /// A client certificate. Kubernetes reads the common name as the user and the organization as the group; rcgen can
    /// write one organization, where X.509 would allow several.
    pub fn issue_client(&self, common_name: &str, organization: Option<&str>) -> Result<Issued, IssueError> {
        let mut params = parameters(common_name, organization, &[], CLIENT_VALIDITY)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(common_name, params)
    }

    fn sign(&self, subject: &str, mut params: CertificateParams) -> Result<Issued, IssueError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = new_key()?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|source| IssueError::Certificate { subject: subject.into(), source })?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// A pair of keys without a certificate, as service-account tokens are signed with.
pub struct SigningKeys {
    pub private: String,
    pub public: String,
}

impl SigningKeys {
    pub fn generate() -> Result<Self, IssueError> {
        let key = new_key()?;
        Ok(Self { private: key.serialize_pem(), public: key.public_key_pem() })
    }
}

fn new_key() -> Result<KeyPair, IssueError> {
    KeyPair::generate().map_err(IssueError::Key)
}

fn parameters(
    common_name: &str,
    organization: Option<&str>,
    names: &[&str],
    validity: Duration,
) -> Result<CertificateParams, IssueError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)
        .map_err(|source| IssueError::Certificate { subject: common_name.into(), source })?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, common_name);

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    // The bound keeps the sum inside what a date can hold, whatever a caller asks for.
    params.not_after = epoch + (now + validity.min(100 * YEAR));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    /// The handshake in memory: whether a client that trusts `trusted` accepts `served` under `name`, with `client` as
    /// its own certificate, which a server that trusts `clients` asks for.
    fn handshake(
        trusted: &Authority,
        served: &Issued,
        name: &str,
        client: &Issued,
        clients: &Authority,
    ) -> Result<(), rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = |issued: &Issued| vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
        let key = |issued: &Issued| PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let roots = |authority: &Authority| {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap()).unwrap();
            Arc::new(roots)
        };
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots(clients), Arc::clone(&provider))
                .build()
                .unwrap();
        let server_config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain(served), key(served))
            .unwrap();
        let client_config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(trusted))
            .with_client_auth_cert(chain(client), key(client))
            .unwrap();
        let mut server = ServerConnection::new(Arc::new(server_config)).unwrap();
        let mut client =
            ClientConnection::new(Arc::new(client_config), ServerName::try_from(name.to_owned()).unwrap()).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn certificates_are_accepted_by_those_who_trust_their_authority_and_by_no_one_else() {
        let authority = Authority::new("ours").unwrap();
        let other = Authority::new("ours").unwrap();
        let served = authority.issue_server(&["webhook.svc", "127.0.0.1"], HOUR).unwrap();
        let client = authority.issue_client("alice", Some("developers")).unwrap();
        handshake(&authority, &served, "webhook.svc", &client, &authority).unwrap();
        handshake(&authority, &served, "127.0.0.1", &client, &authority).unwrap();

        assert!(handshake(&other, &served, "webhook.svc", &client, &authority).is_err(), "foreign authority");
        assert!(handshake(&authority, &served, "webhook.svc", &client, &other).is_err(), "foreign client");
        assert!(handshake(&authority, &served, "example.org", &client, &authority).is_err(), "other name");
        assert!(handshake(&authority, &client, "webhook.svc", &client, &authority).is_err(), "client as server");
        assert!(handshake(&authority, &served, "webhook.svc", &served, &authority).is_err(), "server as client");
    }

    #[test]
    fn a_certificate_expires() {
        let authority = Authority::new("ours").unwrap();
        let client = authority.issue_client("alice", None).unwrap();
        // The bound that follows from the clock skew alone: valid from five minutes ago until now.
        let expired = authority.issue_server(&["webhook.svc"], Duration::ZERO).unwrap();
        std::thread::sleep(Duration::from_millis(1100));
        assert!(handshake(&authority, &expired, "webhook.svc", &client, &authority).is_err());
        let eternal = authority.issue_server(&["webhook.svc"], Duration::MAX).unwrap();
        handshake(&authority, &eternal, "webhook.svc", &client, &authority).unwrap();
    }

    #[test]
    fn a_name_that_cannot_stand_in_a_certificate_is_an_error() {
        let authority = Authority::new("ours").unwrap();
        assert!(matches!(authority.issue_server(&["b\u{fc}ro"], HOUR), Err(IssueError::Certificate { .. })));
    }
}
