//! The whole server, put together: the only place that knows all parts.
//!
//! One data directory belongs to one process, held by a lock on a file in it. Starting checks what
//! may be wrong before anything is changed; stopping answers what is in flight, gives running jobs
//! back to the queue and leaves nothing to repair.

use crate::audit::Audit;
use crate::config::{RolesMode, Settings};
use crate::http::bodies::BodyRoom;
use crate::http::listen::{self, ListenLimits};
use crate::http::{
    ControlPlane, LARGE_BODIES_MAX, OperatorPlane, Planes, RateLimiter, RequestPlane,
};
use crate::identity::{
    Audited, BucketPolicies, Identity, IdentityPlane, KnownCallers, RoleAuthority,
};
use crate::keys::{AuthMode, FileKeys, KeyTable, KeysError};
use crate::kms::{KeyPlane, RemoteKeys, RemoteSettings};
use crate::ops::Context;
use crate::parts::{SystemClock, SystemRandom};
use crate::s3::{S3Parts, S3Plane};
use crate::safety;
use crate::sigv4::Verifier;
use crate::telemetry;
use axum::body::Body;
use http::{Request, Response};
use kindred_catalog::Catalog;
use kindred_jobs::{Authority, Buckets, Failure, Layout, Parts, Runner, ServersRights};
use kindred_store::keys::master::MasterKey;
use kindred_store::{EmbeddedStore, KeyRing, KeyService};
use kindred_types::parts::{Clock, Random};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, getrlimit, setrlimit};
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
/// Open files that are not connections: databases, blobs, models, scratch files of jobs.
const FILES_BESIDE_CONNECTIONS: u64 = 1024;

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
    /// Others than the server's user could change what is in the data directory.
    #[error("the data directory {path} {reason}")]
    Unsafe {
        /// The data directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
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
        safety::make_files_private();
        let lock = claim_directory(layout.root())?;
        let operator = FileKeys::open(&layout.root().join("credentials"), &*random)?;
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
        let (listener, address) = runtime.block_on(bind(&settings))?;

        let identity = Identity::open(
            &layout.root().join("identity.db"),
            settings.account(),
            clock.clone(),
            random.clone(),
        )
        .map_err(|error| StartError::Identity(error.to_string()))?;
        let identity = Arc::new(identity);
        let callers = Arc::new(KnownCallers {
            operator,
            identity: identity.clone(),
            mode: settings.auth,
        });
        let keys: Arc<dyn KeyTable> = callers.clone();
        let path = layout.root().join("audit");
        let audit = Audit::open(&path, clock.clone(), settings.audit.reads)
            .map_err(|source| StartError::Io { path, source })?;
        let audit = Arc::new(audit);
        let authority = Arc::new(Audited {
            inner: authority(&settings, address, &identity, &store),
            audit: audit.clone(),
            account: settings.account(),
        });
        let runner = Runner::start(Parts {
            catalog: catalog.clone(),
            store: Buckets::new(Arc::new(store.clone()), authority),
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
        let requests = &settings.requests;
        let limiter = || RateLimiter::new(requests.per_second, requests.burst, clock.clone());
        let kms = KeyPlane {
            verifier: verifier.clone(),
            callers: callers.clone(),
            audit: audit.clone(),
            limiter: Arc::new(limiter()),
            ring,
            account: settings.account(),
            random: random.clone(),
        };
        let identity = IdentityPlane {
            identity,
            verifier: verifier.clone(),
            callers: callers.clone(),
            audit: audit.clone(),
            limiter: limiter(),
        };
        let s3 = S3Plane::new(S3Parts {
            store,
            keys,
            callers: callers.clone(),
            audit: audit.clone(),
            mode: settings.auth,
            account: settings.account(),
            clock: clock.clone(),
            random: random.clone(),
            limiter: Arc::new(RateLimiter::new(
                requests.s3_per_second,
                requests.s3_burst,
                clock.clone(),
            )),
        });
        let handle = telemetry::start();
        if let Some(handle) = &handle {
            runtime.spawn(telemetry::keep_up(handle.clone()));
        }
        let operator = OperatorPlane {
            verifier: verifier.clone(),
            callers: callers.clone(),
            on_loopback: address.ip().is_loopback(),
            catalog: catalog.clone(),
            handle,
        };
        let control = ControlPlane {
            verifier,
            callers,
            audit,
            limiter: limiter(),
            context: context(&settings, catalog, customer_keys, &runner, &clock, &random),
        };
        let planes = Planes {
            operator: Arc::new(operator),
            control: Arc::new(control),
            kms: Arc::new(kms),
            forms: Arc::new(identity),
            s3: Arc::new(s3),
            random,
            room: BodyRoom::new(LARGE_BODIES_MAX),
            body_timeout: Duration::from_millis(settings.http.body_timeout_ms),
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
        let limits = ListenLimits::of(&settings.http);
        allow_open_files(limits.connections_max);
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

/// What operations work with; caller and request id come with each request.
fn context(
    settings: &Settings,
    catalog: Arc<Catalog>,
    customer_keys: Arc<dyn KeyService>,
    runner: &Runner,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Context {
    Context {
        catalog,
        customer_keys,
        clock: clock.clone(),
        random: random.clone(),
        settings: Arc::new(settings.clone()),
        account: settings.account(),
        wake: runner.waker(),
        access_key: String::new(),
        request_id: String::new(),
    }
}

/// Raises this process's limit of open files, so that silent connections cannot use it up. A limit
/// that cannot be raised far enough is said, and the server goes on with fewer connections.
pub(crate) fn allow_open_files(connections_max: usize) {
    let wanted = u64::try_from(connections_max)
        .unwrap_or(u64::MAX)
        .saturating_add(FILES_BESIDE_CONNECTIONS);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
    let raised = setrlimit(Resource::Nofile, limit);
    if raised.is_err() || limit.current.is_some_and(|current| current < wanted) {
        tracing::warn!(
            wanted,
            allowed = limit.current,
            "the limit of open files is lower than http.connections_max needs"
        );
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

/// As whom jobs act. Beyond loopback nobody is taken at their word.
fn authority(
    settings: &Settings,
    address: SocketAddr,
    identity: &Arc<Identity>,
    store: &EmbeddedStore,
) -> Arc<dyn Authority> {
    let open = match settings.roles.mode {
        RolesMode::Open => true,
        RolesMode::Enforced => false,
        RolesMode::Unset => address.ip().is_loopback(),
    };
    tracing::info!(roles = if open { "open" } else { "enforced" }, "jobs act");
    if open {
        return Arc::new(ServersRights);
    }
    let buckets = BucketPolicies::new(store.clone());
    Arc::new(RoleAuthority::new(identity.clone(), buckets))
}

async fn bind(settings: &Settings) -> Result<(TcpListener, SocketAddr), StartError> {
    let address = settings.listen.as_str();
    let failed = |reason: String| StartError::Listen {
        address: address.to_owned(),
        reason,
    };
    let found: Vec<SocketAddr> = tokio::net::lookup_host(address)
        .await
        .map_err(|error| failed(error.to_string()))?
        .collect();
    let beyond_loopback = found.iter().any(|address| !address.ip().is_loopback());
    if beyond_loopback && settings.auth != AuthMode::Static {
        return Err(failed(
            "without checked signatures only loopback addresses are listened on".into(),
        ));
    }
    if beyond_loopback && settings.roles.mode == RolesMode::Open {
        return Err(failed(
            "with roles.mode = open only loopback addresses are listened on".into(),
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
    safety::need_private_directory(root)?;
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

    fn listening(listen: &str, auth: AuthMode, roles: RolesMode) -> Result<(), StartError> {
        let mut settings = Settings::default();
        settings.listen = listen.to_owned();
        settings.auth = auth;
        settings.roles.mode = roles;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(bind(&settings)).map(|_| ())
    }

    #[test]
    fn what_is_not_checked_stays_on_loopback() {
        use AuthMode::{Off, Static, Trust};
        use RolesMode::{Enforced, Open};
        for (listen, auth, roles, starts) in [
            ("127.0.0.1:0", Off, Open, true),
            ("127.0.0.1:0", Static, Enforced, true),
            ("0.0.0.0:0", Trust, Enforced, false),
            ("0.0.0.0:0", Off, Enforced, false),
            ("0.0.0.0:0", Static, Open, false),
        ] {
            let outcome = listening(listen, auth, roles);
            assert_eq!(outcome.is_ok(), starts, "{listen} {auth:?} {roles:?}");
            if !starts {
                assert!(matches!(outcome, Err(StartError::Listen { .. })));
            }
        }
    }
}
