use super::*;
use crate::model::{MessageId, Status};

const ALL: Limit = Limit { count: 100, bytes: 1 << 20 };

fn seen(id: &str, status: Status) -> Seen {
    let id = MessageId::from_upstream(id.to_owned()).unwrap_or_else(|| unreachable!());
    Seen { message: Arc::new(Message::bare(id, status)), weight: 100 }
}

/// Appends one message's way through these statuses, from the first on.
fn walk(log: &mut Log, id: &str, way: &[Status]) {
    let mut before = None;
    for status in way {
        let seen = seen(id, *status);
        let sequence = log.append(seen.clone(), before, false, DateTime::UNIX_EPOCH);
        before = Some((seen.message, sequence));
    }
}

fn read(log: &Log, window: &mut Window, limit: Limit) -> Vec<(String, Option<Status>, Status)> {
    let told = log.read(window, |_| true, StatusSet::default(), limit);
    let changes = told.map(|told| told.map_or(Vec::new(), |(changes, _)| changes));
    let Ok(changes) = changes else { panic!("overrun") };
    changes.into_iter().map(|c| (c.message.id.to_string(), c.previous, c.message.status)).collect()
}

#[test]
fn what_is_told_in_pieces_is_told_as_one_window() {
    use Status::{Pending, Queued, Sending, Sent};
    let mut log = Log::new(1, 100);
    let mut window = log.now();
    walk(&mut log, "a", &[Pending, Queued]);
    walk(&mut log, "b", &[Queued, Sending, Sent]);
    let one = Limit { count: 1, ..ALL };
    assert_eq!(read(&log, &mut window, one), [("a".to_owned(), None, Queued)]);
    // What comes while the window is being told is for the next one.
    walk(&mut log, "c", &[Pending]);
    assert_eq!(read(&log, &mut window, one), [("b".to_owned(), None, Sent)]);
    assert!(!log.is_read_up(&window));
    assert_eq!(read(&log, &mut window, one), [("c".to_owned(), None, Pending)]);
    assert!(log.is_read_up(&window));
    assert_eq!(read(&log, &mut window, ALL), []);
}

#[test]
fn a_message_that_went_and_came_back_to_where_it_was_is_not_told() {
    use Status::{Pending, Queued};
    let mut log = Log::new(1, 100);
    walk(&mut log, "a", &[Queued, Pending, Queued]);
    let mut window = log.now();
    window.base = 1;
    window.at = 1;
    assert_eq!(read(&log, &mut window, ALL), []);
}

#[test]
fn the_bytes_of_one_answer_are_bounded_but_one_change_always_fits() {
    let mut log = Log::new(1, 100);
    let mut window = log.now();
    for id in ["a", "b", "c"] {
        walk(&mut log, id, &[Status::Queued]);
    }
    assert_eq!(read(&log, &mut window, Limit { count: 100, bytes: 250 }).len(), 2);
    assert_eq!(read(&log, &mut window, Limit { count: 100, bytes: 1 }).len(), 1);
}

#[test]
fn a_place_in_another_history_or_before_this_one_is_an_overrun() {
    let mut log = Log::new(1, 2);
    let mut start = log.now();
    walk(&mut log, "a", &[Status::Pending, Status::Queued]);
    let mut at_the_edge = start;
    assert_eq!(read(&log, &mut at_the_edge, ALL).len(), 1);
    walk(&mut log, "b", &[Status::Queued]);
    assert!(log.read(&mut start, |_| true, StatusSet::default(), ALL).is_err());
    let mut elsewhere = Log::new(2, 2).now();
    assert!(log.read(&mut elsewhere, |_| true, StatusSet::default(), ALL).is_err());
}

#[test]
fn a_window_whose_base_is_gone_is_an_overrun_though_its_reader_is_not_behind() {
    use Status::{Pending, Queued};
    let mut log = Log::new(1, 3);
    let mut window = log.now();
    walk(&mut log, "b", &[Pending, Queued]);
    walk(&mut log, "a", &[Pending]);
    assert_eq!(read(&log, &mut window, Limit { count: 1, ..ALL }).len(), 1);
    // What "b" was at the base can no longer be told.
    walk(&mut log, "c", &[Pending]);
    assert!(log.read(&mut window, |_| true, StatusSet::default(), ALL).is_err());
}
