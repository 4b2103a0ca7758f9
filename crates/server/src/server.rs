//! The whole server, put together: the only place that knows all parts.
//!
//! One data directory belongs to one process, held by a lock on a file in it. Starting checks what
//! may be wrong before anything is changed; stopping answers what is in flight, gives running jobs
//! back to the queue and leaves nothing to repair.

use crate::config::Settings;
use crate::http::listen::{self, ListenLimits};
use crate::http::{ControlPlane, Planes, RateLimiter, RequestPlane};
use crate::identity::{Identity, IdentityPlane};
use crate::keys::{AuthMode, FileKeys, KeyTable, KeysError};
use crate::kms::{KeyPlane, RemoteKeys, RemoteSettings};
use crate::ops::Context;
use crate::parts::{SystemClock, SystemRandom};
use crate::s3::{S3Parts, S3Plane};
use crate::sigv4::Verifier;
use axum::body::Body;
use http::{Request, Response};
use kindred_catalog::Catalog;
use kindred_jobs::{Buckets, Failure, Layout, Parts, Runner, ServersRights};
use kindred_store::keys::master::MasterKey;
use kindred_store::{EmbeddedStore, KeyRing, KeyService};
use kindred_types::parts::{Clock, Random};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File};
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Version of the data directory's form. Older ones open, newer ones are refused untouched.
const FORMAT: u32 = 1;

/// Holds the master key of the key ring.
const MASTER_KEY_VARIABLE: &str = "KINDRED_MASTER_KEY";
/// The name of the master key among the system's credentials.
const MASTER_KEY_CREDENTIAL: &str = "kindred-master-key";

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the data directory.
    #[error("the data directory {0} is in use by another process")]
    InUse(PathBuf),
    /// A newer program wrote the data directory.
    #[error(
        "the data directory {path} has format {found}, this program knows up to {FORMAT}; it was left untouched"
    )]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// The format found.
        found: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// As configured.
        address: String,
        /// Why not.
        reason: String,
    },
    /// A file or directory.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The credentials file.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] kindred_catalog::Error),
    /// The embedded buckets.
    #[error(transparent)]
    Store(#[from] kindred_store::Error),
    /// Roles and policies.
    #[error("roles and policies: {0}")]
    Identity(String),
    /// The key ring, its master key, or the key service elsewhere.
    #[error("customer keys: {0}")]
    KeyRing(kindred_store::Error),
    /// The job runner.
    #[error("the job runner did not start: {0}")]
    Jobs(#[from] Failure),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    runtime: Runtime,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    runner: Runner,
    _lock: File,
}

/// The signals that stop a server.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Server {
    /// Opens the data directory, making it if need be, and listens.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let layout = Layout::new(settings.data_dir.clone());
        let lock = claim_directory(layout.root())?;
        let keys: Arc<dyn KeyTable> = Arc::new(FileKeys::open(
            &layout.root().join("credentials"),
            &*random,
        )?);
        let catalog = Arc::new(Catalog::open(&layout.catalog(), clock.clone())?);
        let (ring, customer_keys) = open_key_service(&settings, &layout, &clock, &random)?;
        let store = EmbeddedStore::open(&layout.buckets(), clock.clone(), random.clone())?
            .with_keys(customer_keys.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("http")
            .build()
            .map_err(|source| StartError::Io {
                path: layout.root().to_owned(),
                source,
            })?;
        let (listener, address) = runtime.block_on(bind(&settings.listen, settings.auth))?;

        let runner = Runner::start(Parts {
            catalog: catalog.clone(),
            store: Buckets::new(Arc::new(store.clone()), Arc::new(ServersRights)),
            clock: clock.clone(),
            random: random.clone(),
            layout: layout.clone(),
            keys: customer_keys.clone(),
            settings: settings.jobs(),
        })?;
        let verifier = Verifier {
            keys: keys.clone(),
            mode: settings.auth,
            clock: clock.clone(),
        };
        let identity = Identity::open(
            &layout.root().join("identity.db"),
            settings.account(),
            clock.clone(),
            random.clone(),
        )
        .map_err(|error| StartError::Identity(error.to_string()))?;
        let kms = KeyPlane {
            verifier: verifier.clone(),
            ring,
            account: settings.account(),
            random: random.clone(),
        };
        let identity = IdentityPlane {
            identity: Arc::new(identity),
            verifier: verifier.clone(),
        };
        let s3 = S3Plane::new(S3Parts {
            store,
            keys,
            mode: settings.auth,
            account: settings.account(),
            clock: clock.clone(),
            random: random.clone(),
        });
        let planes = Planes {
            control: Arc::new(control_plane(
                &settings,
                verifier,
                catalog,
                customer_keys,
                &runner,
                &clock,
                &random,
            )),
            kms: Arc::new(kms),
            forms: Arc::new(identity),
            s3: Arc::new(s3),
            random,
        };
        Endpoint {
            url: format!("http://{address}"),
            region: settings.region.clone(),
        }
        .write(layout.root())
        .map_err(|source| StartError::Io {
            path: layout.root().to_owned(),
            source,
        })?;
        let limits = ListenLimits {
            connections_max: settings.http.connections_max,
            header_timeout: Duration::from_millis(settings.http.header_timeout_ms),
            shutdown_timeout: Duration::from_millis(settings.http.shutdown_timeout_ms),
        };
        let (stop, stopped) = watch::channel(false);
        let serving = runtime.spawn(listen::serve(listener, planes, limits, stopped));
        tracing::info!(%address, data_dir = %layout.root().display(), "serving");
        Ok(Server {
            address,
            runtime,
            stop,
            serving,
            runner,
            _lock: lock,
        })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes over SIGTERM and SIGINT. To be called before anybody is told that the server is
    /// ready, so that no signal ends the process in another way.
    pub fn take_signals(&self) -> io::Result<Signals> {
        let _inside = self.runtime.enter();
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of the signals.
    pub fn wait_for(&self, mut signals: Signals) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = signals.terminate.recv() => {}
                _ = signals.interrupt.recv() => {}
            }
        });
    }

    /// Answers what is in flight, gives running jobs back and closes.
    pub fn stop(self) {
        tracing::info!("stopping");
        // Fails only when serving has ended already.
        let _ = self.stop.send(true);
        if let Err(error) = self.runtime.block_on(self.serving) {
            tracing::error!(%error, "the listener broke");
        }
        self.runner.stop();
        self.runtime.shutdown_background();
    }
}

/// The ring, where it is inside, and what encrypts.
type KeysHere = (Option<Arc<KeyRing>>, Arc<dyn KeyService>);

/// The key service of the configuration: the ring inside, or another one and no ring.
fn open_key_service(
    settings: &Settings,
    layout: &Layout,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<KeysHere, StartError> {
    let kms = &settings.kms;
    if kms.endpoint.is_empty() {
        let ring = Arc::new(open_key_ring(settings, layout, clock, random)?);
        return Ok((Some(ring.clone()), ring));
    }
    let region = if kms.region.is_empty() {
        &settings.region
    } else {
        &kms.region
    };
    let at = RemoteSettings {
        endpoint: kms.endpoint.clone(),
        region: region.clone(),
        credentials_file: kms.credentials_file.clone().into(),
    };
    let remote = RemoteKeys::new(&at, clock.clone()).map_err(StartError::KeyRing)?;
    Ok((None, Arc::new(remote)))
}

/// Opens the key ring with the first master key that is there: of the configuration, the
/// environment, the system's credentials, the data directory.
fn open_key_ring(
    settings: &Settings,
    layout: &Layout,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<KeyRing, StartError> {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(|directory| Path::new(&directory).join(MASTER_KEY_CREDENTIAL))
        .filter(|path| path.exists());
    let master = if !settings.kms.master_key_file.is_empty() {
        MasterKey::from_file(Path::new(&settings.kms.master_key_file))
    } else if let Ok(text) = std::env::var(MASTER_KEY_VARIABLE) {
        MasterKey::from_text(&text, MASTER_KEY_VARIABLE)
    } else if let Some(path) = credential {
        MasterKey::from_file(&path)
    } else {
        Ok(MasterKey::Own(layout.master_key()))
    };
    let opened = master.and_then(|master| {
        KeyRing::open(
            &layout.key_ring(),
            settings.account(),
            master,
            clock.clone(),
            random.clone(),
        )
    });
    opened.map_err(StartError::KeyRing)
}

fn control_plane(
    settings: &Settings,
    verifier: Verifier,
    catalog: Arc<Catalog>,
    customer_keys: Arc<dyn KeyService>,
    runner: &Runner,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> ControlPlane {
    let requests = &settings.requests;
    ControlPlane {
        verifier,
        limiter: RateLimiter::new(requests.per_second, requests.burst, clock.clone()),
        context: Context {
            catalog,
            customer_keys,
            clock: clock.clone(),
            random: random.clone(),
            settings: Arc::new(settings.clone()),
            account: settings.account(),
            wake: runner.waker(),
            access_key: String::new(),
            request_id: String::new(),
        },
    }
}

impl RequestPlane for S3Plane {
    fn handle(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send + '_>> {
        Box::pin(S3Plane::handle(self, request))
    }
}

async fn bind(address: &str, mode: AuthMode) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |reason: String| StartError::Listen {
        address: address.to_owned(),
        reason,
    };
    let found: Vec<SocketAddr> = tokio::net::lookup_host(address)
        .await
        .map_err(|error| failed(error.to_string()))?
        .collect();
    if mode != AuthMode::Static && found.iter().any(|address| !address.ip().is_loopback()) {
        return Err(failed(
            "without checked signatures only loopback addresses are listened on".into(),
        ));
    }
    let listener = TcpListener::bind(&found[..])
        .await
        .map_err(|error| failed(error.to_string()))?;
    let address = listener
        .local_addr()
        .map_err(|error| failed(error.to_string()))?;
    Ok((listener, address))
}

/// Makes the directory if need be, locks it and checks its format.
fn claim_directory(root: &Path) -> Result<File, StartError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Io { path, source }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(root)
        .map_err(io(root))?;
    let path = root.join("lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io(&path))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(StartError::InUse(root.to_owned()));
    }
    let path = root.join("format");
    match std::fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found <= FORMAT => {}
            _ => {
                let found = text.trim().to_owned();
                return Err(StartError::Newer {
                    path: root.to_owned(),
                    found,
                });
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_whole(root, "format", &format!("{FORMAT}\n")).map_err(io(&path))?;
        }
        Err(error) => return Err(io(&path)(error)),
    }
    Ok(lock)
}

/// Writes a small file so that it appears whole.
fn write_whole(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let staged = dir.join(format!("{name}.new"));
    let mut file = File::create(&staged)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&staged, dir.join(name))?;
    File::open(dir)?.sync_all()
}

/// Where the server of a data directory listens, or listened last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `http://host:port`.
    pub url: String,
    /// The configured region.
    pub region: String,
}

impl Endpoint {
    const FILE: &str = "endpoint.json";

    /// The endpoint noted in a data directory; the default one when none is noted.
    pub fn read(data_dir: &Path) -> Self {
        let noted = std::fs::read(data_dir.join(Self::FILE)).ok();
        noted
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_else(|| {
                let settings = Settings::default();
                Endpoint {
                    url: format!("http://{}", settings.listen),
                    region: settings.region.clone(),
                }
            })
    }

    fn write(&self, data_dir: &Path) -> io::Result<()> {
        write_whole(data_dir, Self::FILE, &serde_json::to_string(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_directory_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("format"), "2\n").unwrap();
        let refused = claim_directory(dir.path());
        assert!(
            matches!(refused, Err(StartError::Newer { .. })),
            "{refused:?}"
        );
        assert_eq!(
            std::fs::read_to_string(dir.path().join("format")).unwrap(),
            "2\n"
        );
    }

    #[test]
    fn a_directory_belongs_to_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let held = claim_directory(dir.path()).unwrap();
        assert!(matches!(
            claim_directory(dir.path()),
            Err(StartError::InUse(_))
        ));
        drop(held);
        claim_directory(dir.path()).unwrap();
    }

    #[test]
    fn unchecked_signatures_stay_on_loopback() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let refused = runtime.block_on(bind("0.0.0.0:0", AuthMode::Trust));
        assert!(matches!(refused, Err(StartError::Listen { .. })));
        runtime
            .block_on(bind("127.0.0.1:0", AuthMode::Off))
            .unwrap();
    }
}
