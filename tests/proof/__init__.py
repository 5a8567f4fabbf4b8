"""Laws of segments that hold always: tried briefly with every run of the tests, and for hours by `python -m tests.proof`."""
