"""Coverage-guided fuzzing: what fuzzers look at, where they begin, and what they found. See docs/fuzzing.md."""
