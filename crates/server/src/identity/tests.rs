//! STS and IAM as a client sees them: forms in, documents out.

use super::*;
use crate::keys::{AuthMode, FileKeys, KeyTable as _, TokenProblem};
use kindred_types::time::Timestamp;
use std::sync::atomic::{AtomicU8, Ordering};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"personalize.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const RIGHTS: &str = r#"{"Statement":{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"*"}}"#;

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000)
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

#[derive(Debug)]
struct Counter(AtomicU8);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
    }
}

struct Service {
    identity: Identity,
    dir: tempfile::TempDir,
}

fn open(path: &Path) -> Identity {
    let (clock, random) = (Arc::new(FixedClock), Arc::new(Counter(AtomicU8::new(1))));
    Identity::open(path, Account::default(), clock, random).unwrap()
}

impl Service {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Service {
            identity: open(&dir.path().join("identity.db")),
            dir,
        }
    }

    fn call(&self, action: &str, parameters: &[(&str, &str)]) -> FormAnswer {
        let pairs = parameters
            .iter()
            .copied()
            .chain([("Action", action), ("Version", "2010-05-08")]);
        let form = pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        self.identity.handle(
            &Caller::operator("AKIA", "aws", "000000000000"),
            &form,
            "request-1",
        )
    }

    #[track_caller]
    fn good(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        let answer = self.call(action, parameters);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(
            answer
                .body
                .starts_with(&format!("<{action}Response xmlns=\"https://"))
        );
        assert!(answer.body.contains("<RequestId>request-1</RequestId>"));
        answer.body
    }

    #[track_caller]
    fn bad(&self, action: &str, parameters: &[(&str, &str)], status: u16, code: &str) -> String {
        let answer = self.call(action, parameters);
        assert!(
            answer.body.contains(&format!("<Code>{code}</Code>")),
            "{}",
            answer.body
        );
        assert_eq!(answer.status, status);
        answer.body
    }
}

fn elements(body: &str, name: &str) -> Vec<String> {
    let opening = format!("<{name}>");
    let pieces = body.split(&opening).skip(1);
    pieces
        .map(|rest| rest.split("</").next().unwrap_or("").to_owned())
        .collect()
}

#[test]
fn who_am_i() {
    let service = Service::new();
    let body = service.good("GetCallerIdentity", &[]);
    assert!(body.contains("xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\""));
    assert_eq!(elements(&body, "Account"), ["000000000000"]);
    assert_eq!(
        elements(&body, "Arn"),
        ["arn:aws:iam::000000000000:user/AKIA"]
    );
    service.bad("AssumeRole", &[("RoleArn", "arn")], 400, "ValidationError");
    service.bad("GetSessionToken", &[], 403, "AccessDenied");
}

#[test]
fn a_ready_role_is_there_from_the_first_start_and_stays_deleted() {
    let service = Service::new();
    let body = service.good("GetRole", &[("RoleName", "kindred")]);
    assert_eq!(
        elements(&body, "Arn"),
        ["arn:aws:iam::000000000000:role/kindred"]
    );
    let policy = [("RoleName", "kindred"), ("PolicyName", "all-buckets")];
    service.good("DeleteRolePolicy", &policy);
    service.good("DeleteRole", &[("RoleName", "kindred")]);
    let Service { identity, dir } = service;
    drop(identity);
    let service = Service {
        identity: open(&dir.path().join("identity.db")),
        dir,
    };
    service.bad("GetRole", &[("RoleName", "kindred")], 404, "NoSuchEntity");
}

#[test]
fn roles_are_made_once_and_survive_a_restart() {
    let service = Service::new();
    let parameters = [
        ("RoleName", "Import_Role"),
        ("Path", "/service-role/"),
        ("AssumeRolePolicyDocument", TRUST),
        ("Description", "reads <data> & writes"),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "one"),
    ];
    let made = service.good("CreateRole", &parameters);
    assert_eq!(
        elements(&made, "Arn"),
        ["arn:aws:iam::000000000000:role/service-role/Import_Role"]
    );
    assert_eq!(elements(&made, "CreateDate"), ["2023-11-14T22:13:20Z"]);
    assert!(made.contains("reads &lt;data&gt; &amp; writes"));
    let encoded = elements(&made, "AssumeRolePolicyDocument").remove(0);
    let decoded = percent_encoding::percent_decode_str(&encoded)
        .decode_utf8()
        .unwrap();
    assert_eq!(decoded, TRUST);
    assert_eq!(elements(&made, "RoleId")[0].len(), 21);
    service.bad("CreateRole", &parameters, 409, "EntityAlreadyExists");
    let other_case = [
        ("RoleName", "import_role"),
        ("AssumeRolePolicyDocument", TRUST),
    ];
    service.bad("CreateRole", &other_case, 409, "EntityAlreadyExists");
    let Service { identity, dir } = service;
    drop(identity);
    let service = Service {
        identity: open(&dir.path().join("identity.db")),
        dir,
    };
    let found = service.good("GetRole", &[("RoleName", "Import_Role")]);
    assert_eq!(elements(&found, "RoleId"), elements(&made, "RoleId"));
    let listed = service.good("ListRoles", &[("PathPrefix", "/service-role/")]);
    assert_eq!(elements(&listed, "RoleName"), ["Import_Role"]);
    let first = service.good("ListRoles", &[("MaxItems", "1")]);
    assert_eq!(elements(&first, "IsTruncated"), ["true"]);
    let marker = elements(&first, "Marker").remove(0);
    let second = service.good("ListRoles", &[("MaxItems", "1"), ("Marker", &marker)]);
    let both = [elements(&first, "RoleName"), elements(&second, "RoleName")].concat();
    assert_eq!(both, ["Import_Role", "kindred"]);
    let more = [
        ("RoleName", "Import_Role"),
        ("Tags.member.1.Key", "k"),
        ("Tags.member.1.Value", "v"),
    ];
    service.good("TagRole", &more);
    service.good(
        "UntagRole",
        &[("RoleName", "Import_Role"), ("TagKeys.member.1", "team")],
    );
    let profiles = service.good(
        "ListInstanceProfilesForRole",
        &[("RoleName", "Import_Role")],
    );
    assert!(profiles.contains("<InstanceProfiles"), "{profiles}");
    let tags = service.good("ListRoleTags", &[("RoleName", "Import_Role")]);
    assert_eq!(elements(&tags, "Key"), ["k"]);
}

#[test]
fn policies_inside_and_attached() {
    let service = Service::new();
    let role = ("RoleName", "r");
    service.good("CreateRole", &[role, ("AssumeRolePolicyDocument", TRUST)]);
    let inline = [role, ("PolicyName", "p"), ("PolicyDocument", RIGHTS)];
    service.good("PutRolePolicy", &inline);
    let listed = service.good("ListRolePolicies", &[role]);
    assert_eq!(elements(&listed, "member"), ["p"]);
    let got = service.good("GetRolePolicy", &inline[..2]);
    assert!(elements(&got, "PolicyDocument")[0].starts_with("%7B%22Statement%22"));
    service.bad("DeleteRole", &[role], 409, "DeleteConflict");
    service.good("DeleteRolePolicy", &inline[..2]);
    service.bad("DeleteRolePolicy", &inline[..2], 404, "NoSuchEntity");
    let own = service.good(
        "CreatePolicy",
        &[("PolicyName", "own"), ("PolicyDocument", RIGHTS)],
    );
    let own = elements(&own, "Arn").remove(0);
    assert_eq!(own, "arn:aws:iam::000000000000:policy/own");
    let managed = [
        "arn:aws:iam::aws:policy/AmazonS3FullAccess",
        "arn:aws:iam::aws:policy/service-role/AmazonPersonalizeFullAccess",
        "arn:aws:iam::aws:policy/AmazonPersonalizeFullAccess",
    ];
    for arn in managed.into_iter().chain([own.as_str(), own.as_str()]) {
        service.good("AttachRolePolicy", &[role, ("PolicyArn", arn)]);
        service.good("GetPolicy", &[("PolicyArn", arn)]);
        let version = service.good(
            "GetPolicyVersion",
            &[("PolicyArn", arn), ("VersionId", "v1")],
        );
        assert!(elements(&version, "Document")[0].contains("Statement"));
    }
    let attached = service.good("ListAttachedRolePolicies", &[role]);
    assert_eq!(elements(&attached, "PolicyArn").len(), 4);
    let listed = service.good("ListPolicies", &[("OnlyAttached", "true")]);
    assert_eq!(elements(&listed, "AttachmentCount"), ["1", "1", "1", "1"]);
    assert_eq!(
        elements(&service.good("ListPolicies", &[("Scope", "Local")]), "Arn"),
        std::slice::from_ref(&own)
    );
    service.bad("DeleteRole", &[role], 409, "DeleteConflict");
    service.bad(
        "DeletePolicy",
        &[("PolicyArn", &own)],
        409,
        "DeleteConflict",
    );
    service.bad(
        "DeletePolicy",
        &[("PolicyArn", managed[0])],
        403,
        "AccessDenied",
    );
    for arn in managed.into_iter().chain([own.as_str()]) {
        service.good("DetachRolePolicy", &[role, ("PolicyArn", arn)]);
    }
    service.bad(
        "DetachRolePolicy",
        &[role, ("PolicyArn", &own)],
        404,
        "NoSuchEntity",
    );
    service.good("DeletePolicy", &[("PolicyArn", &own)]);
    service.bad("GetPolicy", &[("PolicyArn", &own)], 404, "NoSuchEntity");
    let nowhere = [role, ("PolicyArn", "arn:aws:iam::aws:policy/Nothing")];
    service.bad("AttachRolePolicy", &nowhere, 404, "NoSuchEntity");
    service.good("UpdateAssumeRolePolicy", &[role, ("PolicyDocument", TRUST)]);
    service.good("DeleteRole", &[role]);
    service.bad("DeleteRole", &[role], 404, "NoSuchEntity");
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let service = Service::new();
    let create = |name: &str, trust: &str| {
        let parameters = [("RoleName", name), ("AssumeRolePolicyDocument", trust)];
        let answer = service.call("CreateRole", &parameters);
        (
            answer.status,
            elements(&answer.body, "Code").into_iter().next(),
        )
    };
    let refused = |code: &str| (400, Some(code.to_owned()));
    for name in ["", "a b", "a/b", "é", &"r".repeat(65)] {
        assert_eq!(create(name, TRUST), refused("ValidationError"), "{name}");
    }
    for trust in [
        "not json",
        "[]",
        "{}",
        r#"{"Statement":[]}"#,
        r#"{"Version":"2020-01-01","Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}]}"#,
        r#"{"Statement":[{"Effect":"Perhaps","Principal":"*","Action":"sts:AssumeRole"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Action":"sts:AssumeRole"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":7}]}"#,
        RIGHTS,
    ] {
        assert_eq!(
            create("role", trust),
            refused("MalformedPolicyDocument"),
            "{trust}"
        );
    }
    let body = service.bad(
        "CreateRole",
        &[("RoleName", "role")],
        400,
        "ValidationError",
    );
    assert!(body.contains("'assumeRolePolicyDocument'"), "{body}");
    let policy = [
        ("RoleName", "kindred"),
        ("PolicyName", "p"),
        ("PolicyDocument", TRUST),
    ];
    service.bad("PutRolePolicy", &policy, 400, "MalformedPolicyDocument");
    let large = RIGHTS.replace("s3:GetObject", &"x".repeat(10_240));
    let policy = [
        ("RoleName", "kindred"),
        ("PolicyName", "p"),
        ("PolicyDocument", large.as_str()),
    ];
    service.bad("PutRolePolicy", &policy, 409, "LimitExceeded");
    service.bad("ListRoles", &[("MaxItems", "0")], 400, "ValidationError");
    for (action, code) in [
        (None, "MissingAction"),
        (Some("CreateGroup"), "InvalidAction"),
    ] {
        let form = action
            .map(|action| ("Action".to_owned(), action.to_owned()))
            .into_iter()
            .collect();
        let caller = Caller::operator("AKIA", "aws", "000000000000");
        let answer = service.identity.handle(&caller, &form, "request-1");
        assert_eq!(
            (answer.status, elements(&answer.body, "Code")),
            (400, vec![code.to_owned()])
        );
    }
}

#[test]
fn a_changed_record_is_found_and_a_newer_format_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.db");
    drop(open(&path));
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let database = rusqlite::Connection::open(&path).unwrap();
    database
        .execute(
            "UPDATE records SET value = replace(value, 'kindred', 'kindrex')",
            [],
        )
        .unwrap();
    drop(database);
    let service = Service {
        identity: open(&path),
        dir,
    };
    service.bad("GetRole", &[("RoleName", "kindred")], 500, "ServiceFailure");
    let Service { identity, dir } = service;
    drop(identity);
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 9).unwrap();
    drop(database);
    let (clock, random) = (Arc::new(FixedClock), Arc::new(Counter(AtomicU8::new(1))));
    let opened = Identity::open(&path, Account::default(), clock, random);
    assert!(matches!(opened, Err(OpenError::Newer { format: 9, .. })));
    drop(dir);
}

const OF_ACCOUNT: &str = r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole"}}"#;

#[test]
fn a_session_ends_by_its_clock_and_is_removed_by_the_next() {
    let service = Service::new();
    let role = [("RoleName", "r"), ("AssumeRolePolicyDocument", OF_ACCOUNT)];
    service.good("CreateRole", &role);
    let assume = |seconds: &str| {
        let form = [
            ("RoleArn", "arn:aws:iam::000000000000:role/r"),
            ("RoleSessionName", "me"),
            ("DurationSeconds", seconds),
        ];
        let answer = service.good("AssumeRole", &form);
        let element = |name: &str| elements(&answer, name).remove(0);
        (element("AccessKeyId"), element("SessionToken"))
    };
    let dir = tempfile::tempdir().unwrap();
    let random = Counter(AtomicU8::new(1));
    let operator = FileKeys::open(&dir.path().join("credentials"), &random).unwrap();
    let identity = open(&service.dir.path().join("identity.db"));
    let callers = KnownCallers {
        operator,
        identity: Arc::new(identity),
        mode: AuthMode::Static,
    };
    let (key, token) = assume("900");
    let end = FixedClock.now().0 + 900_000;
    assert_eq!(callers.check_token(&key, Some(&token), end - 1), Ok(()));
    let expired = callers.check_token(&key, Some(&token), end);
    assert_eq!(expired, Err(TokenProblem::Expired));
    for wrong in [None, Some(""), Some("x")] {
        let refused = callers.check_token(&key, wrong, end - 1);
        assert_eq!(refused, Err(TokenProblem::Wrong));
    }
    assert!(
        callers
            .caller(&key)
            .unwrap()
            .arn
            .ends_with(":assumed-role/r/me")
    );
    // A role made anew under the old name gives old sessions nothing.
    service.good("DeleteRole", &role[..1]);
    service.good("CreateRole", &role);
    assert!(callers.caller(&key).is_err());
}

#[test]
fn a_users_key_acts_for_it_while_it_is_active() {
    let service = Service::new();
    let user = ("UserName", "ann");
    service.good("CreateUser", &[user]);
    let rights = [user, ("PolicyName", "p"), ("PolicyDocument", RIGHTS)];
    service.good("PutUserPolicy", &rights);
    let made = service.good("CreateAccessKey", &[user]);
    let id = elements(&made, "AccessKeyId").remove(0);
    let secret = elements(&made, "SecretAccessKey").remove(0);
    assert_eq!((id.len(), secret.len()), (20, 40));
    let dir = tempfile::tempdir().unwrap();
    let random = Counter(AtomicU8::new(1));
    let callers = KnownCallers {
        operator: FileKeys::open(&dir.path().join("credentials"), &random).unwrap(),
        identity: Arc::new(open(&service.dir.path().join("identity.db"))),
        mode: AuthMode::Static,
    };
    assert_eq!(callers.secret_for(&id), Some(secret));
    assert_eq!(callers.secret_for(&id.to_lowercase()), None);
    let caller = callers.caller(&id).unwrap();
    let may = |action: &str| caller.may(action, "arn:aws:s3:::b/k", Context::default(), None);
    assert_eq!(may("s3:GetObject"), Ok(()));
    let refused = may("s3:PutObject").unwrap_err();
    assert_eq!(
        refused,
        "User: arn:aws:iam::000000000000:user/ann is not authorized to perform: s3:PutObject on \
         resource: arn:aws:s3:::b/k because no policy allows the s3:PutObject action"
    );
    let key = [user, ("AccessKeyId", &id), ("Status", "Inactive")];
    service.good("UpdateAccessKey", &key);
    assert_eq!(callers.secret_for(&id), None);
    assert!(callers.caller(&id).is_err());
    service.bad("DeleteUser", &[user], 409, "DeleteConflict");
}

#[test]
fn a_database_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identity.db");
    drop(open(&path));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let (clock, random) = (Arc::new(FixedClock), Arc::new(Counter(AtomicU8::new(1))));
    let opened = Identity::open(&path, Account::default(), clock, random);
    assert!(matches!(opened, Err(OpenError::Readable { .. })));
}

#[test]
fn a_stored_document_that_cannot_be_evaluated_denies_everything() {
    let service = Service::new();
    let role = service.identity.store.write(|records| {
        let mut role = records.role("kindred")?.unwrap();
        let unknown = r#"{"Statement":{"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}}}"#;
        role.grants.inline.insert("old".into(), unknown.into());
        records.put_role(&role)?;
        Ok(role.arn)
    });
    let rights = service.identity.role_rights(&role.unwrap());
    assert!(matches!(rights, Err(rights::NoRights::Unusable(reason)) if reason.contains("old")));
}
