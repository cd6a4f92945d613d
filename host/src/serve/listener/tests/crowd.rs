//! More connections than there are places.

use super::*;

const HELD: &str = "GET /held HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A connection with a request that is on its way.
async fn busy(site: &Site) -> Client<TcpStream> {
    let mut client = site.connect().await;
    client.send(HELD).await;
    client
}

/// As many connections as there are places, each with a request under way: one more is shed exactly then.
async fn full_house(places: usize) -> (Site, Vec<Client<TcpStream>>) {
    let site = Site::with_places(places);
    let mut clients = Vec::new();
    for _ in 0..places {
        clients.push(busy(&site).await);
    }
    // Whoever comes too early ends one of them, which is then asked for again.
    while site.connect().await.get("/").await.status != 503 {
        for client in &mut clients {
            if client.stream.try_read(&mut [0]).is_ok() {
                *client = busy(&site).await;
            }
        }
    }
    (site, clients)
}

#[tokio::test]
async fn one_too_many_ends_who_is_idle_for_longest() {
    let site = Site::with_places(2);
    let (mut silent, mut first) = (site.connect().await, site.connect().await);
    assert_eq!(first.get("/peer").await.status, 200);
    let mut second = site.connect().await;
    assert_eq!(second.get("/peer").await.status, 200);
    // It never said anything, not even that it is there.
    silent.ended().await;
    let mut third = site.connect().await;
    assert_eq!(third.get("/peer").await.status, 200);
    first.ended().await;
    assert_eq!(second.get("/peer").await.status, 200);
}

#[tokio::test]
async fn a_head_that_never_ends_is_no_request() {
    let site = Site::with_places(1);
    let mut slow = site.connect().await;
    slow.send("GET /peer HTTP/1.1\r\nhost: loc").await;
    assert_eq!(site.connect().await.get("/peer").await.status, 200);
    slow.ended().await;
}

#[tokio::test]
async fn a_full_house_of_requests_answers_probes_and_sheds_the_rest() {
    let (site, mut clients) = full_house(3).await;
    let mut probe = site.connect().await;
    let answer = probe.get("/healthz").await;
    assert_eq!((answer.status, &*answer.body), (200, "well"));
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    probe.ended().await;

    let mut shed = site.connect().await;
    let answer = shed.get("/peer").await;
    assert_eq!(answer.status, 503);
    for header in ["connection: close", "retry-after: 1", "content-type: application/problem+json"] {
        assert!(answer.head.contains(header), "{header} in {}", answer.head);
    }
    assert!(answer.body.contains(r#""code":"overloaded""#), "{}", answer.body);
    shed.ended().await;

    for _ in &clients {
        site.release();
    }
    for client in &mut clients {
        assert_eq!(client.next().await.map(|answer| answer.status), Some(200), "none was cut");
    }
    assert_eq!(site.connect().await.get("/peer").await.status, 200);
}

#[tokio::test]
async fn probes_are_answered_however_many_stand_at_the_side_door() {
    let (site, _clients) = full_house(1).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(site.connect().await);
    }
    assert_eq!(site.connect().await.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn an_answer_that_is_still_being_read_is_not_cut() {
    let site = Site::with_places(1);
    let mut slow = site.connect().await;
    slow.send("GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(slow.read().await);
    assert_eq!(site.connect().await.get("/peer").await.status, 503);
    assert_eq!(slow.next().await.map(|answer| answer.body.len()), Some(LARGE));
}

#[tokio::test]
async fn who_does_not_read_its_answer_loses_its_place() {
    let site = Site::with_places(1);
    let mut stalled = site.connect().await;
    stalled.send("GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(stalled.read().await);
    while site.connect().await.get("/peer").await.status != 200 {
        // Time that is paused goes on by itself once everybody waits.
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(60)).await;
        tokio::time::resume();
    }
}

#[tokio::test(start_paused = true)]
async fn who_sends_no_request_in_time_is_ended() {
    let site = Site::with_places(8);
    let mut silent = site.connect().await;
    silent.ended().await;
}

#[tokio::test]
async fn who_sends_no_other_request_in_time_is_ended() {
    let site = Site::with_places(8);
    let mut idle = site.connect().await;
    assert_eq!(idle.get("/peer").await.status, 200);
    tokio::time::pause();
    idle.ended().await;
}

#[tokio::test]
async fn the_limit_can_change_while_it_serves() {
    let site = Site::with_places(2);
    let (mut first, mut second) = (site.connect().await, site.connect().await);
    assert_eq!(first.get("/peer").await.status, 200);
    assert_eq!(second.get("/peer").await.status, 200);
    site.terms.limits.set_max(1);
    assert_eq!(site.connect().await.get("/peer").await.status, 200);
    first.ended().await;
    second.ended().await;
}

#[tokio::test]
async fn a_listener_that_stops_lets_requests_finish() {
    let (site, mut clients) = full_house(1).await;
    let (address, held) = (site.address, site.held.clone());
    let stopping = tokio::spawn(site.serving.stop(Duration::from_secs(60)));
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    held.add_permits(1);
    assert_eq!(clients[0].next().await.map(|answer| answer.status), Some(200));
    clients[0].ended().await;
    stopping.await.expect("it does not panic").expect("it stops");
}
