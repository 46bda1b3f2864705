//! The context of a model call: legal, within its budget, the same every time, and made again
//! from its manifest.

mod budget;
mod parts;
mod recorded;
mod rules;
