"""How fast, how quiet, how cheap: programs that measure Rowhook against something simpler, run beside it.

`python -m benchmarks` runs them all. A figure is a median over rounds that alternate with those of its baseline, because one
machine's seconds are not alike; docs/performance.md says what each means and what limits it.
"""
