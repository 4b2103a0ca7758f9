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

const PERSONALIZE: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"personalize:*","Resource":"*"},{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject","s3:ListBucket"],"Resource":["arn:aws:s3:::*Personalize*","arn:aws:s3:::*personalize*"]}]}"#;

pub(super) const ALL: [Managed; 3] = [
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
