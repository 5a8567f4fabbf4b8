"""The same answer in real time: what arrives is compared at once, by the rules and weights of the batch.

`stage` is the pipeline's, `comparing` what it does where there is an index; `index` keeps the blocking keys by which a record
finds its candidates.
"""
