//! What the role of a job may do.
//!
//! The decision is handed in: the server knows roles, policies and bucket policies, jobs only ask.
//! Every question names the role, the action and the resource; the answer is yes, no, or that
//! nobody could say. What was asked is told once per job, action and resource, for the audit log.
//! Where jobs ask is `role_store`; keys are asked about by whoever uses a key.

use kindred_store::Location;
use std::fmt::Debug;

/// One thing that a job wants to do as its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// The role in the job's request; `None` where the request named none.
    pub role_arn: Option<&'a str>,
    /// For example `s3:GetObject` or `kms:Decrypt`.
    pub action: &'static str,
    /// On what.
    pub resource: Resource<'a>,
    /// The job that asks: `aws:SourceArn` of a policy's conditions.
    pub job_arn: &'a str,
}

/// What an access is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A listing of a bucket below a prefix.
    Listing {
        /// The bucket.
        bucket: &'a str,
        /// `s3:prefix` of a policy's conditions.
        prefix: &'a str,
    },
    /// An object.
    Object(&'a Location),
    /// A key, by its ARN.
    Key(&'a str),
}

/// Why an access does not take place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The rights do not reach. The reason is for the log, not for the job's owner.
    #[error("{0}")]
    Denied(String),
    /// The rights could not be looked up; asking again later may help.
    #[error("{0}")]
    Unavailable(String),
}

/// Decides what roles may do.
pub trait Authority: Send + Sync + Debug {
    /// Whether the role may do it, by the policies as they are now.
    ///
    /// # Errors
    /// [`Refused`] when it may not, or when that cannot be found out.
    fn decide(&self, access: &Access<'_>) -> Result<(), Refused>;

    /// Told of an access and how it was decided, once per job, action and resource.
    fn note(&self, access: &Access<'_>, outcome: &Result<(), Refused>);
}

/// Every role may do everything: jobs act with the server's own rights.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServersRights;

impl Authority for ServersRights {
    fn decide(&self, _access: &Access<'_>) -> Result<(), Refused> {
        Ok(())
    }

    fn note(&self, _access: &Access<'_>, _outcome: &Result<(), Refused>) {}
}
