//! Which crate of the workspace may depend on which.
//!
//! A pure function over (from, to) pairs, so that a test can plant a wrong arrow and see it
//! refused. Reading the real pairs is `tests/arrows.rs`.

/// Every crate with the crates it may depend on, in the order of `docs/ARCHITECTURE.md`.
pub const ALLOWED: &[(&str, &[&str])] = &[
    ("kindred-types", &[]),
    ("kindred-store", &["kindred-types"]),
    ("kindred-catalog", &["kindred-types"]),
    ("kindred-engine", &["kindred-types", "kindred-store"]),
    (
        "kindred-jobs",
        &[
            "kindred-types",
            "kindred-store",
            "kindred-catalog",
            "kindred-engine",
        ],
    ),
    (
        "kindred-cluster",
        &[
            "kindred-types",
            "kindred-store",
            "kindred-catalog",
            "kindred-engine",
            "kindred-jobs",
        ],
    ),
    (
        "kindred-server",
        &[
            "kindred-types",
            "kindred-store",
            "kindred-catalog",
            "kindred-engine",
            "kindred-jobs",
            "kindred-cluster",
        ],
    ),
    (
        "kindred-cli",
        &[
            "kindred-types",
            "kindred-store",
            "kindred-catalog",
            "kindred-engine",
            "kindred-jobs",
            "kindred-cluster",
            "kindred-server",
        ],
    ),
    (
        "kindred-testkit",
        &[
            "kindred-types",
            "kindred-store",
            "kindred-catalog",
            "kindred-engine",
            "kindred-jobs",
            "kindred-cluster",
            "kindred-server",
        ],
    ),
];

/// One dependency between two crates of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrow {
    /// The crate that depends.
    pub from: String,
    /// The crate it depends on.
    pub to: String,
}

/// A sentence for every crate without a place in the table and every arrow the table lacks.
pub fn objections(crates: &[String], arrows: &[Arrow]) -> Vec<String> {
    let allowed = |name: &str| ALLOWED.iter().find(|(from, _)| *from == name);
    let mut found: Vec<String> = crates
        .iter()
        .filter(|name| allowed(name).is_none())
        .map(|name| format!("{name} has no place among the arrows: add it to ALLOWED"))
        .collect();
    for Arrow { from, to } in arrows {
        let fits = allowed(from).is_some_and(|(_, targets)| targets.contains(&to.as_str()));
        if !fits {
            found.push(format!("{from} must not depend on {to}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_itself_has_no_cycle() {
        for (position, (from, targets)) in ALLOWED.iter().enumerate() {
            for target in *targets {
                let at = ALLOWED.iter().position(|(name, _)| name == target);
                assert!(
                    at.is_some_and(|at| at < position),
                    "{from} -> {target} points forward"
                );
            }
        }
    }
}
