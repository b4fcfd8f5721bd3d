"""Initial file systems for Linux: archives in cpio's "newc" format."""

import gzip


def entry(name, mode, data=b"", number=[0]):
    number[0] += 1
    fields = [number[0], mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % x for x in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def archive(files):
    """`files` are (name, data), of which data is None for a directory and a str for a link; compressed."""
    out = b""
    for name, data in files:
        if data is None:
            out += entry(name, 0o040755)
        elif isinstance(data, str):
            out += entry(name, 0o120777, data.encode())
        else:
            out += entry(name, 0o100755, data)
    return gzip.compress(out + entry("TRAILER!!!", 0), 1)
