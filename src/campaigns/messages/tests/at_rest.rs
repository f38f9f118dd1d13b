//! A list that nothing happens to, behind an upstream of whatever manners.

use std::collections::HashSet;

use proptest::prelude::*;

use super::model::{GOOD, Manners, Upstream, number, turn};
use crate::error::Reason;

proptest! {
    #[test]
    fn a_list_at_rest_costs_one_call_a_page_and_is_told_each_once_in_order(
        count in 0..400_u32,
        sizes in prop::collection::vec(1..120_u32, 1..4),
        cap in 1..150_usize,
        tells_total: bool,
        ignores_limit: bool,
        nameless in prop::collection::hash_set(0..400_u32, 0..10),
    ) {
        let manners = Manners { tells_total, cap, ignores_limit, ..GOOD };
        let mut upstream = Upstream::new(count, manners).without_ids(nameless);
        let (mut told, mut from, mut pages) = (Vec::new(), None, 0);
        loop {
            let page_size = sizes[pages % sizes.len()];
            let page = turn(&mut upstream, page_size, from, |_| {}).unwrap();
            prop_assert!(page.messages.len() <= page_size as usize);
            told.extend(page.messages.iter().map(number));
            pages += 1;
            from = page.next;
            if from.is_none() {
                break;
            }
            prop_assert_eq!(upstream.asked.len(), pages, "{:?}", upstream.asked);
        }
        prop_assert!(upstream.asked.len() <= pages + 1, "{:?}", upstream.asked);
        let wanted: Vec<_> =
            upstream.list.iter().copied().filter(|n| !upstream.nameless.contains(n)).collect();
        prop_assert_eq!(told, wanted);
    }

    #[test]
    fn an_upstream_that_ignores_the_offset_is_read_in_full_or_is_an_error_and_never_paged_for_ever(
        count in 0..120_u32,
        sizes in prop::collection::vec(1..60_u32, 1..4),
        cap in 1..150_usize,
        tells_total: bool,
        ignores_limit: bool,
    ) {
        let manners = Manners { tells_total, cap, ignores_limit, ignores_offset: true };
        let mut upstream = Upstream::new(count, manners);
        let (mut told, mut from) = (HashSet::new(), None);
        for page_size in sizes.iter().cycle() {
            let page = match turn(&mut upstream, *page_size, from, |_| {}) {
                Ok(page) => page,
                Err(error) => {
                    prop_assert_eq!(error.reason(), Reason::UpstreamResponseInvalid);
                    break;
                }
            };
            told.extend(page.messages.iter().map(number));
            from = page.next;
            if from.is_none() {
                prop_assert_eq!(told.len(), count as usize, "lost the rest in silence");
                break;
            }
            prop_assert!(upstream.asked.len() < 1_000, "{:?}", upstream.asked);
        }
    }
}
