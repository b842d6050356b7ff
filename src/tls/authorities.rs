//! Bundles of authorities' certificates: taken apart, checked, put together in one form.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The certificates in a PEM text, each as PEM of its own in one and the same layout. What is none is left out.
pub fn split(pem: &str) -> Vec<String> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .filter_map(Result::ok)
        .filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok())
        .map(|certificate| encode(&certificate))
        .collect()
}

/// Certificates as PEM, in the layout of [`split`].
pub fn join<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> String {
    certificates.into_iter().map(|certificate| encode(&CertificateDer::from_slice(certificate))).collect()
}

fn encode(certificate: &CertificateDer<'_>) -> String {
    let body = BASE64.encode(certificate);
    let mut pem = String::with_capacity(body.len() + body.len() / 64 + 60);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII: any length is a boundary.
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::issue::Authority;

    #[test]
    fn certificates_come_out_in_one_layout() {
        let [a, b] = ["a", "b"].map(|name| Authority::new(name).unwrap().certificate().to_owned());
        let found = split(&format!("comment\r\n{}\n\n{b}", a.replace('\n', "\r\n")));
        assert_eq!(found.len(), 2);
        assert_eq!(split(&found.concat()), found, "the layout is a fixed point");
        assert_eq!(split(&a), found[..1]);
    }

    #[test]
    fn what_is_no_certificate_is_left_out() {
        let key = Authority::new("a").unwrap().key();
        for text in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key] {
            assert_eq!(split(text), Vec::<String>::new());
        }
    }
}
