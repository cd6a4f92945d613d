//! The integration tests: the built gateway as its users meet it.

mod check;
mod config;

mod problem;

mod access;
mod admission;
mod attacks;
mod connections;
mod documents;
mod faults;
mod faults_under_load;
mod health;
mod limits;
mod mcp;
mod metrics;
mod pages;
mod quarantine;
mod rest;
mod rounds;
mod status;
mod tls;
mod traces;
mod trouble;

mod reload;

mod corpus;
mod library;
mod lifecycle;
mod logs;
mod rmcp_plugin;
mod stop;
mod swaps;
mod tidy;
mod trial;
mod unload;
mod versions;
