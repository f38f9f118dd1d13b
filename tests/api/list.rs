//! Reading messages, one by one and page by page.
