//! Debian's docker-registry with TLS and htpasswd: what people really run. Filled by `ctr images push`.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use minik8s::config::Keyring;
use minik8s::runtime::{Containerd, ContainerdConfig, Image, ImageError, ImageRequest, PullPolicy, Runtime};

use crate::lab::Lab;

/// `htpasswd -nbB me hunter22`.
const HTPASSWD: &str = "me:$2y$05$sVfjWd68PSLGjPNNmVlP5eszAHKjTzI00i709ICa2wiFXf6mwx.BW\n";

struct Served {
    process: Child,
    address: String,
    lab: Lab,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An authority, a server's certificate and a client's, as files.
fn certificates(dir: &Path) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).unwrap();
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    let issuer = rcgen::Issuer::from_params(&ca, &ca_key);
    for (name, usage) in [("server", rcgen::ExtendedKeyUsagePurpose::ServerAuth), ("client", rcgen::ExtendedKeyUsagePurpose::ClientAuth)] {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        fs::write(dir.join(format!("{name}.cert")), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

impl Served {
    /// `more` goes into the TLS section.
    fn start(more: &str) -> Served {
        let lab = Lab::start();
        let dir = lab.dir.join("registry");
        fs::create_dir_all(dir.join("data")).unwrap();
        certificates(&dir);
        fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let d = dir.display();
        let more = more.replace("DIR", &d.to_string());
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {d}/data}}}}\nauth: {{htpasswd: {{realm: test, path: {d}/htpasswd}}}}\n\
             http:\n  addr: {address}\n  tls: {{certificate: {d}/server.cert, key: {d}/server.key{more}}}\n"
        );
        fs::write(dir.join("config.yml"), config).unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker-registry is on PATH (apt-get install docker-registry)");
        let mut served = Served { process, address, lab };
        let begun = Instant::now();
        while std::net::TcpStream::connect(&served.address).is_err() {
            let died = served.process.try_wait().unwrap();
            let log = fs::read_to_string(served.file("log")).unwrap_or_default();
            assert!(died.is_none() && begun.elapsed() < Duration::from_secs(20), "docker-registry does not serve:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        served
    }

    fn file(&self, name: &str) -> PathBuf {
        self.lab.dir.join("registry").join(name)
    }

    fn name(&self) -> String {
        format!("{}/team/app:1", self.address)
    }

    fn push(&self) {
        self.lab.import_busybox(&self.name());
        // containerd 1.6 wants a host.
        let host =
            format!("[host.\"https://{}\"]\nca = \"DIR/ca.pem\"\nclient = [[\"DIR/client.cert\", \"DIR/client.key\"]]", self.address);
        let hosts = self.hosts("push.d", &host);
        let name = self.name();
        self.lab.ctr(&["images", "push", "--user", "me:hunter22", "--hosts-dir", hosts.to_str().unwrap(), &name]);
        self.lab.ctr(&["images", "rm", "--sync", &name]);
    }

    /// A directory with this hosts.toml for the registry.
    fn hosts(&self, name: &str, hosts: &str) -> PathBuf {
        let root = self.lab.dir.join(name);
        let dir = root.join(self.address.replace(':', "_") + "_");
        fs::create_dir_all(&dir).unwrap();
        let hosts = hosts.replace("DIR", &self.lab.dir.join("registry").display().to_string());
        fs::write(dir.join("hosts.toml"), format!("server = \"https://{}\"\n{hosts}\n", self.address)).unwrap();
        root
    }

    async fn pull(&self, hosts: &str, password: &str) -> Result<Image, String> {
        let config = ContainerdConfig { registry_hosts: self.hosts("certs.d", hosts), ..self.lab.config() };
        let runtime = Containerd::connect(config).await.unwrap();
        let auths = serde_json::json!({"auths": {format!("https://{}/v2/", self.address): {"username": "me", "password": password}}});
        let keyring = Keyring::from_config_json(auths.to_string().as_bytes()).unwrap();
        let request = ImageRequest { reference: &self.name(), policy: PullPolicy::Always, keyring: &keyring };
        match runtime.ensure_image(request, &|_| {}).await {
            Ok(image) => Ok(image),
            Err(error @ ImageError::Pull { .. }) => Err(error.to_string()),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_a_login() {
    let served = Served::start("");
    served.push();
    // Nobody vouches for its certificate.
    let error = served.pull("", "hunter22").await.unwrap_err();
    assert!(error.contains("certificate") || error.contains("UnknownIssuer"), "{error}");
    let error = served.pull("ca = \"DIR/ca.pem\"", "wrong-pw").await.unwrap_err();
    assert!(error.contains("401 Unauthorized") && error.contains("pull access denied") && !error.contains("wrong-pw"), "{error}");
    assert_eq!(served.lab.ctr(&["images", "list", "-q"]), "");
    assert!(served.pull("ca = \"DIR/ca.pem\"", "hunter22").await.unwrap().pulled);
    // The same image by another way in: only its digest is asked for.
    assert!(served.pull("skip_verify = true", "hunter22").await.unwrap().pulled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_ones_own() {
    let served = Served::start(", clientcas: [DIR/ca.pem]");
    served.push();
    let error = served.pull("ca = \"DIR/ca.pem\"", "hunter22").await.unwrap_err();
    assert!(error.contains("ertificate"), "{error}");
    let hosts = "ca = \"DIR/ca.pem\"\nclient = [[\"DIR/client.cert\", \"DIR/client.key\"]]";
    assert!(served.pull(hosts, "hunter22").await.unwrap().pulled);
}
