//! Sections of a page that are generated: between two markers stands what the program says, and nothing else.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

/// Set to anything, the tests write the sections instead of comparing them.
const RENEW: &str = "GITADEL_RENEW_PAGES";

/// Fails unless a section of the page is this text.
pub fn assert_section(page: &str, name: &str, text: &str) {
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end of {name} -->"));
    let before = fs::read_to_string(page).unwrap();
    let place = before.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?)));
    let (head, (found, tail)) = place.unwrap_or_else(|| panic!("{page} has no section between {begin:?} and {end:?}"));
    let wanted = format!("\n{}\n\n", text.trim());
    if std::env::var_os(RENEW).is_some() {
        fs::write(page, format!("{head}{begin}{wanted}{end}{tail}")).unwrap();
        return;
    }
    assert!(found == wanted, "the section \"{name}\" of {page} is out of date: run this test with {RENEW}=1\n{wanted}");
}
