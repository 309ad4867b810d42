//! What can be done with archives.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bulkhead_audit::{Actor, Event};
use bulkhead_iam::{
    Iam,
    identities::{self, IdentityError},
};
use bulkhead_jobs::Owner;
use bulkhead_kernel::{
    clock::Clock,
    config,
    idempotency::IdempotencyKey,
    ids::{ExportId, IdentityId, ImportId, TenantId},
    origin::Origin,
};
use bulkhead_tenancy::{Cluster, ControlTx, Db, Slug};
use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::{Stream, TryStreamExt};
use serde_json::Value;
use tokio::{
    fs::{self, File, OpenOptions},
    io::{AsyncWriteExt, BufWriter},
    time::timeout,
};
use uuid::Uuid;

use super::{
    ArchiveError, Export, Import, ImportRequest, Imported, Manifest, Requested, State, import,
    jobs::{ExportTenant, ImportTenant},
    reader,
    store::{self, NewImport},
};
use crate::{Membership, TenantError, TenantName, capacity, service as tenants, store as tenant_store};

/// The folder of archives, which all processes share; cheap to clone.
#[derive(Debug, Clone)]
pub struct Archives(Arc<config::Archives>);

impl Archives {
    /// As the settings say; nothing is made before it is needed.
    #[must_use]
    pub fn new(settings: &config::Archives) -> Self {
        Self(Arc::new(settings.clone()))
    }

    /// Where they lie.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    pub(super) fn file_of(&self, export: ExportId) -> PathBuf {
        self.dir().join(format!("{export}.tar"))
    }

    pub(super) fn part_of(&self, export: ExportId) -> PathBuf {
        self.dir().join(format!("{export}.{}.part", Uuid::now_v7().simple()))
    }

    pub(super) fn upload_of(&self, import: ImportId) -> PathBuf {
        self.dir().join(format!("{import}.tar"))
    }

    pub(super) fn patience(&self) -> Duration {
        self.0.table_timeout
    }

    pub(super) fn retention(&self) -> TimeDelta {
        TimeDelta::from_std(self.0.retention).unwrap_or(TimeDelta::days(7))
    }

    async fn make_dir(&self) -> io::Result<()> {
        let mut options = fs::DirBuilder::new();
        options.recursive(true).mode(0o700);
        options.create(self.dir()).await
    }

    /// Makes the names in the folder durable.
    pub(super) async fn sync(&self) -> io::Result<()> {
        File::open(self.dir()).await?.sync_all().await
    }

    /// Removes what earlier attempts at the export left.
    pub(super) async fn remove_parts(&self, export: ExportId) -> io::Result<()> {
        self.make_dir().await?;
        let mut files = fs::read_dir(self.dir()).await?;
        while let Some(file) = files.next_entry().await? {
            let name = file.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&format!("{export}.")) && name.ends_with(".part") {
                fs::remove_file(file.path()).await?;
            }
        }
        Ok(())
    }
}

/// On what ground somebody may have a tenant's archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    /// As one of its owners.
    Owner(Membership),
    /// As an operator.
    Operator,
}

/// Refuses everybody but owners of the tenant and operators; who is neither and no member learns nothing of it.
pub async fn authorize(iam: &Iam, identity: IdentityId, tenant: TenantId) -> Result<Ground, ArchiveError> {
    let membership = match tenants::get(&iam.db, identity, tenant).await {
        Ok(membership) if membership.role == "owner" => return Ok(Ground::Owner(membership)),
        Ok(membership) => Some(membership),
        Err(TenantError::NotFound) => None,
        Err(error) => return Err(error.into()),
    };
    match identities::service::require_operator(iam, identity).await {
        Ok(()) => return Ok(Ground::Operator),
        Err(IdentityError::NotAnOperator) => {}
        Err(IdentityError::Database(error)) => return Err(error.into()),
        Err(_) => return Err(ArchiveError::NotAnOwner),
    }
    Err(match membership {
        Some(_) => ArchiveError::NotAnOwner,
        None => TenantError::NotFound.into(),
    })
}

/// Asks for an archive of the tenant. One at a time is written.
pub async fn export(
    origin: &Origin,
    db: &Db,
    archives: &Archives,
    clock: &Clock,
    by: (IdentityId, Actor),
    tenant: TenantId,
) -> Result<Requested, ArchiveError> {
    export_as(origin, db, archives, clock, by, (tenant, ExportId::new())).await
}

/// The same under an id of the caller's.
pub async fn export_as(
    origin: &Origin,
    db: &Db,
    archives: &Archives,
    clock: &Clock,
    (by, actor): (IdentityId, Actor),
    (tenant, id): (TenantId, ExportId),
) -> Result<Requested, ArchiveError> {
    let now = clock.now();
    let mut tx = db.control().await?;
    match store::find_is_built(&mut tx, tenant).await? {
        Some(true) => {}
        Some(false) => return Err(bulkhead_tenancy::DbError::TenantNotActive.into()),
        None => return Err(TenantError::NotFound.into()),
    }
    store::fail_abandoned_exports(&mut tx, now, now + archives.retention()).await?;
    let job = ExportTenant { tenant, export: id };
    let job = bulkhead_jobs::enqueue_for(origin, &mut tx, Owner::Platform, &job).await?;
    let job = job.ok_or(ArchiveError::InProgress)?;
    store::insert_export(&mut tx, id, tenant, job, by).await?;
    let event = Event::new("tenant.export", actor, origin, now)
        .on("tenant", tenant)
        .on("export", id);
    bulkhead_audit::record_for(&mut tx, tenant, event).await?;
    tx.commit().await?;
    Ok(Requested { id, job })
}

/// Tells that an operator took an archive along, before the first byte of it goes; what owners take is theirs.
pub async fn record_download(
    origin: &Origin,
    db: &Db,
    actor: Actor,
    tenant: TenantId,
    id: ExportId,
) -> Result<(), ArchiveError> {
    if !actor.is_operator() {
        return Ok(());
    }
    let event = Event::now("tenant.download_export", actor, origin)
        .on("tenant", tenant)
        .on("export", id);
    let mut tx = db.control().await?;
    bulkhead_audit::record_for(&mut tx, tenant, event).await?;
    Ok(tx.commit().await?)
}

/// An export of the tenant.
pub async fn get_export(db: &Db, tenant: TenantId, export: ExportId) -> Result<Export, ArchiveError> {
    let mut tx = db.control().await?;
    let found = store::find_export(&mut tx, export, Some(tenant)).await?;
    tx.commit().await?;
    found.ok_or(ArchiveError::NotFound)
}

/// The file of an export that is ready. It can be read to its end also when it expires meanwhile.
pub async fn open(
    db: &Db,
    archives: &Archives,
    tenant: TenantId,
    export: ExportId,
) -> Result<(Export, File), ArchiveError> {
    let export = get_export(db, tenant, export).await?;
    if export.state != State::Ready {
        return Err(ArchiveError::NotReady);
    }
    let file = File::open(archives.file_of(export.id)).await?;
    Ok((export, file))
}

/// An archive that waits for its import. The file goes when this is dropped, unless the import took it over.
#[derive(Debug)]
pub struct Upload {
    id: ImportId,
    path: PathBuf,
    is_kept: bool,
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed now is swept up later.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Upload {
    async fn new(archives: &Archives) -> io::Result<Self> {
        archives.make_dir().await?;
        let id = ImportId::new();
        let path = archives.upload_of(id);
        Ok(Self {
            id,
            path,
            is_kept: false,
        })
    }
}

/// Takes an archive over the wire, within the size and the time of the settings.
pub async fn receive<E>(
    archives: &Archives,
    body: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<Upload, ArchiveError> {
    let upload = Upload::new(archives).await?;
    let limit = archives.0.max_upload_bytes;
    let received = timeout(archives.0.upload_timeout, store_body(&upload.path, limit, body)).await;
    received.unwrap_or(Err(ArchiveError::TooSlow))?;
    Ok(upload)
}

async fn store_body<E>(
    path: &Path,
    limit: u64,
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<(), ArchiveError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = BufWriter::with_capacity(256 * 1024, options.open(path).await?);
    let mut n_bytes = 0;
    while let Some(piece) = body.try_next().await.map_err(|_| ArchiveError::BrokenOff)? {
        n_bytes += piece.len() as u64;
        if n_bytes > limit {
            return Err(ArchiveError::TooLarge);
        }
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    Ok(file.get_ref().sync_all().await?)
}

/// Takes the archive of an export that lies here.
pub async fn reuse(db: &Db, archives: &Archives, export: ExportId) -> Result<Upload, ArchiveError> {
    let mut tx = db.control().await?;
    let found = store::find_export(&mut tx, export, None).await?;
    tx.commit().await?;
    if found.ok_or(ArchiveError::NotFound)?.state != State::Ready {
        return Err(ArchiveError::NotReady);
    }
    let upload = Upload::new(archives).await?;
    // A second name for the same file: it stays when the export expires.
    if fs::hard_link(archives.file_of(export), &upload.path).await.is_err() {
        fs::copy(archives.file_of(export), &upload.path).await?;
    }
    Ok(upload)
}

/// Checks the archive whole and makes a pending tenant for it; a worker does the rest. Under an idempotency key the same
/// request with the same archive is answered the same way without a second tenant.
pub async fn import(
    origin: &Origin,
    db: &Db,
    by: IdentityId,
    mut upload: Upload,
    wanted: &ImportRequest,
) -> Result<Imported, ArchiveError> {
    let (manifest, sha256) = reader::verify(&upload.path).await?;
    import::check_shared(&manifest)?;
    let hash = wanted.hash(&sha256);
    let mut tx = db.control().await?;
    if let Some(key) = &wanted.key
        && let Some(known) = known(&mut tx, by, key, &hash).await?
    {
        tx.commit().await?;
        return Ok(known);
    }
    capacity::service::require_room(&mut tx, db, &Cluster::home()).await?;
    let tenant = TenantId::new();
    let (name, slug) = names(&mut tx, &manifest, wanted, tenant).await?;
    let job = ImportTenant {
        tenant,
        import: upload.id,
    };
    let job = bulkhead_jobs::enqueue_for(origin, &mut tx, Owner::Platform, &job).await?;
    let job = job.ok_or(TenantError::InProgress)?;
    let new = NewImport {
        id: upload.id,
        tenant,
        name: name.as_str(),
        slug: slug.as_str(),
        job,
        by,
        members: wanted.members,
        key: wanted.key.as_ref().map(IdempotencyKey::as_str),
        hash: &hash,
    };
    store::insert_import(&mut tx, &new).await?;
    tenant_store::insert_steps(&mut tx, tenant, &import::step_names(&manifest)).await?;
    let event = Event::now("tenant.import", Actor::operator(origin), origin)
        .on("tenant", tenant)
        .on("import", upload.id)
        .change("name", Value::Null, name.as_str())
        .change("slug", Value::Null, slug.as_str());
    bulkhead_audit::record_for(&mut tx, tenant, event).await?;
    // From here on the file belongs to the import, whatever becomes of the answer to the commit.
    upload.is_kept = true;
    tx.commit().await?;
    Ok(Imported {
        tenant,
        name: name.as_str().to_owned(),
        slug: slug.to_string(),
        import: Some(upload.id),
        job,
    })
}

/// What the key led to before.
async fn known(
    tx: &mut ControlTx,
    by: IdentityId,
    key: &IdempotencyKey,
    hash: &[u8],
) -> Result<Option<Imported>, ArchiveError> {
    let Some((created, earlier)) = tenant_store::find_by_key(tx, by, key).await? else {
        return Ok(None);
    };
    if earlier != hash {
        return Err(TenantError::KeyReused.into());
    }
    let (about, _) = store::get_tenant(tx, created.id).await?;
    Ok(Some(Imported {
        tenant: created.id,
        name: about.name,
        slug: about.slug,
        import: store::find_import_of(tx, created.id).await?,
        job: created.job,
    }))
}

/// The name and the slug: as asked for, else as in the archive, where the slug has to be free.
async fn names(
    tx: &mut ControlTx,
    manifest: &Manifest,
    wanted: &ImportRequest,
    tenant: TenantId,
) -> Result<(TenantName, Slug), ArchiveError> {
    let name = match &wanted.name {
        Some(name) => name.clone(),
        None => manifest
            .tenant
            .name
            .parse()
            .map_err(|_| ArchiveError::Invalid("the tenant's name is none".into()))?,
    };
    let slug = match &wanted.slug {
        Some(slug) => slug.clone(),
        None => tenants::free_slug(tx, &name, manifest.tenant.slug.parse().ok(), tenant).await?,
    };
    Ok((name, slug))
}

/// An import.
pub async fn get_import(db: &Db, import: ImportId) -> Result<Import, ArchiveError> {
    let mut tx = db.control().await?;
    let found = store::find_import(&mut tx, import).await?;
    tx.commit().await?;
    found.ok_or(ArchiveError::NotFound)
}
