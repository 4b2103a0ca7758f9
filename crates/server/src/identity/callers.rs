//! Who calls, and what they may do.
//!
//! Three kinds of access keys: those of the credentials file are the operator's own and no policy
//! binds them; users' keys have the rights of their user; session keys those of the role that was
//! assumed. Keys, users and roles are read at every request, so what is changed counts from the
//! next one on. Where signatures are not checked, everybody is the operator.

use super::rights::NoRights;
use super::{Identity, sessions};
use crate::error::{Exception, ExceptionKind};
use crate::keys::{AuthMode, FileKeys, KeyTable, SessionFacts};
use crate::policy::{Actor, Context, Decision, Policy, Question, decide, key};
use std::fmt::Debug;
use std::sync::Arc;

/// Somebody whose signature was checked.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The access key that signed; a made-up name where nothing is signed.
    pub(crate) access_key: String,
    /// How the caller is called in answers and in the audit log.
    pub(crate) arn: String,
    /// Id of the user or session, as GetCallerIdentity shows it.
    pub(crate) id: String,
    pub(crate) actor: Actor,
    user_name: Option<String>,
    /// ARN that conditions know the caller by: that of the role, for a session.
    principal_arn: String,
    rights: Rights,
}

#[derive(Clone, Debug)]
enum Rights {
    /// The operator's.
    All,
    Policies(Arc<Vec<Policy>>),
}

/// Finds out who an access key belongs to.
pub(crate) trait Callers: Send + Sync + Debug {
    /// The holder of an access key that signed a request.
    ///
    /// # Errors
    /// An exception when the holder's rights cannot be read, or the key is gone meanwhile.
    fn caller(&self, access_key: &str) -> Result<Caller, Exception>;
}

impl Caller {
    /// The operator, by one of the operator's own keys.
    pub(crate) fn operator(access_key: &str, partition: &str, account: &str) -> Self {
        let arn = format!("arn:{partition}:iam::{account}:user/{access_key}");
        Caller {
            access_key: access_key.to_owned(),
            id: access_key.to_owned(),
            actor: Actor {
                account: account.to_owned(),
                arns: vec![arn.clone()],
                service: None,
            },
            principal_arn: arn.clone(),
            arn,
            user_name: None,
            rights: Rights::All,
        }
    }

    /// Whether the caller acts as a role that it assumed.
    pub(super) fn is_session(&self) -> bool {
        self.user_name.is_none() && !self.is_operator()
    }

    /// The user's name, for a key of a user.
    pub(super) fn user_name(&self) -> Option<&str> {
        self.user_name.as_deref()
    }

    /// Whether no policy binds the caller.
    pub(crate) fn is_operator(&self) -> bool {
        matches!(self.rights, Rights::All)
    }

    /// Whether the caller may do it.
    ///
    /// # Errors
    /// The sentence for the client, as AWS words it.
    pub(crate) fn may(
        &self,
        action: &str,
        resource: &str,
        context: Context,
        of_resource: Option<&Policy>,
    ) -> Result<(), String> {
        let Rights::Policies(own) = &self.rights else {
            return Ok(());
        };
        let context = self.describe(context);
        let question = Question {
            actor: &self.actor,
            action,
            resource,
            context: &context,
        };
        let because = match decide(own.iter(), of_resource, &question) {
            Decision::Allowed => return Ok(()),
            Decision::Denied => "with an explicit deny in a policy".to_owned(),
            Decision::NotAllowed => format!("because no policy allows the {action} action"),
        };
        Err(format!(
            "User: {} is not authorized to perform: {action} on resource: {resource} {because}",
            self.arn
        ))
    }

    /// The caller's own policies; `None` where none binds.
    pub(super) fn policies(&self) -> Option<&[Policy]> {
        match &self.rights {
            Rights::All => None,
            Rights::Policies(policies) => Some(policies),
        }
    }

    /// What conditions know about every request of the caller.
    pub(super) fn describe(&self, context: Context) -> Context {
        let context = context
            .with(key::PRINCIPAL_ARN, &self.principal_arn)
            .with(key::PRINCIPAL_ACCOUNT, &self.actor.account)
            .with(key::SECURE_TRANSPORT, "false");
        match &self.user_name {
            Some(name) => context.with(key::USER_NAME, name),
            None => context,
        }
    }
}

/// All keys that this server knows.
#[derive(Debug)]
pub(crate) struct KnownCallers {
    pub(crate) operator: FileKeys,
    pub(crate) identity: Arc<Identity>,
    pub(crate) mode: AuthMode,
}

impl KeyTable for KnownCallers {
    fn secret_for(&self, access_key: &str) -> Option<String> {
        if let Some(secret) = self.operator.secret_for(access_key) {
            return Some(secret);
        }
        self.identity.secret_for(access_key)
    }

    fn session(&self, access_key: &str) -> Option<SessionFacts> {
        // Told by its prefix, so that other keys cost no look at the database.
        if !access_key.starts_with(sessions::KEY_PREFIX) {
            return None;
        }
        self.identity.session_facts(access_key)
    }
}

impl Callers for KnownCallers {
    fn caller(&self, access_key: &str) -> Result<Caller, Exception> {
        let account = &self.identity.account;
        let operator = || Caller::operator(access_key, &account.partition, &account.account);
        if self.mode != AuthMode::Static || self.operator.secret_for(access_key).is_some() {
            return Ok(operator());
        }
        match self.identity.holder(access_key) {
            Ok(Some(caller)) => Ok(caller),
            Ok(None) => Err(Exception {
                kind: ExceptionKind::UnrecognizedClient,
                message: "The security token included in the request is invalid.".into(),
            }),
            Err(NoRights::Unreadable) => Err(Exception::internal("rights cannot be read")),
            Err(NoRights::Unusable(reason)) => Err(Exception {
                kind: ExceptionKind::AccessDenied,
                message: format!("The rights of this access key cannot be used: {reason}"),
            }),
        }
    }
}

impl Identity {
    /// The secret of an active key of a user, or of a session.
    fn secret_for(&self, access_key: &str) -> Option<String> {
        let found = self.store.read(|records| {
            if let Some(key) = records.access_key(access_key)? {
                return Ok(Some(key.secret).filter(|_| key.active));
            }
            let session = records.session(access_key)?;
            Ok(session.map(|session| session.secret))
        });
        found.ok().flatten()
    }

    fn session_facts(&self, access_key: &str) -> Option<SessionFacts> {
        let found = self.store.read(|records| records.session(access_key));
        let session = found.ok().flatten()?;
        Some(SessionFacts {
            token: session.token,
            expires_ms: session.expires,
        })
    }

    /// The user or session behind a key.
    fn holder(&self, access_key: &str) -> Result<Option<Caller>, NoRights> {
        self.store.read(|records| {
            if let Some(key) = records.access_key(access_key)?.filter(|key| key.active) {
                let Some(user) = records.user(&key.user)? else {
                    return Ok(Ok(None));
                };
                let policies = self.read_policies(records, &user.grants);
                return Ok(policies.map(|policies| {
                    Some(Caller {
                        access_key: access_key.to_owned(),
                        id: user.id,
                        actor: Actor {
                            account: self.account.account.clone(),
                            arns: vec![user.arn.clone()],
                            service: None,
                        },
                        principal_arn: user.arn.clone(),
                        arn: user.arn,
                        user_name: Some(user.name),
                        rights: Rights::Policies(Arc::new(policies)),
                    })
                }));
            }
            let Some(session) = records.session(access_key)? else {
                return Ok(Ok(None));
            };
            // The role may be another of the same name by now; its id is not.
            let role = records
                .role(&session.role)?
                .filter(|role| role.id == session.role_id);
            let Some(role) = role else {
                return Ok(Ok(None));
            };
            let policies = self.read_policies(records, &role.grants);
            let arn = self.session_arn(&role.name, &session.name);
            Ok(policies.map(|policies| {
                Some(Caller {
                    access_key: access_key.to_owned(),
                    id: format!("{}:{}", role.id, session.name),
                    actor: Actor {
                        account: self.account.account.clone(),
                        arns: vec![role.arn.clone(), arn.clone()],
                        service: None,
                    },
                    principal_arn: role.arn,
                    arn,
                    user_name: None,
                    rights: Rights::Policies(Arc::new(policies)),
                })
            }))
        })?
    }
}
