"""Numbered pieces take their turns in order, however the threads run."""

import threading
import time
from random import Random

import pytest

from cdp.ingestion.turns import TurnLostError, Turns

PIECES = 20


def in_threads(work):
    threads = [threading.Thread(target=work, args=[number]) for number in range(PIECES)]
    for thread in reversed(threads):
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("seed", range(5))
def test_turns__of_two_steps__are_each_taken_in_order_and_never_by_two(seed):
    turns, chance = Turns("first", "second"), Random(seed)
    pauses = [chance.random() / 500 for _ in range(PIECES)]
    taken = {"first": [], "second": []}
    inside = []

    def work(number):
        for step, seen in taken.items():
            time.sleep(pauses[number])
            with turns.take(step, number):
                inside.append(step)
                seen.append((number, inside.count(step)))
                inside.remove(step)

    in_threads(work)

    assert taken == {step: [(number, 1) for number in range(PIECES)] for step in taken}


def test_turn__after_a_piece_that_failed__is_lost_by_all_that_come_later():
    turns = Turns("only")
    done, failed, lost = [], [], []

    def work(number):
        try:
            with turns.or_none(), turns.take("only", number):
                done.append((0, 1, 2)[number])
        except TurnLostError:
            lost.append(number)
        except IndexError:
            failed.append(number)

    in_threads(work)

    assert (done, failed) == ([0, 1, 2], [3])
    assert sorted(lost) == list(range(4, PIECES))
