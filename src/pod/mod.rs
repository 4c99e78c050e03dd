//! pod: to be written.
