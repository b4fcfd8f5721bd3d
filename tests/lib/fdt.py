"""Flattened device trees (Devicetree Specification 0.4, chapter 5), read with no library."""

import struct

BEGIN, END, PROP, NOP, LAST = 1, 2, 3, 4, 9


def parse(data):
    """{path: {property: bytes}} of all nodes."""
    magic, _, structure, strings = struct.unpack_from(">4I", data)
    assert magic == 0xd00dfeed
    nodes, path, at = {}, [], structure
    while True:
        token, = struct.unpack_from(">I", data, at)
        at += 4
        if token == BEGIN:
            end = data.index(b"\0", at)
            path.append(data[at:end].decode())
            nodes["/".join(path) or "/"] = {}
            at = end + 4 & ~3
        elif token == END:
            path.pop()
        elif token == PROP:
            length, name = struct.unpack_from(">II", data, at)
            name = data[strings + name:data.index(b"\0", strings + name)].decode()
            nodes["/".join(path) or "/"][name] = data[at + 8:at + 8 + length]
            at = at + 8 + length + 3 & ~3
        elif token == LAST:
            return nodes


def cells(value):
    return list(struct.unpack(f">{len(value) // 4}I", value))


# Where phandles stand among the cells of a property: (first, every).
REFERENCES = {"interrupt-parent": (0, 1), "clocks": (0, 1), "cpu": (0, 1), "gpios": (0, 3), "interrupt-map": (4, 10),
              "msi-map": (1, 4)}


def meaning(nodes):
    """The same with what phandles refer to in place of their numbers."""
    names = {cells(p["phandle"])[0]: path for path, p in nodes.items() if "phandle" in p}
    result = {}
    for path, props in nodes.items():
        result[path] = {name: value for name, value in props.items() if name != "phandle"}
        for name, (first, every) in REFERENCES.items():
            if name in props:
                c = cells(props[name])
                c[first::every] = [names.get(x, f"nothing ({x})") for x in c[first::every]]
                result[path][name] = c
    return result
