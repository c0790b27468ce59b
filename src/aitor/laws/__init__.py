"""
The laws: every rule about rates, faults and order, as plain arithmetic.

Nothing in here waits, reads a clock or throws dice. Times and random numbers are
arguments, in seconds and from 0 to 1, so each rule can be read on a page of its own
and tested with plain numbers.
"""
