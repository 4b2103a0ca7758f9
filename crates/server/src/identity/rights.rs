//! What roles and users may do, as far as their records say it.
//!
//! Documents were understood when they were stored. One that no longer is (an older version of this
//! program stored it) makes the rights unusable as a whole: half of them might lack the half that
//! denies.

use super::store::{Grants, Records, Role};
use super::{Identity, Refusal};
use crate::policy::{Actor, Context, Decision, Kind, Policy, Question, decide, key};

/// The service that acts as roles.
const SERVICE: &str = "personalize.amazonaws.com";

/// A role's documents, read.
#[derive(Debug)]
pub(crate) struct RoleRights {
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) max_session_seconds: u32,
    pub(super) account: String,
    pub(super) trust: Policy,
    pub(super) own: Vec<Policy>,
}

/// Why rights cannot be used.
#[derive(Debug)]
pub(super) enum NoRights {
    /// The records cannot be read now.
    Unreadable,
    /// A document cannot be evaluated.
    Unusable(String),
}

impl From<Refusal> for NoRights {
    /// Reading refuses nothing but for the database, which has said why in the log.
    fn from(_: Refusal) -> Self {
        NoRights::Unreadable
    }
}

impl RoleRights {
    /// Whether the role lets the service act as it, for a job.
    pub(super) fn trusts_service(&self, context: &Context) -> bool {
        let actor = Actor {
            service: Some(SERVICE),
            ..Actor::default()
        };
        let question = Question {
            actor: &actor,
            action: "sts:AssumeRole",
            resource: &self.arn,
            context,
        };
        decide([], Some(&self.trust), &question) == Decision::Allowed
    }

    /// The service in this role.
    pub(super) fn service_actor(&self) -> Actor {
        Actor {
            account: self.account.clone(),
            arns: vec![self.arn.clone()],
            service: Some(SERVICE),
        }
    }

    /// What is known about everything that the role does.
    pub(super) fn context(&self) -> Context {
        Context::default()
            .with(key::PRINCIPAL_ARN, &self.arn)
            .with(key::PRINCIPAL_ACCOUNT, &self.account)
    }
}

impl Identity {
    /// The rights of the role with exactly this ARN, if there is one.
    pub(super) fn role_rights(&self, arn: &str) -> Result<Option<RoleRights>, NoRights> {
        self.store
            .read(|records| {
                let name = arn.rsplit('/').next().unwrap_or_default();
                let found = records.role(name)?.filter(|role| role.arn == arn);
                Ok(found.map(|role| self.read_role(records, role)))
            })?
            .transpose()
    }

    fn read_role(&self, records: &Records<'_>, role: Role) -> Result<RoleRights, NoRights> {
        let trust = read(&role.trust, Kind::Trust, "the trust policy")?;
        Ok(RoleRights {
            trust,
            own: self.read_policies(records, &role.grants)?,
            account: self.account.account.clone(),
            arn: role.arn,
            name: role.name,
            id: role.id,
            max_session_seconds: role.max_session_seconds,
        })
    }

    /// Inline and attached policies.
    pub(super) fn read_policies(
        &self,
        records: &Records<'_>,
        grants: &Grants,
    ) -> Result<Vec<Policy>, NoRights> {
        let mut policies = Vec::new();
        for (name, text) in &grants.inline {
            policies.push(read(text, Kind::Permissions, name)?);
        }
        for arn in &grants.attached {
            let policy = self
                .find_policy(records, arn)?
                .ok_or_else(|| NoRights::Unusable(format!("{arn} does not exist")))?;
            policies.push(read(&policy.document, Kind::Permissions, arn)?);
        }
        Ok(policies)
    }
}

fn read(text: &str, kind: Kind<'_>, name: &str) -> Result<Policy, NoRights> {
    Policy::parse(text, kind)
        .map_err(|error| NoRights::Unusable(format!("{name} cannot be evaluated: {error}")))
}
