mod prompts;
mod records;
mod rules;
