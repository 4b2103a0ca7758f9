//! Tables: documents and questions with the decision that AWS's rules give.

use super::*;
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::000000000000:role/segments";
const SESSION: &str = "arn:aws:sts::000000000000:assumed-role/segments/me";
const OBJECT: &str = "arn:aws:s3:::shop/in/q.json";
const BUCKET: &str = "arn:aws:s3:::shop";

/// A job that acts as the role.
fn job() -> Actor {
    Actor {
        account: "000000000000".into(),
        arns: vec![ROLE.into()],
        service: Some("personalize.amazonaws.com"),
    }
}

fn user(name: &str) -> Actor {
    Actor {
        account: "000000000000".into(),
        arns: vec![format!("arn:aws:iam::000000000000:user/{name}")],
        service: None,
    }
}

fn context() -> Context {
    Context::default()
        .with(key::PRINCIPAL_ARN, ROLE)
        .with(key::PRINCIPAL_ACCOUNT, "000000000000")
        .with(key::SOURCE_ACCOUNT, "000000000000")
        .with(
            key::SOURCE_ARN,
            "arn:aws:personalize:us-east-1:000000000000:batch-segment-job/j",
        )
        .with(key::SECURE_TRANSPORT, "true")
        .with(key::PREFIX, "in/")
}

fn policy(statements: &Value, kind: Kind<'_>) -> Policy {
    let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    Policy::parse(&text, kind).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// One case: what the role may, what the bucket's policy says (null for none), what is asked.
struct Case {
    name: &'static str,
    role: Value,
    bucket: Value,
    action: &'static str,
    resource: &'static str,
    expected: Decision,
}

fn case(
    name: &'static str,
    role: Value,
    bucket: Value,
    action: &'static str,
    resource: &'static str,
    expected: Decision,
) -> Case {
    Case {
        name,
        role,
        bucket,
        action,
        resource,
        expected,
    }
}

fn allow(action: Value, resource: Value) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": resource})
}

fn deny(action: Value, resource: Value) -> Value {
    json!({"Effect": "Deny", "Action": action, "Resource": resource})
}

fn under(mut statement: Value, condition: Value) -> Value {
    statement["Condition"] = condition;
    statement
}

fn by(mut statement: Value, principal: Value) -> Value {
    statement["Principal"] = principal;
    statement
}

fn not_by(mut statement: Value, principal: Value) -> Value {
    statement["NotPrincipal"] = principal;
    statement
}

fn run(cases: Vec<Case>, actor: &Actor) {
    for case in cases {
        let own = policy(&case.role, Kind::Permissions);
        let of_bucket =
            (!case.bucket.is_null()).then(|| policy(&case.bucket, Kind::Bucket("shop")));
        let question = Question {
            actor,
            action: case.action,
            resource: case.resource,
            context: &context(),
        };
        let decided = decide([&own], of_bucket.as_ref(), &question);
        assert_eq!(decided, case.expected, "{}", case.name);
    }
}

use Decision::{Allowed, Denied, NotAllowed};

/// Rights that reach nothing that is asked here.
fn nothing() -> Value {
    json!([allow(json!("iam:ListRoles"), json!("*"))])
}

#[rustfmt::skip]
#[test]
fn actions_and_resources() {
    let get = "s3:GetObject";
    let n = Value::Null;
    let all = || json!("*");
    run(vec![
        case("exact", json!(allow(json!(get), json!(OBJECT))), n.clone(), get, OBJECT, Allowed),
        case("nothing said", nothing(), n.clone(), get, OBJECT, NotAllowed),
        case("other action", json!(allow(json!("s3:PutObject"), all())), n.clone(), get, OBJECT, NotAllowed),
        case("other key", json!(allow(json!(get), json!("arn:aws:s3:::shop/in/other"))), n.clone(), get, OBJECT, NotAllowed),
        case("other bucket", json!(allow(json!(get), json!("arn:aws:s3:::other/*"))), n.clone(), get, OBJECT, NotAllowed),
        case("all of the service", json!(allow(json!("s3:*"), all())), n.clone(), get, OBJECT, Allowed),
        case("all actions", json!(allow(all(), all())), n.clone(), get, OBJECT, Allowed),
        case("action case is ignored", json!(allow(json!("S3:getobject"), all())), n.clone(), get, OBJECT, Allowed),
        case("star within the action", json!(allow(json!("s3:Get*"), all())), n.clone(), get, OBJECT, Allowed),
        case("star in the middle of the action", json!(allow(json!("s3:*Object"), all())), n.clone(), get, OBJECT, Allowed),
        case("question mark in the action", json!(allow(json!("s3:?etObject"), all())), n.clone(), get, OBJECT, Allowed),
        case("a question mark is one letter", json!(allow(json!("s3:?GetObject"), all())), n.clone(), get, OBJECT, NotAllowed),
        case("a longer action is another", json!(allow(json!(get), all())), n.clone(), "s3:GetObjectTagging", OBJECT, NotAllowed),
        case("list of actions", json!(allow(json!(["s3:PutObject", get]), all())), n.clone(), get, OBJECT, Allowed),
        case("list of resources", json!(allow(json!(get), json!([BUCKET, "arn:aws:s3:::shop/*"]))), n.clone(), get, OBJECT, Allowed),
        case("the bucket is not its objects", json!(allow(json!(get), json!(BUCKET))), n.clone(), get, OBJECT, NotAllowed),
        case("the objects are not the bucket", json!(allow(json!("s3:ListBucket"), json!("arn:aws:s3:::shop/*"))), n.clone(), "s3:ListBucket", BUCKET, NotAllowed),
        case("listing", json!(allow(json!("s3:ListBucket"), json!(BUCKET))), n.clone(), "s3:ListBucket", BUCKET, Allowed),
        case("a star reaches over slashes", json!(allow(json!(get), json!("arn:aws:s3:::shop/*.json"))), n.clone(), get, OBJECT, Allowed),
        case("a star at the bucket's end takes longer names", json!(allow(json!(get), json!("arn:aws:s3:::sh*"))), n.clone(), get, OBJECT, Allowed),
        case("resource case counts", json!(allow(json!(get), json!("arn:aws:s3:::Shop/*"))), n.clone(), get, OBJECT, NotAllowed),
        case("a question mark in the key", json!(allow(json!(get), json!("arn:aws:s3:::shop/in/?.json"))), n.clone(), get, OBJECT, Allowed),
        case("no star reaches over a colon", json!(allow(json!(get), json!("arn:aws:*:::shop/in/q.json"))), n.clone(), get, "arn:aws:s3:a::shop/in/q.json", NotAllowed),
        case("other partition", json!(allow(json!(get), json!("arn:aws-cn:s3:::shop/*"))), n.clone(), get, OBJECT, NotAllowed),
        case("stars of the key are letters", json!(allow(json!(get), json!("arn:aws:s3:::shop/a"))), n.clone(), get, "arn:aws:s3:::shop/*", NotAllowed),
        case("NotAction leaves out", json!({"Effect": "Allow", "NotAction": "s3:Put*", "Resource": "*"}), n.clone(), get, OBJECT, Allowed),
        case("NotAction names it", json!({"Effect": "Allow", "NotAction": ["s3:Put*", "s3:get*"], "Resource": "*"}), n.clone(), get, OBJECT, NotAllowed),
        case("NotResource leaves out", json!({"Effect": "Allow", "Action": get, "NotResource": "arn:aws:s3:::other/*"}), n.clone(), get, OBJECT, Allowed),
        case("NotResource names it", json!({"Effect": "Allow", "Action": get, "NotResource": "arn:aws:s3:::shop/*"}), n.clone(), get, OBJECT, NotAllowed),
        case("deny wins before", json!([deny(json!(get), all()), allow(all(), all())]), n.clone(), get, OBJECT, Denied),
        case("deny wins behind", json!([allow(all(), all()), deny(json!("s3:G*"), json!("arn:aws:s3:::shop/in/*"))]), n.clone(), get, OBJECT, Denied),
        case("deny of another thing", json!([allow(all(), all()), deny(json!(get), json!("arn:aws:s3:::shop/out/*"))]), n.clone(), get, OBJECT, Allowed),
        case("deny with NotAction", json!([allow(all(), all()), {"Effect": "Deny", "NotAction": "s3:ListBucket", "Resource": "*"}]), n.clone(), get, OBJECT, Denied),
        case("deny with NotResource", json!([allow(all(), all()), {"Effect": "Deny", "Action": "s3:*", "NotResource": "arn:aws:s3:::shop/*"}]), n.clone(), get, "arn:aws:s3:::other/k", Denied),
        case("an action on nothing in particular", json!(allow(json!("s3:ListAllMyBuckets"), all())), n.clone(), "s3:ListAllMyBuckets", "*", Allowed),
        case("a resource is not nothing in particular", json!(allow(json!("s3:ListAllMyBuckets"), json!("arn:aws:s3:::*"))), n, "s3:ListAllMyBuckets", "*", NotAllowed),
    ], &job());
}

#[rustfmt::skip]
#[test]
fn bucket_policies_and_principals() {
    let get = "s3:GetObject";
    let may = || json!([allow(json!("s3:*"), json!("*"))]);
    let open = || allow(json!(get), json!("arn:aws:s3:::shop/*"));
    let shut = || deny(json!("s3:*"), json!("arn:aws:s3:::shop/*"));
    let q = |name, role, bucket, expected| case(name, role, bucket, get, OBJECT, expected);
    run(vec![
        q("the role allows, the bucket is silent", may(), json!([by(allow(json!("s3:PutObject"), json!("arn:aws:s3:::shop/*")), json!("*"))]), Allowed),
        q("the bucket allows the role", nothing(), json!([by(open(), json!({"AWS": ROLE}))]), Allowed),
        q("the bucket allows another role", nothing(), json!([by(open(), json!({"AWS": "arn:aws:iam::000000000000:role/other"}))]), NotAllowed),
        q("the bucket allows everybody", nothing(), json!([by(open(), json!("*"))]), Allowed),
        q("the bucket allows everybody, long form", nothing(), json!([by(open(), json!({"AWS": "*"}))]), Allowed),
        q("the bucket allows the service", nothing(), json!([by(open(), json!({"Service": "personalize.amazonaws.com"}))]), Allowed),
        q("the bucket allows another service", nothing(), json!([by(open(), json!({"Service": "glue.amazonaws.com"}))]), NotAllowed),
        q("the bucket allows one of several", nothing(), json!([by(open(), json!({"AWS": ["111111111111", ROLE], "Service": "glue.amazonaws.com"}))]), Allowed),
        q("an account is left to its own rights", nothing(), json!([by(open(), json!({"AWS": "000000000000"}))]), NotAllowed),
        q("so is its root", nothing(), json!([by(open(), json!({"AWS": "arn:aws:iam::000000000000:root"}))]), NotAllowed),
        q("own rights with the account named", may(), json!([by(open(), json!({"AWS": "000000000000"}))]), Allowed),
        q("the bucket denies the role", may(), json!([by(shut(), json!({"AWS": ROLE}))]), Denied),
        q("the bucket denies everybody", may(), json!([by(shut(), json!("*"))]), Denied),
        q("the bucket denies the service", may(), json!([by(shut(), json!({"Service": "personalize.amazonaws.com"}))]), Denied),
        q("the bucket denies the account", may(), json!([by(shut(), json!({"AWS": "000000000000"}))]), Denied),
        q("the bucket denies another role", may(), json!([by(shut(), json!({"AWS": "arn:aws:iam::000000000000:role/other"}))]), Allowed),
        q("the bucket denies another account", may(), json!([by(shut(), json!({"AWS": "arn:aws:iam::111111111111:root"}))]), Allowed),
        q("all but the role are denied", may(), json!([not_by(shut(), json!({"AWS": ROLE}))]), Allowed),
        q("all but another are denied", may(), json!([not_by(shut(), json!({"AWS": "arn:aws:iam::000000000000:role/other"}))]), Denied),
        q("the bucket allows and denies", nothing(), json!([by(open(), json!("*")), by(shut(), json!("*"))]), Denied),
        q("the bucket's deny is elsewhere", may(), json!([by(deny(json!("s3:*"), json!("arn:aws:s3:::shop/out/*")), json!("*"))]), Allowed),
        q("the role denies what the bucket allows", json!([deny(json!("s3:*"), json!("*"))]), json!([by(open(), json!("*"))]), Denied),
    ], &job());
    run(vec![
        q("a user is not the service", nothing(), json!([by(open(), json!({"Service": "personalize.amazonaws.com"}))]), NotAllowed),
        q("a user by name", nothing(), json!([by(open(), json!({"AWS": "arn:aws:iam::000000000000:user/ann"}))]), Allowed),
        q("another user", nothing(), json!([by(open(), json!({"AWS": "arn:aws:iam::000000000000:user/bob"}))]), NotAllowed),
    ], &user("ann"));
    let mut session = job();
    (session.arns, session.service) = (vec![ROLE.into(), SESSION.into()], None);
    run(vec![
        q("a session goes by its role", nothing(), json!([by(open(), json!({"AWS": ROLE}))]), Allowed),
        q("a session goes by its own name", nothing(), json!([by(open(), json!({"AWS": SESSION}))]), Allowed),
        q("one session is denied", may(), json!([by(shut(), json!({"AWS": SESSION}))]), Denied),
        q("another session is denied", may(), json!([by(shut(), json!({"AWS": format!("{SESSION}-not")}))]), Allowed),
    ], &session);
}

#[rustfmt::skip]
#[test]
fn conditions() {
    let list = "s3:ListBucket";
    let q = |name, condition: Value, expected| {
        case(name, json!([under(allow(json!(list), json!("*")), condition)]), Value::Null, list, BUCKET, expected)
    };
    run(vec![
        q("equal", json!({"StringEquals": {"aws:SourceAccount": "000000000000"}}), Allowed),
        q("not equal", json!({"StringEquals": {"aws:SourceAccount": "111111111111"}}), NotAllowed),
        q("one of several", json!({"StringEquals": {"s3:prefix": ["", "in/"]}}), Allowed),
        q("key case is ignored", json!({"StringEquals": {"AWS:sourceaccount": "000000000000"}}), Allowed),
        q("value case counts", json!({"StringEquals": {"s3:prefix": "IN/"}}), NotAllowed),
        q("value case ignored", json!({"StringEqualsIgnoreCase": {"s3:prefix": "IN/"}}), Allowed),
        q("no wildcards in equality", json!({"StringEquals": {"s3:prefix": "in*"}}), NotAllowed),
        q("like", json!({"StringLike": {"s3:prefix": ["out/*", "in/*"]}}), Allowed),
        q("not like", json!({"StringLike": {"s3:prefix": "out/*"}}), NotAllowed),
        q("negated: none of them", json!({"StringNotEquals": {"s3:prefix": ["a/", "b/"]}}), Allowed),
        q("negated: one of them", json!({"StringNotEquals": {"s3:prefix": ["a/", "in/"]}}), NotAllowed),
        q("negated like", json!({"StringNotLike": {"s3:prefix": "i*"}}), NotAllowed),
        q("ARN like", json!({"ArnLike": {"aws:SourceArn": "arn:aws:personalize:*:000000000000:batch-segment-job/*"}}), Allowed),
        q("ARN equality takes wildcards", json!({"ArnEquals": {"aws:SourceArn": "arn:aws:personalize:*:*:*"}}), Allowed),
        q("ARN of another kind", json!({"ArnLike": {"aws:SourceArn": "arn:aws:personalize:*:*:dataset-import-job/*"}}), NotAllowed),
        q("negated ARN", json!({"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/seg*"}}), NotAllowed),
        q("bool", json!({"Bool": {"aws:SecureTransport": true}}), Allowed),
        q("bool as a text", json!({"Bool": {"aws:SecureTransport": "false"}}), NotAllowed),
        q("both conditions", json!({"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {"s3:prefix": "out/"}}), NotAllowed),
        q("both keys", json!({"StringEquals": {"s3:prefix": "in/", "aws:SourceAccount": "1"}}), NotAllowed),
        q("an absent key is not equal", json!({"StringEquals": {"sts:ExternalId": "x"}}), NotAllowed),
        q("an absent key, negated", json!({"StringNotEquals": {"sts:ExternalId": "x"}}), Allowed),
        q("an absent key, if it exists", json!({"StringEqualsIfExists": {"sts:ExternalId": "x"}}), Allowed),
        q("a present key, if it exists", json!({"StringEqualsIfExists": {"s3:prefix": "x"}}), NotAllowed),
        q("null: absent", json!({"Null": {"sts:ExternalId": "true"}}), Allowed),
        q("null: present", json!({"Null": {"s3:prefix": "true"}}), NotAllowed),
        q("not null: present", json!({"Null": {"s3:prefix": false}}), Allowed),
        case("a deny whose condition fails", json!([allow(json!("*"), json!("*")), under(deny(json!("*"), json!("*")), json!({"Bool": {"aws:SecureTransport": "false"}}))]), Value::Null, list, BUCKET, Allowed),
        case("a deny whose condition holds", json!([allow(json!("*"), json!("*")), under(deny(json!("*"), json!("*")), json!({"StringNotEquals": {"s3:prefix": "out/"}}))]), Value::Null, list, BUCKET, Denied),
    ], &job());
}

#[test]
fn trust_is_a_question_about_the_role() {
    let trusted = |principal: Value, condition: Value, actor: &Actor| {
        let statement = json!({"Effect": "Allow", "Principal": principal,
            "Action": "sts:AssumeRole", "Condition": condition});
        let trust = policy(&statement, Kind::Trust);
        let question = Question {
            actor,
            action: "sts:AssumeRole",
            resource: ROLE,
            context: &context(),
        };
        decide([], Some(&trust), &question)
    };
    let service = Actor {
        service: Some("personalize.amazonaws.com"),
        ..Actor::default()
    };
    let ours = json!({"Service": "personalize.amazonaws.com"});
    let both = json!({"Service": ["glue.amazonaws.com", "personalize.amazonaws.com"]});
    let other = json!({"Service": "glue.amazonaws.com"});
    let free = json!({});
    let bound = json!({"StringEquals": {"aws:SourceAccount": "000000000000"}});
    let foreign = json!({"StringEquals": {"aws:SourceAccount": "111111111111"}});
    assert_eq!(trusted(ours.clone(), free.clone(), &service), Allowed);
    assert_eq!(trusted(both, free.clone(), &service), Allowed);
    assert_eq!(trusted(other, free.clone(), &service), NotAllowed);
    assert_eq!(trusted(ours.clone(), bound, &service), Allowed);
    assert_eq!(trusted(ours.clone(), foreign, &service), NotAllowed);
    assert_eq!(trusted(ours, free.clone(), &user("ann")), NotAllowed);
    let ann = json!({"AWS": "arn:aws:iam::000000000000:user/ann"});
    assert_eq!(trusted(ann.clone(), free.clone(), &user("ann")), Allowed);
    assert_eq!(trusted(ann, free.clone(), &user("bob")), NotAllowed);
    // Whom the account may let in is said by the account's own policies.
    let account = json!({"AWS": "000000000000"});
    assert_eq!(trusted(account, free, &user("ann")), NotAllowed);
}

#[rustfmt::skip]
#[test]
fn what_cannot_be_evaluated_is_refused() {
    let rights = |extra: Value| {
        let mut statement = allow(json!("s3:*"), json!("*"));
        for (name, value) in extra.as_object().unwrap() {
            statement[name] = value.clone();
        }
        json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
    };
    let condition = |condition: Value| rights(json!({"Condition": condition}));
    let bucket = |extra: Value| {
        let mut statement = by(allow(json!("s3:*"), json!("arn:aws:s3:::shop/*")), json!("*"));
        for (name, value) in extra.as_object().unwrap() {
            statement[name] = value.clone();
        }
        json!({"Statement": statement}).to_string()
    };
    let own = Kind::Permissions;
    let shop = Kind::Bucket("shop");
    for (text, kind, reason) in [
        ("{".to_owned(), own, "invalid Json"),
        ("[]".into(), own, "Syntax errors in policy"),
        ("{}".into(), own, "missing field `Statement`"),
        (r#"{"Statement": []}"#.into(), own, "1 to 200 statements"),
        (r#"{"Version": "2020-01-01", "Statement": []}"#.into(), own, "valid version"),
        (r#"{"Statement": [], "Statement": []}"#.into(), own, "duplicate field"),
        (rights(json!({"Resorce": "*"})), own, "unknown field `Resorce`"),
        (rights(json!({"Effect": "allow"})), own, "Allow or Deny"),
        (rights(json!({"Action": "GetObject"})), own, "prefaced by a vendor"),
        (rights(json!({"Action": []})), own, "Action has 1 to"),
        (rights(json!({"NotAction": "s3:*"})), own, "cannot be in one statement"),
        (rights(json!({"Resource": "shop/*"})), own, "ARN format"),
        (rights(json!({"Resource": "arn:aws:s3:::${aws:username}/*"})), own, "policy variables"),
        (rights(json!({"Resource": "a".repeat(3000)})), own, "longer than 2048"),
        (rights(json!({"Principal": "*"})), own, "should not specify a principal"),
        (condition(json!({"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}})), own, "operator DateLessThan is not supported"),
        (condition(json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})), own, "operator IpAddress is not supported"),
        (condition(json!({"StringEquals": {"aws:SourceVpc": "v"}})), own, "key aws:SourceVpc is not supported"),
        (condition(json!({"ForAllValues:StringEquals": {"s3:prefix": "a"}})), own, "set operators"),
        (condition(json!({"Bool": {"aws:SecureTransport": "perhaps"}})), own, "Invalid value"),
        (condition(json!({"ArnLike": {"aws:SourceArn": "job"}})), own, "Invalid value"),
        (condition(json!({"NullIfExists": {"s3:prefix": "true"}})), own, "not supported"),
        (condition(json!({"StringEquals": {"s3:prefix": []}})), own, "s3:prefix has 1 to"),
        (bucket(json!({"Resource": "arn:aws:s3:::other/*"})), shop, "is not in bucket shop"),
        (bucket(json!({"Resource": "arn:aws:s3:::shopping/*"})), shop, "is not in bucket shop"),
        (bucket(json!({"Action": "personalize:*"})), shop, "none of S3's"),
        (bucket(json!({"Principal": "ann"})), shop, "Invalid principal"),
        (bucket(json!({"Principal": {}})), shop, "Invalid principal"),
        (bucket(json!({"Principal": {"AWS": "ann"}})), shop, "Invalid principal"),
        (bucket(json!({"Principal": {"AWS": "arn:aws:iam::000000000000:role/*"}})), shop, "Invalid principal"),
        (bucket(json!({"Principal": {"Service": "personalize"}})), shop, "Invalid principal"),
        (bucket(json!({"Principal": {"Federated": "x"}})), shop, "not supported"),
    ] {
        let error = Policy::parse(&text, kind).expect_err(&text).to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    let many = json!({"Statement": vec![allow(json!("s3:*"), json!("*")); 201]}).to_string();
    assert!(Policy::parse(&many, own).is_err());
    let deep = "[".repeat(100_000);
    assert!(Policy::parse(&deep, own).is_err());
    for good in ["shop", "shop/*", "shop/a/b", "sh*", "*", "shop*"] {
        let text = bucket(json!({"Resource": format!("arn:aws:s3:::{good}")}));
        Policy::parse(&text, shop).unwrap();
    }
}

#[test]
fn patterns_take_time_in_proportion() {
    let pattern = "*a".repeat(500);
    let text = "b".repeat(2000);
    assert!(!pattern::matches(&pattern, &text));
    assert!(pattern::matches("a*b*c", "a-b-b-c-c"));
    assert!(!pattern::matches("a*b*c", "a-b-b-c-d"));
    assert!(pattern::matches("", ""));
    assert!(!pattern::matches("", "a"));
    assert!(pattern::matches("**", ""));
}
