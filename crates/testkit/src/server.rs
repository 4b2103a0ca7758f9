//! Starts the real program as a child process and ends it.
//!
//! Each server has a data directory of its own, listens on a free loopback port and is killed
//! when the value is dropped, whatever the test did. The program is `$KINDRED_BIN`, or the one
//! next to the test executable, which cargo brings up to date once per process.
//! Nothing here knows what the server answers.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// A server that has not said where it listens after this long is taken for broken.
const START_SECONDS_MAX: u64 = 60;
/// A server that was asked to stop must be gone after this long.
const STOP_SECONDS_MAX: u64 = 60;
const STOP_POLL_MS: u64 = 20;
/// How much of the log a failure shows.
const LOG_TAIL_BYTES: usize = 4_000;
const LISTENING: &str = "listening on http://";

/// What can go wrong around a server under test.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or a process could not be used.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it did not work.
        source: io::Error,
    },
    /// Cargo could not build the program.
    #[error("cargo could not build the program: {0}")]
    Build(String),
    /// The program did not start listening.
    #[error("the server did not start: {reason}; its log ends:\n{log}")]
    Start {
        /// What was seen instead of the line it should print.
        reason: String,
        /// The end of standard error.
        log: String,
    },
    /// The program did not end when asked.
    #[error("the server ignored the request to stop for {STOP_SECONDS_MAX} s")]
    Stop,
    /// The credentials file is not what it should be.
    #[error("no {key} in {path}")]
    Credentials {
        /// The missing key.
        key: &'static str,
        /// The file that should hold it.
        path: PathBuf,
    },
}

/// The key pair the server made at its first start.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// `aws_access_key_id`.
    pub access_key_id: String,
    /// `aws_secret_access_key`.
    pub secret_access_key: String,
}

/// How to start a server.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// The data directory; a fresh temporary one if absent.
    pub data_dir: Option<PathBuf>,
    /// Arguments after `serve --data-dir DIR --listen 127.0.0.1:0`.
    pub args: Vec<String>,
    /// Environment variables in addition to the inherited ones.
    pub env: Vec<(String, String)>,
}

impl Options {
    /// The same options with one more environment variable.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running server, or one that was stopped and can be started again on its data.
#[derive(Debug)]
pub struct TestServer {
    options: Options,
    data_dir: PathBuf,
    log: PathBuf,
    endpoint: String,
    child: Option<Child>,
    /// Keeps the temporary folder of data and log until the end.
    _home: TempDir,
}

impl TestServer {
    /// Starts a server and waits until it listens.
    pub fn start(options: Options) -> Result<Self, Error> {
        let home = TempDir::new().map_err(|source| Error::Io {
            what: "cannot make a temporary folder".to_owned(),
            source,
        })?;
        let data_dir = options
            .data_dir
            .clone()
            .unwrap_or_else(|| home.path().join("data"));
        let mut server = Self {
            options,
            data_dir,
            log: home.path().join("server.log"),
            endpoint: String::new(),
            child: None,
            _home: home,
        };
        server.launch()?;
        Ok(server)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The folder that holds everything the server keeps.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What the server wrote to standard error since the first start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The key pair of the data directory's credentials file.
    pub fn key_pair(&self) -> Result<KeyPair, Error> {
        let path = self.data_dir.join("credentials");
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
            what: format!("cannot read {}", path.display()),
            source,
        })?;
        let value = |key: &'static str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim().to_owned())
                .ok_or(Error::Credentials {
                    key,
                    path: path.clone(),
                })
        };
        Ok(KeyPair {
            access_key_id: value("aws_access_key_id")?,
            secret_access_key: value("aws_secret_access_key")?,
        })
    }

    /// Asks the server to stop (SIGTERM) and waits until it has.
    pub fn stop(&mut self) -> Result<Option<ExitStatus>, Error> {
        let Some(child) = self.child.as_mut() else {
            return Ok(None);
        };
        let pid = rustix::process::Pid::from_child(child);
        // An error means that the process has ended already, which the loop below sees.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        for _ in 0..STOP_SECONDS_MAX * 1_000 / STOP_POLL_MS {
            let ended = child.try_wait().map_err(|source| Error::Io {
                what: "cannot wait for the server".to_owned(),
                source,
            })?;
            if let Some(status) = ended {
                self.child = None;
                return Ok(Some(status));
            }
            thread::sleep(Duration::from_millis(STOP_POLL_MS));
        }
        Err(Error::Stop)
    }

    /// Kills the server as a power cut would (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when the process has ended, which is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts a stopped or killed server again on the same data; the port may change.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill();
        self.launch()
    }

    fn launch(&mut self) -> Result<(), Error> {
        let io = |what: &str| {
            let what = what.to_owned();
            move |source| Error::Io { what, source }
        };
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(io("cannot open the server's log"))?;
        let mut child = Command::new(program()?)
            .arg("serve")
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(["--listen", "127.0.0.1:0"])
            .args(&self.options.args)
            .envs(self.options.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(io("cannot start the program"))?;
        let stdout = child.stdout.take().expect("standard output was piped");
        self.child = Some(child);
        match first_line(stdout) {
            Ok(line) if line.starts_with(LISTENING) => {
                self.endpoint = line["listening on ".len()..].to_owned();
                Ok(())
            }
            Ok(line) => Err(self.broken(format!("it printed {line:?}"))),
            Err(reason) => Err(self.broken(reason)),
        }
    }

    fn broken(&mut self, reason: String) -> Error {
        self.kill();
        let log = self.log();
        let from = log.floor_char_boundary(log.len().saturating_sub(LOG_TAIL_BYTES));
        Error::Start {
            reason,
            log: log[from..].to_owned(),
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The first line of a child's output; a thread goes on reading so that the child never blocks.
fn first_line(output: impl io::Read + Send + 'static) -> Result<String, String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            // The receiver is gone after the first line, and an unreadable line ends the output.
            let Ok(line) = line else { return };
            let _ = sender.send(line);
        }
    });
    receiver
        .recv_timeout(Duration::from_secs(START_SECONDS_MAX))
        .map_err(|problem| match problem {
            mpsc::RecvTimeoutError::Timeout => {
                format!("it said nothing for {START_SECONDS_MAX} s")
            }
            mpsc::RecvTimeoutError::Disconnected => "it ended without a line".to_owned(),
        })
}

/// The program under test: `$KINDRED_BIN`, or the one cargo builds beside the tests.
pub fn program() -> Result<PathBuf, Error> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(given) = std::env::var_os("KINDRED_BIN") {
        return Ok(given.into());
    }
    BUILT.get_or_init(build).clone().map_err(Error::Build)
}

/// Brings the program up to date in the profile of the running test.
///
/// The whole workspace is selected, because with a single package cargo would choose other
/// features for shared dependencies and build those a second time.
fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--workspace",
            "--bins",
            "--quiet",
            "--manifest-path",
        ])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"));
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        command.arg("--release");
        "release"
    };
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    // A test executable lies in <target>/<profile>/deps.
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = own
        .ancestors()
        .find(|folder| folder.ends_with(profile))
        .ok_or_else(|| format!("{} is not below a {profile} folder", own.display()))?;
    Ok(target.join("kindred"))
}
