"""A fleet: workers that are killed, reviewers who decide at random, and every effect once.

`python -m tests.crash.fleet --runs 5000` starts workers, a scripted Claude and a server of effects,
each in a process of its own, has reviewers approve and reject what is held, kills a worker every
few seconds and starts another in its place. When all runs are over it compares what the store
says with what the effect server saw, prints the figures, and exits with 1 if they disagree.
"""
