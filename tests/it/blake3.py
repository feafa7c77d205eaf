"""BLAKE3 as its paper has it, slow and without dependencies: for machines without the package."""

IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
COLUMNS_AND_DIAGONALS = [
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
]
MASK = 0xFFFFFFFF
CHUNK_START, CHUNK_END, PARENT, ROOT, CONTEXT, MATERIAL = 1, 2, 4, 8, 32, 64


def compress(cv, words, counter, length, flags):
    v = cv + IV[:4] + [counter & MASK, counter >> 32, length, flags]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(COLUMNS_AND_DIAGONALS):
            for word, right, again in ((words[2 * i], 16, 12), (words[2 * i + 1], 8, 7)):
                v[a] = (v[a] + v[b] + word) & MASK
                v[d] = turn(v[d] ^ v[a], right)
                v[c] = (v[c] + v[d]) & MASK
                v[b] = turn(v[b] ^ v[c], again)
        words = [words[i] for i in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)]


def turn(word, by):
    return (word >> by | word << (32 - by)) & MASK


def chunk(data, index, key, flags):
    """The last block of a chunk, not compressed yet."""
    blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
    cv = key
    for number, block in enumerate(blocks):
        own = flags | (CHUNK_START if number == 0 else 0)
        padded = block.ljust(64, b"\0")
        words = [int.from_bytes(padded[i : i + 4], "little") for i in range(0, 64, 4)]
        if number + 1 == len(blocks):
            return cv, words, index, len(block), own | CHUNK_END
        cv = compress(cv, words, index, 64, own)


def tree(data, index, key, flags):
    if len(data) <= 1024:
        return chunk(data, index, key, flags)
    left = 1 << ((len(data) - 1) // 1024).bit_length() - 1
    one = compress(*tree(data[: left * 1024], index, key, flags))
    two = compress(*tree(data[left * 1024 :], index + left, key, flags))
    return key, one + two, 0, 64, flags | PARENT


def root(data, key, flags):
    *block, flags = tree(data, 0, key, flags)
    return compress(*block, flags | ROOT)


class blake3:
    def __init__(self, data, derive_key_context):
        key = root(derive_key_context.encode(), IV, CONTEXT)
        self.words = root(data, key, MATERIAL)

    def hexdigest(self):
        return b"".join(word.to_bytes(4, "little") for word in self.words).hex()
