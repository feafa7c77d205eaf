//! The real program from outside, the rules of the house, and its documents.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect fails on the spot"
)]

mod a12peer;
mod attacks;
mod audit;
mod backup;
mod book;
mod canary;
mod check;
mod config;
mod crowd;
mod curve;
mod curveclient;
mod curvecp;
mod curvecp_outbound;
mod curvecp_senders;
mod curvecp_tools;
mod curvecpserver;
mod docs;
mod enrol;
mod examples;
mod exchange;
mod exec;
mod faults;
mod flood;
mod fuzz;
mod handover;
mod handover_outbound;
mod hello;
mod host;
mod hostkeys;
mod interop;
mod invite;
mod key;
mod keys;
mod layers;
mod life;
mod listen;
mod memory;
mod mistakes;
mod operations;
mod process;
mod refusals;
mod reload;
mod repl;
mod repository;
mod revoke;
mod sandbox;
mod scriptkeys;
mod servers;
mod source;
mod streams;
mod tasks;
mod tester;
mod users;
mod walls;
mod windows;
mod zap;
mod zeromq;
mod zmq;
mod zmtp;
mod zmtp_connect;
mod zmtp_door;
mod zmtp_outbound;
mod zmtp_raw;
mod zmtp_sockets;
