//! The verdict: may this write happen?
