"""What is sealed comes back whole, or not at all."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.sealed import PIECE, TAG, BrokenSealError, SealedWriter, new_key, unsealed

SIZES = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE]


def sealed(content, key, at_once=10_000):
    file = io.BytesIO()
    writer = SealedWriter(file, key)
    for start in range(0, len(content), at_once):
        writer.write(content[start : start + at_once])
    writer.close()
    return file.getvalue()


@pytest.mark.parametrize("size", SIZES)
def test_unsealed__as_written__is_the_content(size):
    key, content = new_key(), bytes(number % 251 for number in range(size))

    stored = sealed(content, key)

    assert b"".join(unsealed(io.BytesIO(stored), key)) == content
    assert len(stored) == size + TAG * max(1, -(-size // PIECE))


@given(st.binary(min_size=1, max_size=200), st.data())
def test_unsealed__with_any_bit_changed__is_refused(content, data):
    key = new_key()
    stored = bytearray(sealed(content, key))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(BrokenSealError):
        list(unsealed(io.BytesIO(bytes(stored)), key))


def test_unsealed__cut_off_or_exchanged_or_with_another_key__is_refused():
    key = new_key()
    stored = sealed(b"a" * PIECE + b"b" * PIECE + b"c", key)
    piece = PIECE + TAG

    for broken in (
        stored[:piece],
        stored[: 2 * piece],
        stored[piece : 2 * piece] + stored[:piece] + stored[2 * piece :],
        b"",
    ):
        with pytest.raises(BrokenSealError):
            list(unsealed(io.BytesIO(broken), key))
    with pytest.raises(BrokenSealError):
        list(unsealed(io.BytesIO(stored), new_key()))
