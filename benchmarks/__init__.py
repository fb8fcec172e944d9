"""Speed and memory of agentrt beside a hand-written loop, in one run: `python -m benchmarks`."""
