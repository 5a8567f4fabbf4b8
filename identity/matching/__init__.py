"""Probabilistic matching without a framework: what a record looks like to the matcher, how a model is trained, frozen
and applied, and how well it did. In come rows, out go pairs with the weights that explain them.
"""
