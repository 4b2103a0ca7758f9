//! Jobs act as their role: what it may not do, the job does not, and leaves nothing behind.

use crate::support::*;
use kindred_jobs::{Access, Authority, Buckets, Refused, Resource, ServersRights};
use kindred_store::{Error as StoreError, KeyProblem, Store};
use std::sync::{Arc, Mutex};

/// Refuses one action on resources whose text starts so, and remembers what it was told.
#[derive(Debug)]
struct AllBut {
    action: &'static str,
    start: &'static str,
    noted: Mutex<Vec<String>>,
}

impl AllBut {
    fn new(action: &'static str, start: &'static str) -> Arc<Self> {
        Arc::new(AllBut {
            action,
            start,
            noted: Mutex::default(),
        })
    }
}

fn text(resource: Resource<'_>) -> String {
    match resource {
        Resource::Listing { bucket, prefix } => format!("{bucket}?{prefix}"),
        Resource::Object(location) => location.to_string(),
        Resource::Key(arn) => arn.to_owned(),
    }
}

impl Authority for AllBut {
    fn decide(&self, access: &Access<'_>) -> Result<(), Refused> {
        if access.action == self.action && text(access.resource).starts_with(self.start) {
            return Err(Refused::Denied("the test says so".into()));
        }
        Ok(())
    }

    fn note(&self, access: &Access<'_>, outcome: &Result<(), Refused>) {
        let line = format!(
            "{} {} {} {}",
            access.role_arn.unwrap_or("-"),
            access.action,
            text(access.resource),
            outcome.is_ok()
        );
        self.noted.lock().unwrap().push(line);
    }
}

#[test]
fn a_segment_job_without_a_right_fails_and_writes_nothing() {
    let world = World::trained();
    world.put("demo/many/a.json", "{\"itemId\": \"i001\"}\n");
    world.put("demo/many/b.json", "{\"itemId\": \"i002\"}\n");
    let cases = [
        (
            "s3:GetObject",
            "s3://demo/in/",
            "in/q.json",
            "s3:GetObject on s3://demo/in/q.json",
        ),
        (
            "s3:ListBucket",
            "demo?",
            "in/q.json",
            "s3:ListBucket on s3://demo/in/q.json",
        ),
        // The second object of a prefix: the first has been found readable by then.
        (
            "s3:GetObject",
            "s3://demo/many/b",
            "many/",
            "s3:GetObject on s3://demo/many/b.json",
        ),
        (
            "s3:PutObject",
            "s3://demo/out/",
            "in/q.json",
            "s3:PutObject on s3://demo/out/_CHECK",
        ),
        // The last of two outputs.
        (
            "s3:PutObject",
            "s3://demo/out/b",
            "many/",
            "s3:PutObject on s3://demo/out/b.json.out",
        ),
        (
            "s3:PutObject",
            "s3://demo/out/q",
            "in/q.json",
            "s3:PutObject on s3://demo/out/q.json.out",
        ),
    ];
    for (number, (action, start, input, refused)) in cases.into_iter().enumerate() {
        let authority = AllBut::new(action, start);
        let runner = world.start_under(Arc::new(world.store.clone()), authority.clone());
        let input = format!("s3://demo/{input}");
        let arn = world.segment(&format!("denied-{number}"), &input, "s3://demo/out/");
        let expected = format!(
            "Insufficient privileges for accessing data in Amazon S3. {refused} was denied."
        );
        assert_eq!(world.wait_failed(&arn), expected);
        let written = world.store.list("demo", "out/", None, 10).unwrap();
        assert_eq!(written.objects, Vec::new(), "{refused}");
        let noted = authority.noted.lock().unwrap();
        let role = "arn:aws:iam::000000000000:role/kindred";
        let denied: Vec<_> = noted
            .iter()
            .filter(|line| line.ends_with("false"))
            .collect();
        assert_eq!(denied.len(), 1, "{noted:?}");
        assert!(
            denied[0].starts_with(&format!("{role} {action} ")),
            "{denied:?}"
        );
        runner.stop();
    }
}

#[test]
fn an_import_without_a_right_fails_and_keeps_the_data_before_it() {
    let world = World::new();
    world.put("data/folder/a.csv", csv(10, 10, 60, 1));
    for (number, (action, start, refused)) in [
        (
            "s3:GetObject",
            "s3://data/folder/a.csv",
            "s3:GetObject on s3://data/folder/a.csv",
        ),
        (
            "s3:ListBucket",
            "data?",
            "s3:ListBucket on s3://data/folder/a.csv",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let runner = world.start_under(Arc::new(world.store.clone()), AllBut::new(action, start));
        let arn = world.import(
            &format!("denied-{number}"),
            INTERACTIONS,
            "s3://data/folder/a.csv",
            "FULL",
        );
        let reason = world.wait_failed(&arn);
        assert!(
            reason.ends_with(&format!("{refused} was denied.")),
            "{reason}"
        );
        assert_eq!(world.generations(INTERACTIONS), Vec::<String>::new());
        runner.stop();
    }
}

#[test]
fn rights_on_a_folder_suffice_for_its_bare_name() {
    let world = World::new();
    world.put("data/folder/a.csv", csv(10, 10, 60, 1));
    /// Refuses the bare name only.
    #[derive(Debug)]
    struct FolderOnly;
    impl Authority for FolderOnly {
        fn decide(&self, access: &Access<'_>) -> Result<(), Refused> {
            if text(access.resource) == "s3://data/folder" {
                return Err(Refused::Denied("not below the folder".into()));
            }
            Ok(())
        }

        fn note(&self, _access: &Access<'_>, _outcome: &Result<(), Refused>) {}
    }
    let runner = world.start_under(Arc::new(world.store.clone()), Arc::new(FolderOnly));
    let arn = world.import("folder", INTERACTIONS, "s3://data/folder", "FULL");
    world.wait_active(&arn);
    // An object of that very name is not passed over.
    world.put("data/folder", csv(10, 10, 60, 2));
    let arn = world.import("object", INTERACTIONS, "s3://data/folder", "FULL");
    let reason = world.wait_failed(&arn);
    assert!(
        reason.ends_with("s3:GetObject on s3://data/folder was denied."),
        "{reason}"
    );
    runner.stop();
}

#[test]
fn a_job_waits_while_nobody_can_say_what_its_role_may_do() {
    /// Cannot answer the first time.
    #[derive(Debug, Default)]
    struct AwayOnce(Mutex<bool>);
    impl Authority for AwayOnce {
        fn decide(&self, access: &Access<'_>) -> Result<(), Refused> {
            let mut asked = self.0.lock().unwrap();
            if !std::mem::replace(&mut *asked, true) {
                return Err(Refused::Unavailable("roles are away".into()));
            }
            ServersRights.decide(access)
        }

        fn note(&self, _access: &Access<'_>, _outcome: &Result<(), Refused>) {}
    }
    let world = World::trained();
    let runner = world.start_under(Arc::new(world.store.clone()), Arc::<AwayOnce>::default());
    let arn = world.segment("waits", "s3://demo/in/q.json", "s3://demo/out/");
    world.wait_active(&arn);
    runner.stop();
}

#[test]
fn keys_are_asked_about_and_noted_once() {
    let world = World::new();
    let key = "arn:aws:kms:us-east-1:000000000000:key/1";
    let authority = AllBut::new("kms:Decrypt", key);
    let buckets = Buckets::new(Arc::new(world.store.clone()), authority.clone());
    let role = buckets.acting_as(Some("role"), "job");
    for _ in 0..2 {
        let refused = role.may_use_key("kms:Decrypt", key);
        assert!(matches!(
            refused,
            Err(StoreError::Key {
                problem: KeyProblem::Denied,
                ..
            })
        ));
        role.may_use_key("kms:GenerateDataKey", key).unwrap();
    }
    assert_eq!(
        *authority.noted.lock().unwrap(),
        [
            format!("role kms:Decrypt {key} false"),
            format!("role kms:GenerateDataKey {key} true")
        ]
    );
}
