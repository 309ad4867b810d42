//! Pages of a list: `page` counts from 1, `limit` is 1 to 100.

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    page: u32,
    limit: u32,
}

impl PageRequest {
    /// The most rows a page may hold.
    pub const MAX_LIMIT: u32 = 100;

    /// The most pages that can be asked for; further back a list is read with a cursor.
    pub const MAX_PAGE: u32 = 100_000;

    /// The first row alone, for what is looked up by its id.
    pub const ONE: Self = Self { page: 1, limit: 1 };

    /// `None` unless `page` is 1 to [`Self::MAX_PAGE`] and `limit` is 1 to [`Self::MAX_LIMIT`].
    #[must_use]
    pub fn new(page: u32, limit: u32) -> Option<Self> {
        let is_valid = (1..=Self::MAX_PAGE).contains(&page) && (1..=Self::MAX_LIMIT).contains(&limit);
        is_valid.then_some(Self { page, limit })
    }

    /// The page, counted from 1.
    #[must_use]
    pub const fn page(self) -> u32 {
        self.page
    }

    /// The most rows wanted.
    #[must_use]
    pub const fn limit(self) -> u32 {
        self.limit
    }

    /// How many rows come before this page.
    #[must_use]
    pub fn offset(self) -> i64 {
        i64::from(self.page - 1) * i64::from(self.limit)
    }
}

/// One page and how many rows there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows of this page.
    pub items: Vec<T>,
    /// Rows on all pages.
    pub total: i64,
    /// What was asked for.
    pub request: PageRequest,
}
