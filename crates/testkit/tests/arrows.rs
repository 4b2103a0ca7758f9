//! The dependency graph of the workspace points one way.

use std::path::Path;

use cargo_metadata::{Metadata, MetadataCommand};
use kindred_testkit::arrows::{Arrow, objections};

/// The workspace's crates and every dependency between them, dev and build ones included.
fn graph(metadata: &Metadata) -> (Vec<String>, Vec<Arrow>) {
    let packages = metadata.workspace_packages();
    let crates: Vec<String> = packages.iter().map(|p| p.name.to_string()).collect();
    let mut arrows = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            if crates.contains(&dependency.name) {
                arrows.push(Arrow {
                    from: package.name.to_string(),
                    to: dependency.name.clone(),
                });
            }
        }
    }
    (crates, arrows)
}

fn metadata_of(manifest: &Path) -> Metadata {
    MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .exec()
        .unwrap()
}

#[test]
fn every_arrow_points_the_agreed_way() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let (crates, arrows) = graph(&metadata_of(&manifest));
    assert!(arrows.len() >= 10, "the graph was not read: {arrows:?}");
    let found = objections(&crates, &arrows);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Writes a workspace whose crates have the given dependencies, to plant arrows in.
fn planted(dir: &Path, crates: &[(&str, &str)]) -> Metadata {
    std::fs::write(
        dir.join("Cargo.toml"),
        "[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\n",
    )
    .unwrap();
    for (name, dependencies) in crates {
        let root = dir.join(name);
        std::fs::create_dir_all(root.join("src")).unwrap();
        std::fs::write(root.join("src/lib.rs"), "").unwrap();
        std::fs::write(
            root.join("Cargo.toml"),
            format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{dependencies}\n"
            ),
        )
        .unwrap();
    }
    metadata_of(&dir.join("Cargo.toml"))
}

#[test]
fn a_planted_arrow_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let on = |kind: &str, name: &str| format!("[{kind}]\n{name} = {{ path = \"../{name}\" }}");
    let metadata = planted(
        dir.path(),
        &[
            ("kindred-types", &on("build-dependencies", "kindred-store")),
            ("kindred-store", ""),
            ("kindred-catalog", &on("dependencies", "kindred-types")),
            ("kindred-engine", &on("dependencies", "kindred-catalog")),
            ("kindred-testkit", ""),
            ("kindred-cli", &on("dev-dependencies", "kindred-testkit")),
            ("kindred-extras", ""),
        ],
    );
    let (crates, arrows) = graph(&metadata);
    let mut found = objections(&crates, &arrows);
    found.sort();
    assert_eq!(
        found,
        [
            "kindred-cli must not depend on kindred-testkit",
            "kindred-engine must not depend on kindred-catalog",
            "kindred-extras has no place among the arrows: add it to ALLOWED",
            "kindred-types must not depend on kindred-store",
        ]
    );
}
