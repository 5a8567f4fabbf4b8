"""All rules over a batch of profiles at once, in arrays: what every arrival and every deadline is answered by.

A rule costs a query a little for each event that it looks at, and hundreds of rules cost it much. Here the events of the
batch are read once, and each condition is a binary search. The SQL of `language.compile` remains the measure: it computes
whatever is not counted in events, takes over when a value does not fit, and the tests hold both equal.
"""

from segments.arrays.news import news

__all__ = ["news"]
