//! The policies that exist without anybody having made them, under AWS's names.

/// A policy of AWS's that can be attached here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Managed {
    /// Path, beginning and ending with `/`.
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    /// In the form of IAM's ids.
    pub(super) id: &'static str,
    pub(super) description: &'static str,
    pub(super) document: &'static str,
}

impl Managed {
    pub(super) fn arn(&self, partition: &str) -> String {
        format!("arn:{partition}:iam::aws:policy{}{}", self.path, self.name)
    }
}

const PERSONALIZE: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"personalize:*","Resource":"*"},{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject","s3:ListBucket"],"Resource":["arn:aws:s3:::*Personalize*","arn:aws:s3:::*personalize*"]},{"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":"personalize.amazonaws.com"}}}]}"#;

/// Reads everything and changes nothing; secrets of access keys are shown to nobody.
const READ_ONLY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["personalize:Describe*","personalize:List*","personalize:Get*","s3:Get*","s3:List*","iam:Get*","iam:List*","sts:GetCallerIdentity","kms:Describe*","kms:List*"],"Resource":"*"}]}"#;

pub(super) const ALL: [Managed; 5] = [
    Managed {
        path: "/",
        name: "AdministratorAccess",
        id: "ANPAKINDREDADMINISTRA",
        description: "Everything",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
    },
    Managed {
        path: "/",
        name: "ReadOnlyAccess",
        id: "ANPAKINDREDREADONLYAC",
        description: "Reads everything and changes nothing",
        document: READ_ONLY,
    },
    Managed {
        path: "/",
        name: "AmazonPersonalizeFullAccess",
        id: "ANPAKINDREDPERSONALIZ",
        description: "All of Personalize, and buckets with personalize in their name",
        document: PERSONALIZE,
    },
    Managed {
        path: "/",
        name: "AmazonS3FullAccess",
        id: "ANPAKINDREDS3FULLACCE",
        description: "All buckets",
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#,
    },
    Managed {
        path: "/service-role/",
        name: "AmazonPersonalizeFullAccess",
        id: "ANPAKINDREDPERSSERVIC",
        description: "All of Personalize, and buckets with personalize in their name",
        document: PERSONALIZE,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Kind, Policy};

    #[test]
    fn every_document_is_understood() {
        for managed in ALL {
            Policy::parse(managed.document, Kind::Permissions).expect(managed.name);
        }
    }
}
