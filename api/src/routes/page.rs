//! How a page of a list goes over the wire.

use bulkhead_kernel::page::Page;
use serde::Serialize;
use utoipa::ToSchema;

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub struct PageBody<T> {
    /// The items of this page.
    items: Vec<T>,
    /// Items on all pages.
    total: i64,
    /// The page, from 1.
    page: u32,
    /// The most items on a page.
    limit: u32,
}

impl<T> PageBody<T> {
    /// The page with each item as it goes over the wire.
    pub fn of<U>(page: Page<U>, item: impl FnMut(U) -> T) -> Self {
        Self {
            items: page.items.into_iter().map(item).collect(),
            total: page.total,
            page: page.request.page(),
            limit: page.request.limit(),
        }
    }
}
