//! Requests whose bodies nobody reads.

use super::*;

/// A page that takes no body, asked with one; sent is the head alone.
fn head(more: &str) -> String {
    format!("POST /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n{more}\r\n")
}

#[tokio::test]
async fn a_body_that_nobody_reads_does_not_cost_the_connection() {
    let site = Site::with_places(8);
    let mut client = site.connect().await;
    for _ in 0..3 {
        client.send(&head("")).await;
        // While another connection is answered there is time to answer this one, too early.
        assert_eq!(site.connect().await.get("/peer").await.status, 200);
        client.send("hello").await;
        let answer = client.next().await.expect("an answer");
        assert_eq!((answer.status, answer.head.contains("\r\nconnection: ")), (405, false));
    }
    assert_eq!(client.get("/healthz").await.body, "well");
}

#[tokio::test]
async fn a_client_that_waits_for_leave_to_send_is_told_that_the_connection_ends() {
    let site = Site::with_places(8);
    let mut client = site.connect().await;
    client.send(&head("expect: 100-continue\r\n")).await;
    let answer = client.next().await.expect("an answer");
    assert_eq!((answer.status, answer.head.contains("\r\nconnection: close\r\n")), (405, true));
    client.ended().await;
}
