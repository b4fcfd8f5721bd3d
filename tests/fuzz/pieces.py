#!/usr/bin/env python3
"""An image as an input of fuzz_qcow2: pieces.py WHAT < IMAGE > INPUT (the form: fuzz_qcow2.c)."""

import sys

UNIT, MOST = 8, 256


def pieces(image):
    """(offset, bytes) of what is not zero, in pieces of at most MOST bytes."""
    at = 0
    while at < len(image):
        if not any(image[at:at + UNIT]):
            at += UNIT
            continue
        piece = image[at:at + MOST].rstrip(b"\0")
        yield at, piece
        at += -(-len(piece) // UNIT) * UNIT


def main():
    out = bytes([int(sys.argv[1])])
    for at, piece in pieces(sys.stdin.buffer.read()):
        out += (at // UNIT).to_bytes(2, "big") + bytes([len(piece) - 1]) + piece
    sys.stdout.buffer.write(out)


main()
