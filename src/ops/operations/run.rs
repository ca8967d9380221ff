use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::ops::operations::invalid::{Invalid, Spelling};
use crate::ops::operations::request::{OperationRequest, Scope};
use crate::store::{
    BulkAction, BulkId, BulkPreview, NewBulk, OperationCreation, Routing, Store, StoreError,
    StoredOperation,
};

/// The reason why a request makes no operation.
#[derive(Debug)]
pub(crate) enum PlanError {
    Invalid(Invalid),
    Store(StoreError),
}

impl From<Invalid> for PlanError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<StoreError> for PlanError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The operation that a request asks for, checked against the configuration and the store.
pub(crate) async fn plan(
    store: &Store,
    (config, now): (&Resolved, Timestamp),
    request: &OperationRequest,
) -> Result<NewBulk, PlanError> {
    request.check(Spelling::Members)?;
    let is_stored = match request.named() {
        Some(name) => store.is_destination(name.to_owned()).await?,
        None => false,
    };
    if let Some(id) = store.first_unknown(request.ids.clone()).await? {
        let problem = format!("there is no relay or event {id}");
        return Err(Invalid::unfit("ids", problem).into());
    }
    let scope = Scope {
        config,
        now,
        is_stored,
        spelling: Spelling::Members,
    };
    Ok(request.build(&scope)?)
}

/// Counts the acts of an operation up to 10 000, and shows the first ten.
pub(crate) async fn preview(
    store: &Store,
    new: NewBulk,
    routing: impl Routing + Send + 'static,
) -> Result<BulkPreview, StoreError> {
    store.preview_operation(new, routing).await
}

/// An operation that a request has created, or had created before.
#[derive(Debug)]
pub(crate) enum Created {
    /// It is under way.
    New(StoredOperation),
    /// The same request was made before.
    Before(StoredOperation),
    /// Another request was made before with the same nonce.
    Conflict,
}

/// Creates an operation, which the server then makes. Of two requests with the same nonce one does.
pub(crate) async fn create(
    store: &Store,
    who: &str,
    nonce: Option<String>,
    new: NewBulk,
) -> Result<Created, StoreError> {
    let new = NewBulk {
        actor: Some(who.to_owned()),
        nonce,
        ..new
    };
    // A destination is tried together with its waiting deliveries.
    let probed = new.filter.destination.clone();
    let probed = probed.filter(|_| new.action == BulkAction::Retry && new.filter.ids.is_empty());
    let created = match store.create_operation(new).await? {
        OperationCreation::New(created) => created,
        OperationCreation::Before(before) => return Ok(Created::Before(before)),
        OperationCreation::Conflict => return Ok(Created::Conflict),
    };
    log::info!(
        who, operation:% = created.id, kind = created.action.name(),
        destination = created.filter.destination.as_deref(), to = created.target.as_deref(),
        total = created.total;
        "operation created"
    );
    if let Some(destination) = probed {
        store.probe_now(destination).await?;
    }
    Ok(Created::New(created))
}

/// Ends an operation before it is done. Returns whether it was under way, and how it stands; none
/// if there is no such operation.
pub(crate) async fn cancel(
    store: &Store,
    who: &str,
    id: BulkId,
) -> Result<Option<(bool, StoredOperation)>, StoreError> {
    let Some((is_changed, operation)) = store.cancel_operation(id).await? else {
        return Ok(None);
    };
    if is_changed {
        log::info!(
            who, operation:% = operation.id, kind = operation.action.name(),
            done = operation.tally.done;
            "operation cancelled"
        );
    }
    Ok(Some((is_changed, operation)))
}
