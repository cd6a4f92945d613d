//! Rooms as such, without sockets; then all of it at once, from many threads.

use super::*;

fn connections(max: usize) -> Connections {
    Connections::new(ConnectionLimits::of(&Limits { connections_max: max, ..Limits::default() }))
}

fn served(connections: &Connections) -> Place {
    match connections.take() {
        Some(Taken::Served(place)) => place,
        other => panic!("it should be served: {other:?}"),
    }
}

fn shed(connections: &Connections) -> Place {
    match connections.take() {
        Some(Taken::Shed(place)) => place,
        other => panic!("it should be shed: {other:?}"),
    }
}

/// A request from its begin until its answer is sent.
fn request(place: &Place) {
    drop(place.connection().begin());
    place.connection().flushed();
}

fn check(places: &[&Place], ended: &[usize]) {
    let found: Vec<usize> = places
        .iter()
        .enumerate()
        .filter(|(_, place)| place.connection.has_ended())
        .map(|(at, _)| at)
        .collect();
    assert_eq!(found, ended);
}

fn check_is_empty(room: &Room) {
    let guests = room.lock();
    assert_eq!((guests.open, guests.ending, guests.queue.len()), (0, 0, 0));
}

#[test]
fn a_full_house_ends_who_is_idle_for_longest() {
    let connections = connections(3);
    let [a, b, c] = [(); 3].map(|()| served(&connections));
    // It is the first, but it has just been of use.
    request(&a);
    let d = served(&connections);
    check(&[&a, &b, &c, &d], &[1]);
    let e = served(&connections);
    check(&[&a, &b, &c, &d, &e], &[1, 2]);
    let f = served(&connections);
    check(&[&a, &b, &c, &d, &e, &f], &[0, 1, 2]);
}

#[test]
fn who_has_gone_leaves_a_place() {
    let connections = connections(2);
    let a = served(&connections);
    drop(served(&connections));
    let b = served(&connections);
    check(&[&a, &b], &[]);
}

#[test]
fn a_request_under_way_is_not_cut_until_its_answer_is_sent() {
    let connections = connections(1);
    let a = served(&connections);
    let open = a.connection().begin();
    a.connection().flushed();
    drop(shed(&connections));
    // Its end may be in memory still, because the client is slow.
    drop(open);
    drop(shed(&connections));
    a.connection().flushed();
    let b = served(&connections);
    check(&[&a, &b], &[0]);
}

#[test]
fn requests_that_follow_without_waiting_are_one_after_the_other() {
    let connections = connections(1);
    let a = served(&connections);
    drop(a.connection().begin());
    let second = a.connection().begin();
    a.connection().flushed();
    drop(shed(&connections));
    drop(second);
    a.connection().flushed();
    let b = served(&connections);
    check(&[&a, &b], &[0]);
}

#[test]
fn a_request_that_comes_as_its_connection_ends_is_served() {
    let connections = connections(1);
    let a = served(&connections);
    let b = served(&connections);
    check(&[&a, &b], &[0]);
    let open = a.connection().begin();
    check(&[&a, &b], &[]);
    // There are two now, one more than agreed; the next one has to wait for both.
    let busy = b.connection().begin();
    drop(shed(&connections));
    drop((open, busy));
    a.connection().flushed();
    b.connection().flushed();
    let c = served(&connections);
    check(&[&a, &b, &c], &[0, 1]);
}

#[test]
fn the_side_door_has_room_for_who_asks_next_and_none_for_all_at_once() {
    let connections = connections(1);
    let a = served(&connections);
    let _busy = a.connection().begin();
    let idle: Vec<Place> = (0..SHED_MAX).map(|_| shed(&connections)).collect();
    let one_more = shed(&connections);
    check(&[&idle[0], &idle[1], &one_more], &[0]);
    let _all_busy: Vec<_> =
        idle[1..].iter().chain([&one_more]).map(|place| place.connection.begin()).collect();
    assert!(connections.take().is_none());
}

#[test]
fn what_the_limit_becomes_holds_for_the_next_connection() {
    let connections = connections(3);
    let [a, b, c] = [(); 3].map(|()| served(&connections));
    connections.limits.set_max(1);
    check(&[&a, &b, &c], &[]);
    let d = served(&connections);
    check(&[&a, &b, &c, &d], &[0, 1, 2]);
    connections.limits.set_max(2);
    let e = served(&connections);
    check(&[&d, &e], &[]);
}

#[test]
fn nobody_is_lost_or_cut_when_everything_happens_at_once() {
    let connections = Arc::new(connections(8));
    let client = |seed: u64| {
        let connections = connections.clone();
        move || {
            // What it does next, a little at random.
            let mut dice = seed;
            let mut throw = move || {
                dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                dice >> 33
            };
            for _ in 0..2_000 {
                let (Some(Taken::Served(place)) | Some(Taken::Shed(place))) = connections.take() else {
                    continue;
                };
                for _ in 0..throw() % 8 {
                    let open = place.connection().begin();
                    if throw() % 4 == 0 {
                        std::thread::yield_now();
                    }
                    assert!(!place.connection.has_ended(), "a request is under way");
                    drop(open);
                    place.connection().flushed();
                }
            }
        }
    };
    let threads: Vec<_> = (0..16).map(|seed| std::thread::spawn(client(seed))).collect();
    for thread in threads {
        thread.join().expect("it does not panic");
    }
    check_is_empty(&connections.served);
    check_is_empty(&connections.shed);
}
