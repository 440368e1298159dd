//! Hand-made histories, well and broken.
