//! The files of `certs.d` read, and an HTTP client made for each endpoint. TLS roots and all are loaded when first needed, never at rest.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Identity};

use super::error::RegistryError;
use super::hosts::{self, Endpoint, Tls};

const CONNECT: Duration = Duration::from_secs(10);
/// A hosts.toml, a certificate or a key is not larger.
const MAX_FILE: u64 = 1 << 20;
/// Files of a registry's directory that are looked at.
const MAX_NAMES: usize = 1000;

/// Makes clients.
pub(super) struct Clients {
    hosts_dir: PathBuf,
    stall: Duration,
    /// For endpoints that need nothing of their own.
    usual: OnceLock<Client>,
}

impl Clients {
    pub(super) fn new(hosts_dir: PathBuf, stall: Duration) -> Self {
        Self { hosts_dir, stall, usual: OnceLock::new() }
    }

    /// What is configured for a registry, read anew each time: the files act without a restart, as containerd's do.
    pub(super) fn endpoints(&self, domain: &str) -> Result<Vec<Endpoint>, RegistryError> {
        for name in hosts::directories(domain) {
            let dir = self.hosts_dir.join(name);
            match std::fs::metadata(&dir) {
                Ok(_) => return load(&dir, domain).map_err(RegistryError::verdict),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(RegistryError::verdict(format!("cannot look into {}: {error}", dir.display()))),
            }
        }
        Ok(vec![hosts::registry(domain, Tls::default())])
    }

    /// The client of an endpoint.
    pub(super) fn client(&self, endpoint: &Endpoint) -> Result<Client, RegistryError> {
        install_crypto();
        let connect = endpoint.dial_timeout.unwrap_or(CONNECT).min(self.stall);
        if endpoint.tls == Tls::default() && endpoint.dial_timeout.is_none() {
            if let Some(client) = self.usual.get() {
                return Ok(client.clone());
            }
            let made = self.builder(connect).build()?;
            return Ok(self.usual.get_or_init(|| made).clone());
        }
        let builder = trusting(self.builder(connect), &endpoint.tls).map_err(RegistryError::verdict)?;
        Ok(builder.build()?)
    }

    fn builder(&self, connect: Duration) -> ClientBuilder {
        let agent = concat!("minik8s/", env!("CARGO_PKG_VERSION"));
        Client::builder().read_timeout(self.stall).connect_timeout(connect).user_agent(agent)
    }
}

/// rustls asks for one provider a process; another part of it may have been first.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn load(dir: &Path, domain: &str) -> Result<Vec<Endpoint>, String> {
    let file = dir.join("hosts.toml");
    match read(&file) {
        Ok(bytes) if !bytes.is_empty() => {
            let text = String::from_utf8(bytes).map_err(|_| format!("{} is no text", file.display()))?;
            let (endpoints, unknown) = hosts::parse(&text, dir, domain).map_err(|why| format!("{}: {why}", file.display()))?;
            for key in unknown {
                tracing::warn!(file = %file.display(), key, "an unknown key is passed over");
            }
            Ok(endpoints)
        }
        Ok(_) => Ok(vec![hosts::registry(domain, certificates(dir)?)]),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(vec![hosts::registry(domain, certificates(dir)?)]),
        Err(error) => Err(format!("cannot read {}: {error}", file.display())),
    }
}

fn certificates(dir: &Path) -> Result<Tls, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("cannot read {}: {e}", dir.display()))?;
    let names = entries.take(MAX_NAMES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(hosts::certificates(dir, &names.collect::<Vec<_>>()))
}

fn trusting(mut builder: ClientBuilder, tls: &Tls) -> Result<ClientBuilder, String> {
    for path in &tls.ca {
        let pem = read(path).map_err(|e| format!("unable to read CA cert {}: {e}", path.display()))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| format!("unable to load CA cert {}", path.display()))?;
        if certificates.is_empty() {
            return Err(format!("unable to load CA cert {}: there is none in it", path.display()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    match tls.client.as_slice() {
        [] => {}
        [(certificate, key)] => {
            let mut pem = read(certificate).map_err(|e| format!("unable to read CERT file {}: {e}", certificate.display()))?;
            if let Some(key) = key {
                pem.push(b'\n');
                pem.extend(read(key).map_err(|e| format!("unable to read the key {}: {e}", key.display()))?);
            }
            // The library's words may quote the file.
            let identity = Identity::from_pem(&pem).map_err(|_| format!("{}: it is no certificate with its key", certificate.display()))?;
            builder = builder.identity(identity);
        }
        several => return Err(format!("{} client certificates are given; one at most can be shown to a registry", several.len())),
    }
    Ok(builder.tls_danger_accept_invalid_certs(tls.skip_verify))
}

/// A configuration file: regular, and of bounded size.
pub(in crate::runtime::images) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(std::io::Error::other(format!("it is larger than {MAX_FILE} bytes"))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(dir: &Path) -> Clients {
        Clients::new(dir.to_path_buf(), Duration::from_secs(1))
    }

    #[test]
    fn the_best_directory_counts_and_a_bad_file_fails() {
        let dir = tempfile::tempdir().unwrap();
        let base = |domain: &str| clients(dir.path()).endpoints(domain).unwrap()[0].base.clone();
        assert_eq!(base("r.example:5000"), "https://r.example:5000/v2");
        let put = |name: &str, file: &str, text: &str| {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join(file), text).unwrap();
        };
        put("_default", "hosts.toml", "server = \"https://default.example\"");
        put("r.example:5000", "hosts.toml", "server = \"https://colon.example\"");
        assert_eq!(
            (base("r.example:5000").as_str(), base("q.example").as_str()),
            ("https://colon.example/v2", "https://default.example/v2")
        );
        put("r.example_5000_", "hosts.toml", "server = \"https://underscore.example\"");
        assert_eq!(base("r.example:5000"), "https://underscore.example/v2");
        put("r.example_5000_", "hosts.toml", "server = [");
        let error = clients(dir.path()).endpoints("r.example:5000").unwrap_err();
        assert!(!error.unreachable && error.cause.contains("r.example_5000_/hosts.toml: line 1"), "{}", error.cause);
        put("c.example", "ca.crt", "");
        assert_eq!(clients(dir.path()).endpoints("c.example").unwrap()[0].tls.ca, [dir.path().join("c.example/ca.crt")]);
    }

    #[test]
    fn certificates_that_are_none_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        let endpoint = |tls: Tls| hosts::registry("r.example", tls);
        let fault = |tls: Tls| clients(dir.path()).client(&endpoint(tls)).unwrap_err().cause;
        let with_ca = || Tls { ca: vec![ca.clone()], ..Tls::default() };
        assert!(fault(with_ca()).starts_with(&format!("unable to read CA cert {}", ca.display())));
        std::fs::write(&ca, "hunter2").unwrap();
        let words = fault(with_ca());
        assert!(words.starts_with(&format!("unable to load CA cert {}", ca.display())) && !words.contains("hunter2"), "{words}");
        assert!(fault(Tls { client: vec![(ca.clone(), None)], ..Tls::default() }).contains("no certificate with its key"));
        assert!(fault(Tls { client: vec![(ca.clone(), None), (ca.clone(), None)], ..Tls::default() }).contains("2 client certificates"));
        clients(dir.path()).client(&endpoint(Tls { skip_verify: true, ..Tls::default() })).unwrap();
    }
}
