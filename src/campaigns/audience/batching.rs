//! How many of the waiting items go into the next upstream call.

/// The number of items to take from the front, at least one if there is one: as many as the count and the
/// bytes allow. `frame` is what a body weighs without items; items are joined by one byte each.
pub(super) fn cut(
    sizes: impl IntoIterator<Item = usize>,
    frame: usize,
    max_items: usize,
    max_bytes: usize,
) -> usize {
    let mut bytes = frame;
    let mut count = 0;
    for size in sizes.into_iter().take(max_items.max(1)) {
        bytes = bytes.saturating_add(size).saturating_add(usize::from(count > 0));
        // A single item that is too large goes alone: the upstream's answer is then that item's own.
        if bytes > max_bytes && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::cut;

    proptest! {
        #[test]
        fn batches_keep_every_item_and_both_bounds_and_are_as_large_as_they_may(
            sizes in prop::collection::vec(1_usize..5_000, 0..300),
            frame in 10_usize..100, max_items in 1_usize..120, max_bytes in 100_usize..20_000,
        ) {
            let mut rest = &sizes[..];
            while !rest.is_empty() {
                let n = cut(rest.iter().copied(), frame, max_items, max_bytes);
                prop_assert!((1..=max_items).contains(&n));
                let weigh = |items: &[usize]| frame + items.iter().sum::<usize>() + items.len() - 1;
                prop_assert!(n == 1 || weigh(&rest[..n]) <= max_bytes);
                let could_take_more = n < max_items && n < rest.len() && weigh(&rest[..=n]) <= max_bytes;
                prop_assert!(!could_take_more);
                rest = &rest[n..];
            }
            prop_assert_eq!(cut([], frame, max_items, max_bytes), 0);
        }
    }
}
