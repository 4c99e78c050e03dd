//! oci: to be written.
