//! `kindred access`: access keys with rights of their own.
//!
//! Each name is an IAM user of the server, each right one of its policies, so whatever is done here
//! can be looked at and changed with any IAM client. Talks to the running server over signed HTTP.
//! Secrets are shown once, when they are made, as a profile for a credentials file.

use crate::CliError;
use crate::client::{Client, ClientError};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::str::FromStr;

/// Pages of a listing that are read.
const PAGES_MAX: usize = 100;
/// Sees everything, changes nothing.
const READ_ONLY: &str = "ReadOnlyAccess";
const ADMINISTRATOR: &str = "AdministratorAccess";

#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    #[command(subcommand)]
    command: AccessCommand,
    /// The server's data directory: where it listens, and the operator's key.
    #[arg(long, global = true, default_value = "./kindred-data")]
    data_dir: PathBuf,
    /// Where the server listens, if not as the data directory says.
    #[arg(long, global = true)]
    endpoint: Option<String>,
}

#[derive(Debug, Subcommand)]
enum AccessCommand {
    /// Make a name with rights and a key, and print the key as a profile.
    Create {
        /// Who uses the key.
        name: String,
        /// What it may do: `administrator`, `read-only`, `dataset-group:NAME` (all work in that
        /// group), `bucket:NAME` (its objects), `role:NAME` (give that role to jobs). May be
        /// repeated.
        #[arg(long, required = true)]
        rights: Vec<Right>,
    },
    /// List names, their rights and their keys.
    List,
    /// Make a new key for a name, print it, and delete the old ones.
    Rotate {
        /// Who uses the key.
        name: String,
        /// Let the newest old key work until the next rotation.
        #[arg(long)]
        keep_old: bool,
    },
    /// Switch off all keys of a name.
    Disable {
        /// Who uses the keys.
        name: String,
    },
    /// Switch all keys of a name on again.
    Enable {
        /// Who uses the keys.
        name: String,
    },
    /// Delete a name with its rights and keys.
    Delete {
        /// Who used the keys.
        name: String,
    },
}

/// Something that a key may do.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Right {
    Administrator,
    ReadOnly,
    DatasetGroup(String),
    Bucket(String),
    Role(String),
}

impl FromStr for Right {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let good = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let named = !name.is_empty() && name.len() <= 64 && name.chars().all(good);
        match (kind, named) {
            ("administrator", false) if name.is_empty() => Ok(Right::Administrator),
            ("read-only", false) if name.is_empty() => Ok(Right::ReadOnly),
            ("dataset-group", true) => Ok(Right::DatasetGroup(name.into())),
            ("bucket", true) => Ok(Right::Bucket(name.into())),
            ("role", true) => Ok(Right::Role(name.into())),
            _ => Err(
                "expected administrator, read-only, dataset-group:NAME, bucket:NAME or role:NAME"
                    .into(),
            ),
        }
    }
}

impl Right {
    /// The policy that gives the right: the name of one that the server has, or one of the user's.
    fn policy(&self) -> Policy {
        let inline = |kind: &str, name: &str, statements: Value| Policy::Inline {
            name: format!("{kind}={name}"),
            document: json!({"Version": "2012-10-17", "Statement": statements}).to_string(),
        };
        match self {
            Right::Administrator => Policy::Managed(ADMINISTRATOR),
            Right::ReadOnly => Policy::Managed(READ_ONLY),
            Right::DatasetGroup(name) => inline(
                "dataset-group",
                name,
                json!([
                    {"Effect": "Allow", "Action": "personalize:*", "Resource": "*",
                     "Condition": {"StringEquals": {"kindred:DatasetGroup": name}}},
                    {"Effect": "Allow", "Resource": "*", "Action": [
                        "personalize:CreateSchema", "personalize:DescribeSchema",
                        "personalize:ListRecipes", "personalize:DescribeRecipe",
                        "personalize:DescribeAlgorithm",
                        "personalize:DescribeFeatureTransformation"]},
                ]),
            ),
            Right::Bucket(name) => inline(
                "bucket",
                name,
                json!([{"Effect": "Allow",
                    "Resource": [format!("arn:*:s3:::{name}"), format!("arn:*:s3:::{name}/*")],
                    "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket",
                        "s3:GetObjectTagging", "s3:PutObjectTagging", "s3:DeleteObjectTagging",
                        "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
                        "s3:ListBucketMultipartUploads", "s3:GetBucketLocation"]}]),
            ),
            Right::Role(name) => inline(
                "role",
                name,
                json!([{"Effect": "Allow", "Action": "iam:PassRole",
                    "Resource": format!("arn:*:iam::*:role/{name}")}]),
            ),
        }
    }
}

enum Policy {
    Managed(&'static str),
    Inline { name: String, document: String },
}

/// A key as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    id: String,
    status: String,
    created: String,
}

/// Runs the command.
pub(crate) fn run(args: &AccessArgs) -> Result<(), CliError> {
    let server = Server(Client::of(&args.data_dir, args.endpoint.as_deref())?);
    match &args.command {
        AccessCommand::Create { name, rights } => server.create(name, rights)?,
        AccessCommand::List => server.list()?,
        AccessCommand::Rotate { name, keep_old } => server.rotate(name, *keep_old)?,
        AccessCommand::Disable { name } => server.switch(name, "Inactive")?,
        AccessCommand::Enable { name } => server.switch(name, "Active")?,
        AccessCommand::Delete { name } => server.delete(name)?,
    }
    Ok(())
}

struct Server(Client);

impl Server {
    fn create(&self, name: &str, rights: &[Right]) -> Result<(), ClientError> {
        self.0.iam("CreateUser", &[("UserName", name)])?;
        for right in rights {
            match right.policy() {
                Policy::Managed(policy) => {
                    let arn = format!("arn:{}:iam::aws:policy/{policy}", self.partition()?);
                    let form = [("UserName", name), ("PolicyArn", arn.as_str())];
                    self.0.iam("AttachUserPolicy", &form)?;
                }
                Policy::Inline {
                    name: policy,
                    document,
                } => {
                    let form = [
                        ("UserName", name),
                        ("PolicyName", policy.as_str()),
                        ("PolicyDocument", document.as_str()),
                    ];
                    self.0.iam("PutUserPolicy", &form)?;
                }
            }
        }
        self.new_key(name)
    }

    /// Makes a key and prints it, the only time that its secret is shown.
    fn new_key(&self, name: &str) -> Result<(), ClientError> {
        let answer = self.0.iam("CreateAccessKey", &[("UserName", name)])?;
        let element = |element: &str| elements(&answer, element).into_iter().next();
        println!("[{name}]");
        println!(
            "aws_access_key_id = {}",
            element("AccessKeyId").unwrap_or_default()
        );
        println!(
            "aws_secret_access_key = {}",
            element("SecretAccessKey").unwrap_or_default()
        );
        Ok(())
    }

    fn list(&self) -> Result<(), ClientError> {
        let names = self.all("ListUsers", &[], "UserName")?;
        if names.is_empty() {
            println!("no names yet: the keys of the credentials file are the operator's");
        }
        for name in names {
            let user = [("UserName", name.as_str())];
            let attached = self.all("ListAttachedUserPolicies", &user, "PolicyName")?;
            let inline = self.0.iam("ListUserPolicies", &user)?;
            let inline = elements(&inline, "member");
            let rights: Vec<String> = attached.into_iter().chain(inline).map(shown).collect();
            let rights = match rights.is_empty() {
                true => "nothing".to_owned(),
                false => rights.join(", "),
            };
            println!("{name}: {rights}");
            for key in self.keys(&name)? {
                println!("    {}  {}  since {}", key.id, key.status, key.created);
            }
        }
        Ok(())
    }

    fn rotate(&self, name: &str, keep_old: bool) -> Result<(), ClientError> {
        // Oldest first. A name has two keys at most, so the older one makes room.
        let mut old = self.keys(name)?;
        old.sort_by(|a, b| a.created.cmp(&b.created));
        if old.len() > 1 {
            self.delete_key(name, &old.remove(0).id)?;
        }
        self.new_key(name)?;
        if !keep_old {
            for key in old {
                self.delete_key(name, &key.id)?;
            }
        }
        Ok(())
    }

    fn switch(&self, name: &str, status: &str) -> Result<(), ClientError> {
        for key in self.keys(name)? {
            let form = [
                ("UserName", name),
                ("AccessKeyId", key.id.as_str()),
                ("Status", status),
            ];
            self.0.iam("UpdateAccessKey", &form)?;
        }
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<(), ClientError> {
        let user = [("UserName", name)];
        // Keys first: from here on the name can do nothing, whatever comes in between.
        for key in self.keys(name)? {
            self.delete_key(name, &key.id)?;
        }
        for arn in self.all("ListAttachedUserPolicies", &user, "PolicyArn")? {
            self.0.iam(
                "DetachUserPolicy",
                &[("UserName", name), ("PolicyArn", &arn)],
            )?;
        }
        for policy in elements(&self.0.iam("ListUserPolicies", &user)?, "member") {
            self.0.iam(
                "DeleteUserPolicy",
                &[("UserName", name), ("PolicyName", &policy)],
            )?;
        }
        self.0.iam("DeleteUser", &user).map(|_| ())
    }

    fn delete_key(&self, name: &str, id: &str) -> Result<(), ClientError> {
        let form = [("UserName", name), ("AccessKeyId", id)];
        self.0.iam("DeleteAccessKey", &form).map(|_| ())
    }

    fn keys(&self, name: &str) -> Result<Vec<Key>, ClientError> {
        let answer = self.0.iam("ListAccessKeys", &[("UserName", name)])?;
        let columns = ["AccessKeyId", "Status", "CreateDate"];
        let [ids, statuses, dates] = columns.map(|column| elements(&answer, column));
        let rows = ids.into_iter().zip(statuses).zip(dates);
        Ok(rows
            .map(|((id, status), created)| Key {
                id,
                status,
                created,
            })
            .collect())
    }

    /// The elements of a whole listing, page after page.
    fn all(
        &self,
        action: &str,
        form: &[(&str, &str)],
        element: &str,
    ) -> Result<Vec<String>, ClientError> {
        let mut found = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut form = form.to_vec();
            form.extend(marker.as_deref().map(|marker| ("Marker", marker)));
            let answer = self.0.iam(action, &form)?;
            found.extend(elements(&answer, element));
            marker = elements(&answer, "Marker").into_iter().next();
            if marker.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn partition(&self) -> Result<String, ClientError> {
        let answer = self.0.sts("GetCallerIdentity", &[])?;
        let arn = elements(&answer, "Arn").into_iter().next();
        let arn = arn.unwrap_or_default();
        Ok(arn.split(':').nth(1).unwrap_or("aws").to_owned())
    }
}

/// A policy's name as the right that it gives.
fn shown(policy: String) -> String {
    match policy.as_str() {
        ADMINISTRATOR => "administrator".into(),
        READ_ONLY => "read-only".into(),
        other => other.replacen('=', ":", 1),
    }
}

/// The contents of all elements of a name that hold text. The names asked for here have no markup in
/// them: IAM allows letters, digits and a few signs.
fn elements(body: &str, name: &str) -> Vec<String> {
    let opening = format!("<{name}>");
    let closing = format!("</{name}>");
    body.split(&opening)
        .skip(1)
        .filter_map(|rest| rest.split_once(&closing))
        .map(|(text, _)| text.to_owned())
        .filter(|text| !text.contains('<'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_and_mistakes_refused() {
        assert_eq!("administrator".parse(), Ok(Right::Administrator));
        assert_eq!("read-only".parse(), Ok(Right::ReadOnly));
        let shop = "dataset-group:shop".parse::<Right>();
        assert_eq!(shop, Ok(Right::DatasetGroup("shop".into())));
        for bad in [
            "",
            "admin",
            "dataset-group",
            "dataset-group:",
            "bucket:a/b",
            "read-only:x",
            "role:*",
        ] {
            assert!(bad.parse::<Right>().is_err(), "{bad}");
        }
    }

    #[test]
    fn policies_are_listed_as_the_rights_they_give() {
        for text in ["dataset-group:shop", "bucket:data", "role:kindred"] {
            match text.parse::<Right>().unwrap().policy() {
                Policy::Inline { name, .. } => assert_eq!(shown(name), text),
                Policy::Managed(name) => panic!("{name}"),
            }
        }
        assert_eq!(shown(ADMINISTRATOR.into()), "administrator");
    }
}
