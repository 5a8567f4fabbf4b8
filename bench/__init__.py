"""Benchmarks. Each measures its baseline in the same run, on the same data: a figure alone says nothing."""
