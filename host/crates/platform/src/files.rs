//! Data files: stored, listed, fetched and deleted as a whole. Jobs read them and write them.

use aimass_core::data::{FileName, Format};
use aimass_core::event::{Event, FileDeleted, FileStored};
use aimass_core::limits::MAX_DATA_FILE;
use aimass_core::{Code, Digest, Fault, Result, Tenant};
use aimass_store::{BlobReader, BlobWriter, FileRow};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use crate::objects::{PAGE, Page};
use crate::{Asked, Platform, Scope};

/// Bytes of a file that are fetched at once.
const CHUNK: usize = 128 << 10;

/// A data file as the API shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FileDocument {
    /// Its name.
    pub name: FileName,
    /// What its name's ending says that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
    /// When they came, milliseconds since the epoch.
    pub stored_ms: u64,
    /// The subject of the token that brought them.
    pub stored_by: String,
    /// The job that they are the result of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

impl From<FileRow> for FileDocument {
    fn from(row: FileRow) -> Self {
        let FileRow { name, digest, size, stored_ms, stored_by, job, .. } = row;
        Self { format: Format::of(name.as_str()), name, digest, size, stored_ms, stored_by, job }
    }
}

/// A data file on its way in. Dropping it leaves nothing behind.
pub struct FileUpload {
    tenant: Tenant,
    name: FileName,
    expected: Option<Digest>,
    writer: BlobWriter,
    taken: u64,
}

impl FileUpload {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// `payload_too_large` as soon as the limit is passed; `storage_full`.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.taken += bytes.len() as u64;
        if self.taken > MAX_DATA_FILE {
            return Err(Fault::new(Code::PayloadTooLarge, format!("a data file is at most {MAX_DATA_FILE} bytes")));
        }
        self.writer.write(bytes).await
    }
}

/// A data file on its way out.
pub struct FileContent {
    /// What it is.
    pub document: FileDocument,
    reader: Option<BlobReader>,
    at: u64,
}

impl FileContent {
    /// The next bytes; none behind the last ones.
    ///
    /// # Errors
    /// `integrity`, `internal`.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(mut reader) = self.reader.take() else { return Ok(None) };
        let at = self.at;
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; CHUNK];
            let length = reader.read_at(at, &mut bytes)?;
            bytes.truncate(length);
            Ok::<_, Fault>((reader, bytes))
        });
        let (reader, bytes) = read.await.map_err(Fault::internal)??;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.at += bytes.len() as u64;
        self.reader = Some(reader);
        Ok(Some(bytes.into()))
    }
}

impl Platform {
    /// Starts to store a data file under a new or an old name. `expected` is what it must hold now.
    ///
    /// # Errors
    /// `insufficient_scope`; `precondition_failed`.
    pub async fn begin_file(&self, asked: Asked<'_>, name: FileName, expected: Option<Digest>) -> Result<FileUpload> {
        let tenant = asked.tenant(Scope::DataWrite)?.clone();
        check_expected(self.store.state().file(&tenant, &name)?, expected)?;
        let writer = self.store.blobs().writer(&tenant).await?;
        Ok(FileUpload { tenant, name, expected, writer, taken: 0 })
    }

    /// Makes what came the file's content; whether it was another one before, or none.
    ///
    /// # Errors
    /// `precondition_failed`, `storage_full`. Then nothing is changed.
    pub async fn finish_file(&self, asked: Asked<'_>, upload: FileUpload) -> Result<(FileDocument, bool)> {
        let FileUpload { tenant, name, expected, writer, .. } = upload;
        let (digest, size) = writer.finish().await?;
        let (owner, wanted) = (tenant.clone(), name.clone());
        let created = self
            .store
            .write(asked.actor(), move |state| {
                let before = state.file(&owner, &wanted)?;
                if before.as_ref().is_some_and(|row| row.digest == digest) {
                    return Ok((None, false));
                }
                check_expected(before, expected)?;
                let tenant = owner.name().clone();
                Ok((Some(Event::FileStored(FileStored { tenant, name: wanted, digest, size })), true))
            })
            .await?;
        let row = self.store.state().file(&tenant, &name)?.ok_or_else(Fault::not_found)?;
        Ok((row.into(), created))
    }

    /// Lists the tenant's data files by name.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn files(
        &self,
        asked: Asked<'_>,
        after: Option<&FileName>,
        limit: Option<usize>,
    ) -> Result<Page<FileDocument>> {
        let tenant = asked.tenant(Scope::DataRead)?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let rows = self.store.state().files(tenant, after, limit + 1)?;
        Ok(Page::cut(rows.into_iter().map(FileDocument::from), limit, |file| file.name.to_string()))
    }

    /// Opens a data file, to be fetched piece by piece.
    ///
    /// # Errors
    /// `not_found`; `integrity`.
    pub async fn file(&self, asked: Asked<'_>, name: &FileName) -> Result<FileContent> {
        let tenant = asked.tenant(Scope::DataRead)?;
        let row = self.store.state().file(tenant, name)?.ok_or_else(Fault::not_found)?;
        let reader = self.store.blobs().open_reader(tenant, &row.digest).await?;
        Ok(FileContent { document: row.into(), reader: Some(reader), at: 0 })
    }

    /// Deletes a data file. Jobs that read it go on.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn delete_file(&self, asked: Asked<'_>, name: &FileName) -> Result<()> {
        let tenant = asked.tenant(Scope::DataWrite)?.name().clone();
        let event = Event::FileDeleted(FileDeleted { tenant, name: name.clone() });
        // That there is one, the event's own rule says.
        self.store.write(asked.actor(), move |_| Ok((Some(event), ()))).await
    }
}

fn check_expected(before: Option<FileRow>, expected: Option<Digest>) -> Result<()> {
    if expected.is_none_or(|expected| before.is_some_and(|row| row.digest == expected)) {
        return Ok(());
    }
    Err(Fault::new(Code::PreconditionFailed, "the file holds something else"))
}
