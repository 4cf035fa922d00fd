"""The order in which training text is served: endless, seeded, and readable from any position."""

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint16]


class Stream:
    """An endless concatenation of segments of `segment` tokens at independent, uniform offsets of `tokens`.

    One seed is one stream. Offsets come from a counter-based generator (Philox; Salmon et al. 2011), so that any
    position costs the same and a restarted server continues exactly. Cut into rows of `segment` tokens it equals
    the random windows of nanoGPT.
    """

    def __init__(self, tokens: Tokens, *, seed: int, segment: int) -> None:
        if segment < 1 or len(tokens) <= segment:
            raise ValueError(f"a stream in segments of {segment} tokens needs a longer text than {len(tokens)} tokens")
        self._tokens = tokens
        self._seed = seed
        self._segment = segment

    def read(self, position: int, count: int) -> tuple[Tokens, Tokens]:
        """Tokens `position` … `position + count` of the stream and their true successors in the text: x, y [count]."""
        index = np.arange(position, position + count, dtype=np.int64)
        first = position // self._segment
        last = (position + max(count, 1) - 1) // self._segment
        places = self._offsets(first, last + 1)[index // self._segment - first] + index % self._segment
        return self._tokens[places], self._tokens[places + 1]

    def _offsets(self, first: int, end: int) -> NDArray[np.int64]:
        """Where segments `first` … `end` begin in the text: [end - first]."""
        # One count of Philox gives four words, so segment k is word k % 4 of count k // 4.
        generator = np.random.Philox(key=self._seed, counter=first // 4)
        skip = first % 4
        words = generator.random_raw(end - first + skip)[skip:]
        return (words % np.uint64(len(self._tokens) - self._segment)).astype(np.int64)
