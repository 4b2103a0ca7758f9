//! How the files of a dataset group are kept: as they are, or sealed with the group's key.
//!
//! Every kind of file that a job leaves on disk comes through here: dataset generations, models, and
//! the checkpoints and spilled rankings of a running job. A directory's identity is made of the group
//! and of what the directory is, not of where it lies, since it is moved when it is published.

use crate::failure::Failure;
use crate::runner::{Job, Parts};
use kindred_catalog::records::DatasetGroup;
use kindred_store::Vault;

/// What the group's role must be allowed to do with the group's key.
const ACTIONS: [&str; 3] = ["kms:DescribeKey", "kms:GenerateDataKey", "kms:Decrypt"];

/// The vaults of one dataset group.
#[derive(Clone, Debug)]
pub(crate) struct Vaults<'p> {
    parts: &'p Parts,
    group_arn: String,
    key: Option<String>,
}

impl<'p> Vaults<'p> {
    /// The vaults of the group, for a job; fails at once when its key cannot be used, or the group's
    /// role may not use it.
    pub(crate) fn of(job: &'p Job<'_>, group_arn: &str) -> Result<Self, Failure> {
        let parts = job.parts();
        let group: DatasetGroup = parts.catalog.read(|tx| tx.need(group_arn))?;
        if let Some(key) = &group.kms_key_arn {
            let role = parts.store.acting_as(group.role_arn.as_deref(), job.arn());
            for action in ACTIONS {
                role.may_use_key(action, key)?;
            }
            parts.keys.describe(key)?;
        }
        Ok(Vaults {
            parts,
            group_arn: group.arn,
            key: group.kms_key_arn,
        })
    }

    /// The files of a dataset generation.
    pub(crate) fn generation(&self, id: &str) -> Vault {
        self.vault("generation", id)
    }

    /// The files of a model.
    pub(crate) fn model(&self, id: &str) -> Vault {
        self.vault("model", id)
    }

    /// What a job keeps between its tries.
    pub(crate) fn scratch(&self, job_arn: &str) -> Vault {
        self.vault("job", job_arn)
    }

    fn vault(&self, kind: &str, name: &str) -> Vault {
        let Some(key) = &self.key else {
            return Vault::plain();
        };
        let identity = format!("{} {kind} {name}", self.group_arn);
        let (keys, random) = (self.parts.keys.clone(), self.parts.random.clone());
        Vault::sealed(keys, random, key, &identity)
    }
}
