//! Reads the type of an event.

use std::borrow::Cow;

use crate::config::EventTypeAt;
use crate::http::routes::webhooks::event_view::EventView;

/// The longest type, in characters: that of a relay's.
const MAX_EVENT_TYPE: usize = 128;

/// The type of an event; none if there is none, or it isn't 1 to 128 visible ASCII characters.
pub(super) fn event_type(at: &EventTypeAt, event: &EventView<'_>) -> Option<String> {
    let text = match at {
        EventTypeAt::Header(name) => {
            let mut values = event.request.headers.get_all(name).iter();
            let value = values.next().filter(|_| values.next().is_none())?;
            value.to_str().ok().map(Cow::Borrowed)
        }
        EventTypeAt::JsonPointer(pointer) => event.scalar_at(pointer).ok().flatten(),
    }?;
    let is_type = (1..=MAX_EVENT_TYPE).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_type.then(|| text.into_owned())
}
