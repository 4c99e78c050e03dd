//! admission: to be written.
