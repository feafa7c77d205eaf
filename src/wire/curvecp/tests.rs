mod ahead;
mod recordings;
mod reference;
mod simulation;
mod strangers;
pub(crate) mod world;
