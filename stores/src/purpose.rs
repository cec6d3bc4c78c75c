//! What somebody wants of a place: an error says whether it cannot be read or cannot be written, and which right is missing.

/// Why a store is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    #[default]
    Read,
    /// To write there, and to read what was written.
    Write,
}

impl Purpose {
    /// As in "it cannot be ...".
    pub(crate) fn done(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "written",
        }
    }

    /// The rights that S3 calls so.
    pub(crate) fn s3_rights(self) -> &'static str {
        match self {
            Self::Read => {
                "the right to read it (s3:GetObject, and s3:ListBucket to see what is missing)"
            }
            Self::Write => {
                "the rights to write it (s3:PutObject, s3:GetObject, s3:DeleteObject, s3:ListBucket, s3:AbortMultipartUpload, s3:ListBucketMultipartUploads)"
            }
        }
    }

    /// The role that Azure calls so.
    pub(crate) fn azure_role(self) -> &'static str {
        match self {
            Self::Read => "Storage Blob Data Reader",
            Self::Write => "Storage Blob Data Contributor",
        }
    }
}
