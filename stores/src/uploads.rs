//! The unfinished uploads of a bucket, as S3 lists them: `object_store` has no call for it, but signs a request of ours.

use std::fmt;

use async_trait::async_trait;
use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider,
};
use object_store::client::{
    HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector,
};
use object_store::path::Path;
use object_store::{ClientOptions, Error, Result};
use url::Url;

use crate::output::Uploads;

const STORE: &str = "S3";

/// See the module.
pub(crate) struct S3Uploads {
    endpoint: Url,
    region: String,
    credentials: Option<AwsCredentialProvider>,
    client: HttpClient,
}

impl fmt::Debug for S3Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Uploads").finish_non_exhaustive()
    }
}

/// Where the requests of a client go.
pub(crate) struct Address {
    endpoint: String,
    region: String,
    signed: bool,
}

impl Address {
    /// As the builder will have it; `None` for S3 Express, whose sessions are the client's own.
    pub(crate) fn of(builder: &AmazonS3Builder, bucket: &str) -> Option<Self> {
        let value = |key| builder.get_config_value(&key);
        let is_set = |key| {
            value(key).is_some_and(|text| {
                matches!(
                    text.to_ascii_lowercase().as_str(),
                    "1" | "true" | "on" | "yes" | "y"
                )
            })
        };
        if is_set(AmazonS3ConfigKey::S3Express) {
            return None;
        }
        let region = value(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
        let own =
            value(AmazonS3ConfigKey::S3Endpoint).or_else(|| value(AmazonS3ConfigKey::Endpoint));
        let hosted = is_set(AmazonS3ConfigKey::VirtualHostedStyleRequest);
        let endpoint = match (own, hosted) {
            (Some(endpoint), true) => endpoint,
            (Some(endpoint), false) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            (None, true) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
            (None, false) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
        };
        Some(Self {
            endpoint,
            region,
            signed: !is_set(AmazonS3ConfigKey::SkipSignature),
        })
    }
}

impl S3Uploads {
    /// The uploads of the bucket that `store` is the client of.
    pub(crate) fn new(address: Address, store: &AmazonS3, options: &ClientOptions) -> Result<Self> {
        let endpoint = Url::parse(&address.endpoint).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            endpoint,
            region: address.region,
            credentials: address.signed.then(|| store.credentials().clone()),
            client: ReqwestConnector::default().connect(options)?,
        })
    }

    async fn page(&self, prefix: &str, after: Option<&Marker>) -> Result<Page> {
        let mut url = self.endpoint.clone();
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("uploads", "")
                .append_pair("prefix", prefix);
            if let Some(Marker { key, upload }) = after {
                query
                    .append_pair("key-marker", key)
                    .append_pair("upload-id-marker", upload);
            }
        }
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        // The signature is over `%20`, whatever forms write.
        let text = url.as_str().replace('+', "%20");
        *request.uri_mut() = text
            .parse()
            .map_err(|_| failed(format!("'{}' is no address", self.endpoint)))?;
        if let Some(credentials) = &self.credentials {
            let credential = credentials.get_credential().await?;
            AwsAuthorizer::new(&credential, "s3", &self.region).authorize(&mut request, None);
        }
        let transport = |error| Error::Generic {
            store: STORE,
            source: Box::new(error),
        };
        let response = self.client.execute(request).await.map_err(transport)?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(transport)?;
        let body = String::from_utf8_lossy(&body);
        match status.as_u16() {
            200..=299 => Page::read(&body),
            // Not every store that speaks S3 knows this request; what is unfinished there, only the intents tell.
            405 | 501 => Ok(Page::default()),
            401 | 403 => Err(Error::PermissionDenied {
                path: prefix.to_owned(),
                source: format!("status code: {status}: {body}").into(),
            }),
            _ => Err(failed(format!(
                "Server returned non-2xx status code: {status}: {body}"
            ))),
        }
    }
}

#[async_trait]
impl Uploads for S3Uploads {
    async fn list(&self, prefix: &Path) -> Result<Vec<(Path, String)>> {
        let below = match prefix.as_ref() {
            "" => String::new(),
            path => format!("{path}/"),
        };
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let Page { uploads, next } = self.page(&below, after.as_ref()).await?;
            // A key that is no path is none of ours.
            found.extend(
                uploads
                    .into_iter()
                    .filter_map(|(key, upload)| Some((Path::parse(key).ok()?, upload))),
            );
            match next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }
}

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Marker {
    key: String,
    upload: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    uploads: Vec<(String, String)>,
    next: Option<Marker>,
}

impl Page {
    fn read(text: &str) -> Result<Self> {
        let Some((_, mut rest)) = text.split_once("<ListMultipartUploadsResult") else {
            return Err(failed("its list of uploads cannot be read".to_owned()));
        };
        let next = match element(rest, "IsTruncated").as_deref() {
            Some("true") => element(rest, "NextKeyMarker").map(|key| Marker {
                key,
                upload: element(rest, "NextUploadIdMarker").unwrap_or_default(),
            }),
            _ => None,
        };
        let mut uploads = Vec::new();
        while let Some((_, upload)) = rest.split_once("<Upload>") {
            let (upload, after) = upload.split_once("</Upload>").unwrap_or((upload, ""));
            if let (Some(key), Some(id)) = (element(upload, "Key"), element(upload, "UploadId")) {
                uploads.push((key, id));
            }
            rest = after;
        }
        Ok(Self { uploads, next })
    }
}

/// The text of the first element of this name.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = value
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&");
    Some(plain)
}

fn failed(what: String) -> Error {
    Error::Generic {
        store: STORE,
        source: what.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_uploads_is_read() {
        let text = "<?xml version=\"1.0\"?><ListMultipartUploadsResult xmlns=\"x\"><Bucket>lake</Bucket><IsTruncated>true</IsTruncated>\
            <NextKeyMarker>a&amp;b</NextKeyMarker><NextUploadIdMarker>u2</NextUploadIdMarker>\
            <Upload><Key>out/a&lt;1</Key><UploadId>u1</UploadId><Owner><ID>1</ID></Owner></Upload>\
            <Upload><Key>a&amp;b</Key><UploadId>u2</UploadId></Upload></ListMultipartUploadsResult>";
        let page = Page::read(text).unwrap();
        let pair = |key: &str, id: &str| (key.to_owned(), id.to_owned());
        assert_eq!(page.uploads, [pair("out/a<1", "u1"), pair("a&b", "u2")]);
        let next = page.next.unwrap();
        assert_eq!((next.key.as_str(), next.upload.as_str()), ("a&b", "u2"));
        let last = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        assert_eq!(Page::read(last).unwrap(), Page::default());
        assert!(Page::read("<html>").is_err());
    }
}
