//! What files mean, as tables.
