//! What the role of a job may do: trust, the role's policies, the bucket's policy.
//!
//! Records are read at every question, so a change counts from the next one on. A role's documents
//! are kept parsed until anything in the identity database changes.

use super::Identity;
use super::rights::{NoRights, RoleRights};
use crate::audit::{Audit, Entry, SUCCESS};
use crate::policy::{Actor, Decision, Kind, Policy, Question, decide, key, s3_arn};
use kindred_jobs::{Access, Authority, Refused, Resource};
use kindred_store::{EmbeddedStore, Error as StoreError, Location, Store as _};
use kindred_types::arn::Account;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Roles and bucket policies that are kept parsed.
const KEPT_MAX: usize = 1000;

/// Decides by the records of this server.
#[derive(Debug)]
pub(crate) struct RoleAuthority {
    identity: Arc<Identity>,
    buckets: BucketPolicies,
    roles: Mutex<HashMap<String, (u64, Arc<RoleRights>)>>,
}

impl RoleAuthority {
    pub(crate) fn new(identity: Arc<Identity>, buckets: BucketPolicies) -> Self {
        RoleAuthority {
            identity,
            buckets,
            roles: Mutex::default(),
        }
    }

    fn role(&self, arn: &str) -> Result<Arc<RoleRights>, Refused> {
        // Read before the records: a change in between only costs another read.
        let changes = self.identity.store.changes();
        let mut roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rights)) = roles.get(arn).filter(|(at, _)| *at == changes) {
            return Ok(rights.clone());
        }
        let rights = match self.identity.role_rights(arn) {
            Ok(Some(rights)) => Arc::new(rights),
            Ok(None) => return Err(Refused::Denied(format!("role {arn} does not exist"))),
            Err(NoRights::Unreadable) => {
                return Err(Refused::Unavailable("roles cannot be read".into()));
            }
            Err(NoRights::Unusable(reason)) => {
                return Err(Refused::Denied(format!("role {arn}: {reason}")));
            }
        };
        if roles.len() >= KEPT_MAX {
            roles.clear();
        }
        roles.insert(arn.to_owned(), (changes, rights.clone()));
        Ok(rights)
    }
}

impl Authority for RoleAuthority {
    fn decide(&self, access: &Access<'_>) -> Result<(), Refused> {
        let account = &self.identity.account;
        let Some(role_arn) = access.role_arn else {
            return Err(Refused::Denied("the job names no role".into()));
        };
        let role = self.role(role_arn)?;
        let mut context = role
            .context()
            .with(key::SOURCE_ARN, access.job_arn)
            .with(key::SOURCE_ACCOUNT, &account.account)
            .with(key::SECURE_TRANSPORT, "true");
        if !role.trusts_service(&context) {
            let reason = format!("role {role_arn} does not trust the service");
            return Err(Refused::Denied(reason));
        }
        if let Resource::Listing { prefix, .. } = access.resource {
            context = context.with(key::PREFIX, prefix);
        }
        let bucket = match access.resource {
            Resource::Listing { bucket, .. } => Some(bucket),
            Resource::Object(location) => Some(location.bucket.as_str()),
            Resource::Key(_) => None,
        };
        let of_bucket = match bucket {
            Some(bucket) => self.buckets.of(bucket)?,
            None => None,
        };
        let resource = arn_of(account, access.resource);
        let actor: Actor = role.service_actor();
        let question = Question {
            actor: &actor,
            action: access.action,
            resource: &resource,
            context: &context,
        };
        match decide(&role.own, of_bucket.as_deref(), &question) {
            Decision::Allowed => Ok(()),
            Decision::Denied => Err(Refused::Denied(format!(
                "a policy denies {} on {resource}",
                access.action
            ))),
            Decision::NotAllowed => Err(Refused::Denied(format!(
                "no policy allows {} on {resource}",
                access.action
            ))),
        }
    }

    fn note(&self, _access: &Access<'_>, _outcome: &Result<(), Refused>) {}
}

/// The ARN of what an access is about.
fn arn_of(account: &Account, resource: Resource<'_>) -> String {
    match resource {
        Resource::Listing { bucket, .. } => s3_arn(account, bucket, None),
        Resource::Object(location) => s3_arn(account, &location.bucket, Some(&location.key)),
        Resource::Key(arn) => arn.to_owned(),
    }
}

/// Writes every access into the audit log, however it is decided.
#[derive(Debug)]
pub(crate) struct Audited {
    pub(crate) inner: Arc<dyn Authority>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) account: Account,
}

impl Authority for Audited {
    fn decide(&self, access: &Access<'_>) -> Result<(), Refused> {
        self.inner.decide(access)
    }

    fn note(&self, access: &Access<'_>, outcome: &Result<(), Refused>) {
        let outcome = match outcome {
            Ok(()) => SUCCESS,
            Err(Refused::Denied(_)) => "AccessDenied",
            Err(Refused::Unavailable(_)) => "ServiceUnavailable",
        };
        self.audit.write(&Entry {
            caller: access.role_arn.unwrap_or("no role").to_owned(),
            action: access.action.to_owned(),
            resource: arn_of(&self.account, access.resource),
            outcome: outcome.to_owned(),
            job: Some(access.job_arn.to_owned()),
            ..Entry::default()
        });
    }
}

/// By bucket: the text that was read, and what it says.
type Kept = HashMap<String, (String, Arc<Policy>)>;

/// The policies of the embedded buckets.
#[derive(Clone, Debug)]
pub(crate) struct BucketPolicies {
    store: EmbeddedStore,
    kept: Arc<Mutex<Kept>>,
}

impl BucketPolicies {
    pub(crate) fn new(store: EmbeddedStore) -> Self {
        BucketPolicies {
            store,
            kept: Arc::default(),
        }
    }

    /// The customer key of an object; none of one that is not there, which the store will say.
    pub(crate) fn key_of(&self, location: &Location) -> Option<String> {
        self.store.encryption_key(location).ok().flatten()
    }

    /// The policy of a bucket; a bucket that is not there has none, which the store will say.
    ///
    /// # Errors
    /// A stored policy that cannot be evaluated denies everything.
    pub(crate) fn of(&self, bucket: &str) -> Result<Option<Arc<Policy>>, Refused> {
        let text = match self.store.bucket(bucket) {
            Ok(info) => info.policy,
            Err(StoreError::NoSuchBucket(_)) => None,
            Err(error) => return Err(Refused::Unavailable(error.to_string())),
        };
        let Some(text) = text else {
            return Ok(None);
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, policy)) = kept.get(bucket).filter(|(known, _)| *known == text) {
            return Ok(Some(policy.clone()));
        }
        let policy = Policy::parse(&text, Kind::Bucket(bucket)).map_err(|error| {
            Refused::Denied(format!(
                "the policy of bucket {bucket} cannot be evaluated: {error}"
            ))
        })?;
        let policy = Arc::new(policy);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(bucket.to_owned(), (text, policy.clone()));
        Ok(Some(policy))
    }
}
