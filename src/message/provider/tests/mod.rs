//! What the rules of this folder must hold, on lists as bad as real ones.
mod prompts;
mod records;
mod rules;
mod served;
