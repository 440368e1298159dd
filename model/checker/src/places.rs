//! Where servers and the connections between them stand among the slots of a state.

pub(crate) use world::Places;
