//! Which servers start: what is not safe does not.

use kindred_server::{Server, Settings};
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A data directory in the making, and the settings to start with.
struct Start {
    dir: PathBuf,
    settings: Settings,
    /// Keeps what a case needs while it runs.
    held: Option<Box<dyn std::any::Any>>,
}

impl Start {
    /// Starts once and stops again, so that the directory is a used one.
    fn used(&mut self) {
        Server::start(self.settings.clone()).unwrap().stop();
    }

    fn empty(&mut self, mode: u32) {
        std::fs::create_dir(&self.dir).unwrap();
        chmod(&self.dir, mode);
    }

    fn auth(&mut self, mode: &str, listen: &str) {
        let key = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let dir = self.dir.to_str().unwrap();
        let flags = [
            key("data_dir", dir),
            key("auth", mode),
            key("listen", listen),
        ];
        let none = self.dir.with_extension("toml");
        std::fs::write(&none, "").unwrap();
        self.settings = Settings::load(Some(&none), &flags).unwrap();
    }
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Names, modes and lengths of all that lies in a directory.
fn listing(dir: &Path) -> BTreeSet<(String, u32, u64)> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return BTreeSet::new();
    };
    let entries = entries.map(|entry| {
        let entry = entry.unwrap();
        let found = entry.metadata().unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, found.permissions().mode(), found.len())
    });
    entries.collect()
}

/// What a case arranges, and how a refusal begins; none where the server has to start.
type Case = (&'static str, fn(&mut Start), Option<&'static str>);

const CASES: &[Case] = &[
    ("a fresh directory", |_| (), None),
    (
        "a directory that has to be made with its parents",
        |start| {
            start.settings.data_dir = start.dir.join("a/b");
            start.dir = start.settings.data_dir.clone();
        },
        None,
    ),
    (
        "an empty directory of everybody",
        |start| start.empty(0o777),
        None,
    ),
    (
        "a used directory that others can read",
        |start| {
            start.used();
            chmod(&start.dir, 0o755);
            chmod(&start.dir.join("kindred.db"), 0o644);
        },
        None,
    ),
    (
        "a used directory that everybody can write",
        |start| {
            start.used();
            chmod(&start.dir, 0o777);
        },
        Some("can be written by others"),
    ),
    (
        "a used directory that the group can write",
        |start| {
            start.used();
            chmod(&start.dir, 0o770);
        },
        Some("can be written by others"),
    ),
    (
        "a directory where somebody left credentials",
        |start| {
            start.empty(0o777);
            std::fs::write(start.dir.join("credentials"), "[default]\n").unwrap();
        },
        Some("can be written by others"),
    ),
    (
        "credentials that everybody can read",
        |start| {
            start.used();
            chmod(&start.dir.join("credentials"), 0o644);
        },
        Some("credentials can be read by others"),
    ),
    (
        "credentials that the group can read",
        |start| {
            start.used();
            chmod(&start.dir.join("credentials"), 0o640);
        },
        Some("credentials can be read by others"),
    ),
    (
        "half a key",
        |start| {
            start.used();
            let half = "[default]\naws_access_key_id = AK\n";
            std::fs::write(start.dir.join("credentials"), half).unwrap();
        },
        Some("has no aws_secret_access_key"),
    ),
    (
        "any signature, to everybody",
        |start| start.auth("trust", "0.0.0.0:0"),
        Some("only loopback addresses"),
    ),
    (
        "no signature, to everybody",
        |start| start.auth("off", "0.0.0.0:0"),
        Some("only loopback addresses"),
    ),
    (
        "any signature, on loopback",
        |start| start.auth("trust", "127.0.0.1:0"),
        None,
    ),
    (
        "no signature, on loopback",
        |start| start.auth("off", "127.0.0.1:0"),
        None,
    ),
    (
        "checked signatures, to everybody",
        |start| start.auth("static", "0.0.0.0:0"),
        None,
    ),
    (
        "a newer directory",
        |start| {
            start.used();
            std::fs::write(start.dir.join("format"), "999\n").unwrap();
        },
        Some("has format 999"),
    ),
    (
        "a directory in use",
        |start| {
            start.held = Some(Box::new(Server::start(start.settings.clone()).unwrap()));
        },
        Some("is in use by another process"),
    ),
    (
        "a file where the directory should be",
        |start| std::fs::write(&start.dir, "x").unwrap(),
        Some("File exists"),
    ),
    (
        "a port that is taken",
        |start| {
            let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            start.settings.listen = taken.local_addr().unwrap().to_string();
            start.held = Some(Box::new(taken));
        },
        Some("cannot listen on 127.0.0.1:"),
    ),
];

#[test]
fn what_is_not_safe_does_not_start() {
    for (name, arrange, refusal) in CASES {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("data");
        let mut settings = Settings::default();
        settings.data_dir = dir.clone();
        settings.listen = "127.0.0.1:0".to_owned();
        let mut start = Start {
            dir,
            settings,
            held: None,
        };
        arrange(&mut start);
        let before = listing(&start.dir);
        match (Server::start(start.settings.clone()), refusal) {
            (Ok(server), None) => {
                server.stop();
                assert_eq!(mode(&start.dir), 0o700, "{name}");
                for (file, mode, _) in listing(&start.dir) {
                    assert_eq!(mode & 0o077, 0, "{name}: {file}");
                }
            }
            (Ok(_), Some(_)) => panic!("{name} started"),
            (Err(error), None) => panic!("{name}: {error}"),
            (Err(error), Some(expected)) => {
                assert!(error.to_string().contains(expected), "{name}: {error}");
                // A refusal changes nothing; what runs in the directory may.
                if !before.is_empty() && start.held.is_none() {
                    assert_eq!(listing(&start.dir), before, "{name}");
                }
            }
        }
    }
}

#[test]
fn a_configuration_that_everybody_can_write_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("kindred.toml");
    std::fs::write(&path, "workers = 3\n").unwrap();
    chmod(&path, 0o664);
    assert_eq!(Settings::load(Some(&path), &[]).unwrap().workers, 3);
    chmod(&path, 0o646);
    let error = Settings::load(Some(&path), &[]).unwrap_err().to_string();
    assert!(
        error.contains("kindred.toml: everybody can write it"),
        "{error}"
    );
}
