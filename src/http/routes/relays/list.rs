//! `GET /v1/relays`.

use hyper::StatusCode;

use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::request_context::RequestContext;
use crate::http::response::{Response, json};
use crate::http::routes::relays::page::Page;
use crate::http::routes::relays::view::{RelayList, RelayView};
use crate::store::StoredRelay;

pub(super) async fn list(
    app: &App,
    context: &RequestContext,
    query: Option<&str>,
) -> Result<Response, ApiError> {
    let Page { size, after } = Page::parse(query.unwrap_or_default())?;
    let page = context.wait(app.store.relays_page(after, size)).await?;
    let bytes = page.relays.iter().map(StoredRelay::size).sum::<usize>();
    let work = move || {
        let next_page_token = page.next.map(|next| next.to_string());
        let list = RelayList {
            items: page.relays.iter().map(RelayView::new).collect(),
            next_page_token,
        };
        json(StatusCode::OK, &list)
    };
    app.offload.run_if_large(context, bytes, work).await
}
