//! Sources against real repositories made with the `git` program.
