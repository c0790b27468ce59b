"""
The benchmark suite: what aitor costs, and what it is good for, beside its peers.

    make bench                          # everything, in under fifteen minutes
    make bench-quick                    # everything, smaller, in about two
    python -m benchmarks core http      # some
    python -m benchmarks report         # docs/benchmarks.md, from what was measured

Each benchmark is a module that asks one question, in its docstring, and has three
functions: `measure` returns plain data, `rows` reads that data into a table with
goals, and `pictures` draws it. Measuring and reporting are apart, so a report is
never made of numbers that somebody typed.

Whoever is measured runs in a process of its own, on a core of its own, in a virtual
environment of its own; the server that answers runs on the other core. For each
measurement the process forks, so that none begins with what another one left behind.
"""
