//! A JSON document in one flat buffer, read in place.
