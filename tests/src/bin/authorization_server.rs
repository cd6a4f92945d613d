//! The tests' authorization server as a program: `authorization_server ADDRESS SCOPE..`. Prints its URL, and ends when
//! it is killed. Each line that it reads is an audience, for which it prints a token: with all scopes, signed by RS256,
//! good for a day. A client is granted `SCOPE?` only when it asks for the second time.

use std::{future::pending, io, net::SocketAddr};

use anyhow::{Context, Result};
use tests::AuthorizationServer;

const DAY: u64 = 24 * 3600;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (address, scopes) = args.split_first().context("usage: authorization_server ADDRESS SCOPE..")?;
    let address: SocketAddr = address.parse().context("the address is not one")?;
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let server = AuthorizationServer::start_at(address, &scopes).await;
    println!("{}", server.url());
    // Nothing else runs on this thread.
    for audience in io::stdin().lines() {
        let mut claims = server.claims(&audience?, &scopes.join(" "));
        claims["exp"] = (claims["iat"].as_u64().context("it says when it was issued")? + DAY).into();
        println!("{}", server.sign_rs256(&claims));
    }
    pending().await
}
