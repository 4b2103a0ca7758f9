//! Where things lie in a data directory.

use std::path::{Path, PathBuf};

/// The data directory's layout. Names are made here and nowhere else.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout under `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Layout { root: root.into() }
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The catalog's database file.
    pub fn catalog(&self) -> PathBuf {
        self.root.join("kindred.db")
    }

    /// The directory of the embedded object store.
    pub fn buckets(&self) -> PathBuf {
        self.root.join("buckets")
    }

    /// The sealed file of the key ring.
    pub fn key_ring(&self) -> PathBuf {
        self.root.join("keys.ring")
    }

    /// The master key of the key ring, where none is given.
    pub fn master_key(&self) -> PathBuf {
        self.root.join("master.key")
    }

    /// Generations of datasets, one directory each.
    pub fn datasets(&self) -> PathBuf {
        self.root.join("datasets")
    }

    /// Trained models, one directory each.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Scratch space of unfinished jobs, one directory each.
    pub fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// The directory of one dataset generation.
    pub fn generation(&self, id: &str) -> PathBuf {
        self.datasets().join(id)
    }

    /// The directory of one model.
    pub fn model(&self, id: &str) -> PathBuf {
        self.models().join(id)
    }

    /// The scratch directory of a job. Resource names hold no dot, so two jobs never share one.
    pub fn scratch(&self, arn: &str) -> PathBuf {
        let resource = arn.splitn(6, ':').last().unwrap_or(arn);
        self.jobs().join(resource.replace(['/', ':'], "."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_directories_are_single_names() {
        let layout = Layout::new("/data");
        let job = "arn:aws:personalize:us-east-1:000000000000:solution/films/0a1b2c3d";
        assert_eq!(
            layout.scratch(job),
            Path::new("/data/jobs/solution.films.0a1b2c3d")
        );
    }
}
