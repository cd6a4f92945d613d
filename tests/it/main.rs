//! The integration tests: the built gateway as its users meet it.

mod check;
mod config;

mod problem;

mod admission;
mod faults;
mod faults_under_load;
mod mcp;
mod metrics;
mod pages;
mod quarantine;
mod rest;
mod rounds;

mod reload;

mod corpus;
mod library;
mod lifecycle;
mod rmcp_plugin;
mod stop;
mod swaps;
mod tidy;
mod trial;
mod unload;
mod versions;
