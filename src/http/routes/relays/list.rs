//! `GET /v1/relays`.

use hyper::StatusCode;

use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::request_context::RequestContext;
use crate::http::response::{Response, json};
use crate::http::routes::relays::page::{Page, token_after};
use crate::http::routes::relays::view::{RelayList, RelayView};
use crate::store::RelayRow;

pub(super) async fn list(
    app: &App,
    context: &RequestContext,
    query: Option<&str>,
) -> Result<Response, ApiError> {
    let Page { size, after } = Page::parse(query.unwrap_or_default())?;
    let (rows, has_more) = context
        .wait(app.store.read(move |sql| RelayRow::page(sql, after, size)))
        .await?;
    let request_id = context.id().to_owned();
    let bytes = rows.iter().map(RelayRow::size).sum::<usize>();
    let work = move || {
        let next_page_token = rows
            .last()
            .filter(|_| has_more)
            .map(|last| token_after(last.id));
        let items = rows
            .iter()
            .map(|row| RelayView::new(row, &request_id))
            .collect::<Result<_, _>>()?;
        let list = RelayList {
            items,
            next_page_token,
        };
        Ok(json(StatusCode::OK, &list))
    };
    app.offload.run_if_large(context, bytes, work).await?
}
