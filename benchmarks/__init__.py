"""firstbert against its peers: same sentences, same tokens, same threads, one run. See docs/benchmarks.md."""
