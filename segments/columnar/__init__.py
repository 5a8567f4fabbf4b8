"""The columnar copy of the event log, and the engines that compute rules over it."""
