"""What the batch and real time have in common where scored pairs become judgements and questions."""

from typing import Final

# Whether a scored pair `s` needs no judgement of the machine: it is written already, or a steward has said something, and
# what a steward took back stays so. Who took back all that one model had judged said so of that model alone.
# `{judgements}` is the table to look in.
IS_JUDGED: Final = """EXISTS (
    SELECT 1 FROM {judgements} j LEFT JOIN judgement later ON later.retracts_id = j.id
    WHERE j.left_id = s.left_id AND j.right_id = s.right_id AND j.retracts_id IS NULL
      AND (j.kind = 'PROBABILISTIC' AND (later.id IS NULL OR later.kind = 'STEWARD'
                                      AND COALESCE(later.model_id, %(model)s) = %(model)s)
           OR j.kind = 'STEWARD' AND later.id IS NULL)
)"""

# What is a question by now waits for a steward; what waits already is written only where it differs.
ASK: Final = """
INSERT INTO review_pair (workspace_id, left_id, right_id, weight, evidence, model_id, created_at)
SELECT %(workspace)s, left_id, right_id, weight, parts::jsonb, %(model)s, %(now)s FROM question
ON CONFLICT (left_id, right_id) DO UPDATE
    SET weight = excluded.weight, evidence = excluded.evidence, model_id = excluded.model_id
    WHERE review_pair.judgement_id IS NULL
      AND (review_pair.weight, review_pair.model_id) IS DISTINCT FROM (excluded.weight, excluded.model_id)
RETURNING left_id, right_id
"""
