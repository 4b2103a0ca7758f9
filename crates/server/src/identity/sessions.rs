//! AssumeRole: keys that act as a role and end by themselves.
//!
//! A session is a record like any other, so it outlives a restart; one that has ended is removed
//! when the next one starts. What a session may do is read from its role at every request.

use super::callers::Caller;
use super::rights::{NoRights, RoleRights};
use super::roles::date;
use super::store::Session;
use super::users::{key_id, secret};
use super::xml::Xml;
use super::{Form, Identity, Refusal, invalid, limit_exceeded, name, refusal, required};
use crate::policy::{Context, Decision, Question, decide_trust, key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Access key ids of sessions start so, and no others that this server makes.
pub(super) const KEY_PREFIX: &str = "ASIA";
const SECONDS_MIN: u32 = 900;
const SECONDS_MAX: u32 = 43_200;
const SECONDS_DEFAULT: u32 = 3600;
/// Longest session that a session may start: role chaining, as on AWS.
const CHAINED_SECONDS_MAX: u32 = 3600;
const NAME_CHARACTERS: std::ops::RangeInclusive<usize> = 2..=64;
/// Sessions at the same time.
const SESSIONS_MAX: usize = 10_000;
/// Random bytes of a session token.
const TOKEN_BYTES: usize = 96;
/// Parameters that would change what a session may do; none is passed over.
const UNSUPPORTED: [&str; 7] = [
    "Policy",
    "PolicyArns.member.1.arn",
    "SerialNumber",
    "TokenCode",
    "SourceIdentity",
    "Tags.member.1.Key",
    "TransitiveTagKeys.member.1",
];

impl Identity {
    pub(super) fn assume_role(&self, caller: &Caller, form: &Form) -> Result<Xml, Refusal> {
        let arn = required(form, "RoleArn")?;
        let name = name(form, "RoleSessionName", *NAME_CHARACTERS.end())?;
        if name.chars().count() < *NAME_CHARACTERS.start() {
            let constraint = "Member must have length greater than or equal to 2";
            return Err(invalid("RoleSessionName", constraint));
        }
        if let Some(parameter) = UNSUPPORTED.iter().find(|name| form.contains_key(**name)) {
            let message = format!("{parameter} is not supported by this server");
            return Err(refusal(400, "ValidationError", message));
        }
        let role = match self.role_rights(arn) {
            Ok(Some(role)) => role,
            // Whoever may not assume a role does not learn whether there is one.
            Ok(None) => return Err(not_authorized(caller, arn)),
            Err(NoRights::Unreadable) => {
                return Err(refusal(500, "ServiceFailure", "roles cannot be read"));
            }
            Err(NoRights::Unusable(reason)) => return Err(refusal(403, "AccessDenied", reason)),
        };
        check_trust(caller, &role, name, form)?;
        let seconds = duration(form, caller, &role)?;
        let now = self.clock.now().0;
        let mut token = [0u8; TOKEN_BYTES];
        self.random.fill(&mut token);
        let session = Session {
            id: key_id(KEY_PREFIX, &*self.random),
            secret: secret(&*self.random),
            token: STANDARD.encode(token),
            role: role.name.clone(),
            role_id: role.id.clone(),
            name: name.to_owned(),
            created: now,
            expires: now.saturating_add(i64::from(seconds) * 1000),
        };
        self.store.write(|records| {
            let mut there = 0;
            for old in records.sessions()? {
                if old.expires <= now {
                    records.delete_session(&old.id)?;
                } else {
                    there += 1;
                }
            }
            if there >= SESSIONS_MAX {
                return Err(limit_exceeded("Sessions", SESSIONS_MAX));
            }
            records.put_session(&session)
        })?;
        let credentials = Xml::default()
            .text("AccessKeyId", &session.id)
            .text("SecretAccessKey", &session.secret)
            .text("SessionToken", &session.token)
            .text("Expiration", &date(session.expires));
        let user = Xml::default()
            .text("AssumedRoleId", &format!("{}:{name}", role.id))
            .text("Arn", &self.session_arn(&role.name, name));
        Ok(Xml::default()
            .nest("Credentials", credentials)
            .nest("AssumedRoleUser", user)
            .text("PackedPolicySize", "0"))
    }

    /// The ARN of a session of a role.
    pub(super) fn session_arn(&self, role: &str, session: &str) -> String {
        let (partition, account) = (&self.account.partition, &self.account.account);
        format!("arn:{partition}:sts::{account}:assumed-role/{role}/{session}")
    }
}

/// The role has to trust the caller by name, or leave it to the rights that its account gave.
fn check_trust(
    caller: &Caller,
    role: &RoleRights,
    session: &str,
    form: &Form,
) -> Result<(), Refusal> {
    let mut context = Context::default().with(key::SESSION_NAME, session);
    if let Some(id) = form.get("ExternalId") {
        context = context.with(key::EXTERNAL_ID, id);
    }
    let context = caller.describe(context);
    let question = Question {
        actor: &caller.actor,
        action: "sts:AssumeRole",
        resource: &role.arn,
        context: &context,
    };
    match decide_trust(caller.policies(), &role.trust, &question) {
        Decision::Allowed => Ok(()),
        Decision::Denied | Decision::NotAllowed => Err(not_authorized(caller, &role.arn)),
    }
}

fn not_authorized(caller: &Caller, role: &str) -> Refusal {
    let message = format!(
        "User: {} is not authorized to perform: sts:AssumeRole on resource: {role}",
        caller.arn
    );
    refusal(403, "AccessDenied", message)
}

fn duration(form: &Form, caller: &Caller, role: &RoleRights) -> Result<u32, Refusal> {
    let seconds = match form.get("DurationSeconds") {
        None => SECONDS_DEFAULT.min(role.max_session_seconds),
        Some(text) => text
            .parse()
            .ok()
            .filter(|seconds| (SECONDS_MIN..=SECONDS_MAX).contains(seconds))
            .ok_or_else(|| {
                let constraint = "Member must have value between 900 and 43200";
                invalid("DurationSeconds", constraint)
            })?,
    };
    if seconds > role.max_session_seconds {
        let message =
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(refusal(400, "ValidationError", message));
    }
    if caller.is_session() && seconds > CHAINED_SECONDS_MAX {
        let message = "The requested DurationSeconds exceeds the 1 hour session limit for roles \
                       assumed by role chaining";
        return Err(refusal(400, "ValidationError", message));
    }
    Ok(seconds)
}
