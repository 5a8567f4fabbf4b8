"""Stewards judge the pairs that the machine could not: which one next, what it shows, what becomes of the answer."""
