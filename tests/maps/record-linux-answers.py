#!/usr/bin/env python3
"""Asks the running Linux, through bpf(), what maps answer, and writes linux-answers.json beside this file.

    sudo python3 tests/maps/record-linux-answers.py

A case declares a map and lists steps; each step ends in what Linux answered: "ok", the name of an errno, or the bytes
read. What is a file descriptor to Linux is named: `program:xdp`, `map:same`, `missing`. linux-answers.test.ts runs the
same steps on maps of the simulated machine.
"""
import ctypes
import errno
import json
import os
import pathlib
import struct

SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
MAP_CREATE, LOOKUP, UPDATE, DELETE, NEXT, PROG_LOAD, LOOKUP_AND_DELETE, FREEZE, OBJ_INFO = 0, 1, 2, 3, 4, 5, 21, 22, 15
ATTRIBUTE_BYTES = 168
MISSING_FD = 9999
NAMES = {524: "ENOTSUPP", errno.EOPNOTSUPP: "EOPNOTSUPP"}
CPUS = sum(
    int(last or first) - int(first) + 1
    for first, _, last in (part.partition("-") for part in open("/sys/devices/system/cpu/possible").read().strip().split(","))
)

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(ATTRIBUTE_BYTES, b"\0"), ATTRIBUTE_BYTES)
    result = libc.syscall(SYS_BPF, command, buffer, ATTRIBUTE_BYTES)
    if result >= 0:
        return result, "ok"
    number = ctypes.get_errno()
    return None, NAMES.get(number) or errno.errorcode[number]


def create(declaration, inner_fd=0):
    fields = [declaration.get(name, 0) for name in ("type", "key", "value", "entries", "flags")]
    return bpf(MAP_CREATE, struct.pack("<7I16s", *fields, inner_fd, 0, b"case"))


def on_element(command, fd, key, value, flags):
    key_buffer = None if key is None else ctypes.create_string_buffer(key, max(1, len(key)))
    address = 0 if key_buffer is None else ctypes.addressof(key_buffer)
    value_address = 0 if value is None else ctypes.addressof(value)
    return bpf(command, struct.pack("<IIQQQ", fd, 0, address, value_address, flags))[1]


def info(fd):
    buffer = ctypes.create_string_buffer(256)
    bpf(OBJ_INFO, struct.pack("<IIQ", fd, 256, ctypes.addressof(buffer)))
    return struct.unpack_from("<IIIIII", buffer.raw)


def program(kind, flags=0, attach=0):
    code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0))
    license = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack("<IIQQIIQII16sII", kind, 2, ctypes.addressof(code), ctypes.addressof(license), 0, 0, 0, 0, flags, b"case", 0, attach)
    fd, answer = bpf(PROG_LOAD, attributes)
    assert fd is not None, answer
    return fd


def map_id(fd):
    return info(fd)[1]


def program_id(fd):
    buffer = ctypes.create_string_buffer(256)
    bpf(OBJ_INFO, struct.pack("<IIQ", fd, 256, ctypes.addressof(buffer)))
    return struct.unpack_from("<II", buffer.raw)[1]


PROGRAMS = {
    "program:xdp": program(6),
    "program:xdp.frags": program(6, flags=1 << 5),
    "program:xdp_devmap": program(6, attach=33),
    "program:tc": program(3),
}

HASH, ARRAY, PROG_ARRAY, PERF, PERCPU_HASH, PERCPU_ARRAY, LRU_HASH, LRU_PERCPU_HASH, LPM = 1, 2, 3, 4, 5, 6, 9, 10, 11
ARRAY_OF_MAPS, HASH_OF_MAPS, DEVMAP, CPUMAP, XSKMAP, QUEUE, STACK, DEVMAP_HASH, RINGBUF = 12, 13, 14, 16, 17, 22, 23, 25, 27
BYTES_HASHES = (HASH, PERCPU_HASH, LRU_HASH, LRU_PERCPU_HASH)
PER_CPU = (PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH)


def u32(*values):
    return struct.pack(f"<{len(values)}I", *(value & 0xFFFFFFFF for value in values)).hex()


def prefix(text):
    address, bits = text.split("/")
    return u32(int(bits)) + bytes(map(int, address.split("."))).hex()


class Names:
    """File descriptors and ids of what a case names."""

    def __init__(self, maps):
        self.fds = dict(PROGRAMS, missing=MISSING_FD) | {f"map:{name}": create(declaration)[0] for name, declaration in maps.items()}
        self.by_id = {u32(program_id(fd)): name for name, fd in PROGRAMS.items()}
        self.by_id |= {u32(map_id(fd)): name for name, fd in self.fds.items() if name.startswith("map:")}

    def write(self, value):
        """Words separated by spaces: names, or hexadecimal bytes."""
        return b"".join(struct.pack("<I", self.fds[word]) if word in self.fds else bytes.fromhex(word) for word in value.split())

    def read(self, raw, declaration):
        if declaration["type"] in (PROG_ARRAY, ARRAY_OF_MAPS, HASH_OF_MAPS):
            return self.by_id[raw.hex()]
        if declaration["type"] in (DEVMAP, DEVMAP_HASH) and len(raw) == 8 and raw[4:].hex() in self.by_id:
            return f"{raw[:4].hex()} {self.by_id[raw[4:].hex()]}"
        return raw.hex()


def answer(step, fd, names, declaration):
    operation, key = step["do"], step.get("key")
    key_bytes = None if key is None else bytes.fromhex(key)
    size = declaration["value"]
    if declaration["type"] in PER_CPU:
        size = (size + 7) // 8 * 8 * CPUS
    if operation in ("update", "push"):
        raw = names.write(step["value"])
        if declaration["type"] in PER_CPU:
            raw *= CPUS
        return on_element(UPDATE, fd, key_bytes, ctypes.create_string_buffer(raw, max(1, len(raw))), step.get("flags", 0))
    if operation == "freeze":
        return bpf(FREEZE, struct.pack("<I", fd))[1]
    room = ctypes.create_string_buffer(max(size, declaration["key"], 8))
    if operation == "delete":
        return on_element(DELETE, fd, key_bytes, None, 0)
    command = {"lookup": LOOKUP, "peek": LOOKUP, "pop": LOOKUP_AND_DELETE, "next": NEXT}[operation]
    result = on_element(command, fd, key_bytes, room, 0)
    if result != "ok":
        return result
    if operation == "next":
        return room.raw[: declaration["key"]].hex()
    raw = room.raw[:size]
    if declaration["type"] in PER_CPU:
        assert raw == raw[: size // CPUS] * CPUS
        raw = raw[: size // CPUS]
    return names.read(raw, declaration)


def record(case):
    names = Names(case.get("maps", {}))
    inner = case["map"].get("inner")
    fd, made = create(case["map"], 0 if inner is None else names.fds[inner])
    case["made"] = made
    for step in case["steps"]:
        step["answer"] = answer(step, fd, names, case["map"])
    for other in [fd, *(names.fds[name] for name in names.fds if name.startswith("map:"))]:
        if other is not None:
            os.close(other)
    return case


def update(key, value, flags=0):
    return {"do": "update", "key": key, "value": value, "flags": flags}


def on(operation, key=None):
    return {"do": operation} if key is None else {"do": operation, "key": key}


ALL_FLAGS = (0, 1, 2, 3, 4, 8)
OUTSIDE = u32(4)


def element_cases():
    value = "1122334455667788"
    for kind in BYTES_HASHES:
        declaration = {"type": kind, "key": 4, "value": 8, "entries": 1 if kind in (HASH, PERCPU_HASH) else 4}
        steps = [on("next"), on("lookup", u32(0)), on("delete", u32(0))]
        steps += [update(u32(0), value, flags) for flags in (2, 3, 4, 6, 8)]
        steps += [update(u32(0), value), on("lookup", u32(0)), on("next"), on("next", u32(0)), on("next", u32(9))]
        steps += [update(u32(0), "88776655 44332211", flags) for flags in (*ALL_FLAGS, 5, 6)] + [on("lookup", u32(0))]
        if kind in (HASH, PERCPU_HASH):
            steps += [update(u32(1), value, flags) for flags in (2, 0, 1)] + [update(u32(0), value, 2)]
        steps += [on("delete", u32(0)), on("delete", u32(0)), on("lookup", u32(0)), on("next")]
        yield {"name": "elements of a hash", "map": declaration, "steps": steps}
    for kind in (ARRAY, PERCPU_ARRAY):
        declaration = {"type": kind, "key": 4, "value": 8, "entries": 4}
        steps = [on("lookup", u32(3))] + [update(u32(3), value, flags) for flags in (*ALL_FLAGS, 5, 6)]
        steps += [update(OUTSIDE, value, flags) for flags in ALL_FLAGS] + [on("lookup", u32(3)), on("lookup", OUTSIDE)]
        steps += [on("delete", u32(3)), on("delete", OUTSIDE)]
        steps += [on("next"), on("next", u32(0)), on("next", u32(3)), on("next", OUTSIDE), on("next", u32(-1))]
        yield {"name": "elements of an array", "map": declaration, "steps": steps}


def trie_cases():
    declaration = {"type": LPM, "key": 8, "value": 8, "entries": 3, "flags": 1}
    a, b, c = "61" * 8, "62" * 8, "63" * 8
    steps = [on("next"), on("lookup", prefix("10.0.0.1/32")), update(prefix("10.0.0.0/8"), a), update(prefix("10.1.0.0/16"), b), update(prefix("0.0.0.0/0"), c)]
    steps += [update(prefix("11.0.0.0/8"), a, flags) for flags in ALL_FLAGS]
    steps += [update(prefix("10.9.9.9/8"), b, flags) for flags in ALL_FLAGS]
    steps += [update(prefix("10.9.9.9/33"), b, flags) for flags in (0, 1, 3)]
    steps += [on("lookup", prefix(text)) for text in ("10.1.2.3/32", "10.1.2.3/16", "10.1.2.3/12", "10.1.2.3/8", "10.1.2.3/7", "10.1.2.3/0", "11.1.2.3/32", "10.1.2.3/33")]
    steps += [on("next"), on("next", prefix("10.1.0.0/16")), on("next", prefix("10.0.0.0/8")), on("next", prefix("0.0.0.0/0"))]
    steps += [on("next", prefix(text)) for text in ("10.1.0.0/15", "10.200.0.0/16", "12.0.0.0/8", "10.1.7.7/16", "1.1.1.1/33")]
    steps += [on("delete", prefix(text)) for text in ("10.3.0.0/16", "10.0.0.0/9", "10.1.3.3/33", "10.1.3.3/16", "10.1.0.0/16", "0.0.0.0/0", "10.0.0.0/8")]
    yield {"name": "elements of a trie", "map": declaration, "steps": steps + [on("next")]}

    texts = ["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "192.168.0.0/16", "192.168.1.0/24", "192.168.1.128/25", "192.168.0.0/24", "10.1.2.3/32", "128.0.0.0/1", "10.255.0.0/16", "11.0.0.0/8", "10.1.2.0/31", "10.1.2.2/31", "10.1.2.0/29"]
    # Each next step asks for what the one before answered; the order is Linux's.
    order = ["10.1.2.0/31", "10.1.2.3/32", "10.1.2.2/31", "10.1.2.0/29", "10.1.0.0/16", "10.255.0.0/16", "10.0.0.0/8", "11.0.0.0/8", "192.168.0.0/24", "192.168.1.128/25", "192.168.1.0/24", "192.168.0.0/16", "128.0.0.0/1", "0.0.0.0/0"]
    steps = [update(prefix(text), a) for text in texts] + [on("next")] + [on("next", prefix(text)) for text in order]
    yield {"name": "order of a trie", "map": {**declaration, "entries": 30}, "steps": steps}


def queue_cases():
    for kind in (QUEUE, STACK):
        steps = [on("peek"), on("pop")]
        steps += [{"do": "push", "value": f"{index:02x}" * 5} for index in range(1, 5)]
        steps += [{"do": "push", "value": "7a" * 5, "flags": flags} for flags in (1, 2, 3, 4)]
        steps += [on("peek"), on("pop"), on("pop"), on("pop"), on("pop"), on("delete"), on("next")]
        yield {"name": "a queue or stack", "map": {"type": kind, "key": 0, "value": 5, "entries": 3}, "steps": steps}


def reference_cases():
    declaration = {"type": PROG_ARRAY, "key": 4, "value": 4, "entries": 4}
    xdp = "program:xdp"
    steps = [on("lookup", u32(0)), update(u32(0), xdp), update(u32(1), "program:tc"), update(u32(1), "program:xdp.frags"), update(u32(4), xdp)]
    steps += [update(u32(0), xdp, flags) for flags in (1, 2, 3, 4)] + [update(u32(4), xdp, 1)]
    steps += [on("lookup", u32(0)), on("lookup", u32(1)), on("lookup", u32(4)), on("delete", u32(1)), on("delete", u32(0)), on("delete", u32(0)), on("delete", u32(4))]
    steps += [update(u32(0), "program:tc"), on("next"), on("next", u32(0)), on("next", u32(3)), on("next", u32(7))]
    yield {"name": "programs in a PROG_ARRAY", "map": declaration, "steps": steps}
    tc = [update(u32(0), "program:tc"), update(u32(1), xdp), on("lookup", u32(0))]
    yield {"name": "the first program decides", "map": declaration, "steps": tc}

    yield {"name": "slots of a PERF_EVENT_ARRAY", "map": {"type": PERF, "key": 4, "value": 4, "entries": 2}, "steps": [update(u32(2), "missing"), update(u32(0), "missing", 1), on("lookup", u32(0)), on("delete", u32(2)), on("next"), on("next", u32(1))]}

    base = {"type": HASH, "key": 4, "value": 8, "entries": 4}
    inner = {
        "template": base, "same": base, "larger": {**base, "entries": 9}, "key": {**base, "key": 8}, "value": {**base, "value": 4}, "lru": {**base, "type": LRU_HASH},
        "noprealloc": {**base, "flags": 1}, "rdonly_prog": {**base, "flags": 128}, "rdonly": {**base, "flags": 8}, "zero_seed": {**base, "flags": 64},
    }
    arrays = {"template": {**base, "type": ARRAY}, "same": {**base, "type": ARRAY}, "larger": {**base, "type": ARRAY, "entries": 5}}
    flexible = {name: {**declaration, "flags": 4096} for name, declaration in arrays.items()} | {"same": arrays["same"]}
    percpu = {name: {**declaration, "type": PERCPU_ARRAY} for name, declaration in arrays.items()}
    for kind in (ARRAY_OF_MAPS, HASH_OF_MAPS):
        declaration = {"type": kind, "key": 4, "value": 4, "entries": 2, "inner": "map:template"}
        steps = [on("lookup", u32(0)), update(u32(0), "missing")] + [update(u32(0), f"map:{name}") for name in inner]
        steps += [update(u32(0), "map:same", flags) for flags in (0, 1, 2, 3, 4)] + [on("lookup", u32(0)), update(u32(9), "map:same", 2)]
        steps += [update(u32(1), "map:same"), update(u32(2), "map:same"), on("lookup", u32(2)), on("lookup", u32(1))]
        steps += [on("delete", u32(0)), on("delete", u32(0)), on("delete", u32(2)), on("delete", u32(1)), on("lookup", u32(1))]
        yield {"name": "maps of maps", "maps": inner, "map": declaration, "steps": steps}
        for maps in (arrays, flexible, percpu):
            yield {"name": "arrays in maps", "maps": maps, "map": declaration, "steps": [update(u32(0), "map:same"), update(u32(0), "map:larger")]}
        for name, other in (("prog_array", {"type": PROG_ARRAY, "key": 4, "value": 4, "entries": 1}), ("lpm", {"type": LPM, "key": 8, "value": 8, "entries": 1, "flags": 1}), ("ringbuf", {"type": RINGBUF, "entries": 4096})):
            yield {"name": f"{name} as inner map", "maps": {"template": other}, "map": declaration, "steps": []}
        yield {"name": "no inner map", "map": {key: declaration[key] for key in ("type", "key", "value", "entries")}, "steps": []}


def redirect_cases():
    lo, none = u32(1), u32(9999)
    for kind in (DEVMAP, DEVMAP_HASH):
        steps = [update(u32(0), lo), update(u32(0), none), update(u32(1), u32(0)), update(OUTSIDE, lo)]
        steps += [update(u32(0), lo, flags) for flags in (1, 2, 3, 4)] + [update(u32(2), lo, flags) for flags in (2, 1)]
        steps += [on("lookup", u32(0)), on("lookup", u32(1)), on("lookup", u32(9)), on("delete", u32(0)), on("delete", u32(0)), on("delete", u32(9))]
        if kind == DEVMAP:
            steps += [on("next"), on("next", u32(1)), on("next", u32(3))]
        yield {"name": "devices", "map": {"type": kind, "key": 4, "value": 4, "entries": 4}, "steps": steps}
        steps = [update(u32(0), f"{lo} {word}") for word in ("program:xdp", "program:tc", u32(-1), u32(0), "program:xdp_devmap")] + [on("lookup", u32(0))]
        steps += [update(u32(0), f"{u32(0)} {word}") for word in ("program:xdp_devmap", u32(0), u32(-1))] + [on("lookup", u32(0))]
        steps += [update(u32(index + 20), f"{lo} {u32(0)}") for index in range(5)] if kind == DEVMAP_HASH else []
        yield {"name": "devices with programs", "map": {"type": kind, "key": 4, "value": 8, "entries": 4}, "steps": steps}
    steps = [update(u32(0), u32(192)), on("lookup", u32(0)), update(u32(1), u32(0)), update(u32(2), u32(1))] + [update(u32(0), u32(64), flags) for flags in (1, 2, 3, 4)]
    steps += [update(u32(0), u32(16384)), update(u32(0), u32(16385)), update(u32(5), u32(16385)), on("lookup", u32(1)), on("lookup", u32(2))]
    steps += [on("delete", u32(1)), on("delete", u32(0)), on("delete", u32(2)), on("next"), on("next", u32(1))]
    yield {"name": "CPUs", "map": {"type": CPUMAP, "key": 4, "value": 4, "entries": 2}, "steps": steps}
    yield {"name": "a CPU that is not possible", "map": {"type": CPUMAP, "key": 4, "value": 4, "entries": 100}, "steps": [update(u32(99), u32(1))]}
    yield {"name": "CPUs with programs", "map": {"type": CPUMAP, "key": 4, "value": 8, "entries": 2}, "steps": [update(u32(0), f"{u32(192)} {u32(-1)}"), on("lookup", u32(0))]}
    yield {"name": "sockets", "map": {"type": XSKMAP, "key": 4, "value": 4, "entries": 2}, "steps": [update(u32(2), "missing"), update(u32(0), "missing", 3), on("delete", u32(0)), on("delete", u32(2)), on("next"), on("next", u32(1))]}


def access_cases():
    value = "00" * 8
    for flags in (8, 16):
        steps = [update(u32(0), value), on("lookup", u32(0)), on("next"), on("delete", u32(0))]
        yield {"name": "access of user space", "map": {"type": HASH, "key": 4, "value": 8, "entries": 4, "flags": flags}, "steps": steps}
    yield {"name": "a frozen map", "map": {"type": ARRAY, "key": 4, "value": 8, "entries": 1}, "steps": [on("freeze"), update(u32(0), value), on("delete", u32(0)), on("lookup", u32(0))]}
    yield {"name": "elements of a ring buffer", "map": {"type": RINGBUF, "key": 0, "value": 0, "entries": 4096}, "steps": [on("next"), on("delete"), on("peek"), on("pop")]}


def declarations():
    """Sizes and flags, and whether Linux makes such a map."""
    good = {
        HASH: (4, 8, 4, 0), ARRAY: (4, 8, 4, 0), PROG_ARRAY: (4, 4, 4, 0), PERF: (4, 4, 4, 0), PERCPU_HASH: (4, 8, 4, 0), PERCPU_ARRAY: (4, 8, 4, 0), LRU_HASH: (4, 8, 4, 0),
        LRU_PERCPU_HASH: (4, 8, 4, 0), LPM: (8, 8, 4, 1), DEVMAP: (4, 4, 4, 0), CPUMAP: (4, 4, 4, 0), XSKMAP: (4, 4, 4, 0), QUEUE: (0, 8, 4, 0), STACK: (0, 8, 4, 0), DEVMAP_HASH: (4, 4, 4, 0), RINGBUF: (0, 0, 4096, 0),
    }
    large = 4_194_304
    for kind, (key, value, entries, flags) in good.items():
        tried = {(key, value, entries, flags ^ (1 << bit)) for bit in range(20) if bit not in (2, 13, 14, 15, 16)}
        tried |= {(size, value, entries, flags) for size in (0, 1, 4, 5, 8, 260, 261, 513)}
        tried |= {(key, size, entries, flags) for size in (0, 1, 4, 5, 8, 12)}
        tried |= {(key, value, 0, flags), (key, value, entries, flags)}
        # A CPUMAP has at most as many entries as the kernel was built for CPUs.
        tried |= {(key, value, many, flags) for many in (5000, 8192) if kind != CPUMAP}
        tried |= {(key, value, entries, flags | both) for both in (8 | 16, 128 | 256, 2 | 4, 4)}
        if kind in PER_CPU:
            tried |= {(key, size, entries, flags) for size in (32768, 32769)}
        if kind in (HASH, LRU_HASH):
            tried |= {(4, large - 4 - rest, 1, 0) for rest in (47, 48, 49)}
        if kind == LPM:
            tried |= {(8, large - rest, 1, 1) for rest in (0, 200, 256, 300, 350, 400)}
        if kind == ARRAY:
            tried |= {(4, 0x80000000, 1, 0)}
        for declaration in sorted(tried):
            yield {"type": kind, "key": declaration[0], "value": declaration[1], "entries": declaration[2], "flags": declaration[3]}


def main():
    cases = [record(case) for family in (element_cases, trie_cases, queue_cases, reference_cases, redirect_cases, access_cases) for case in family()]
    made = []
    for declaration in declarations():
        fd, result = create(declaration)
        if fd is not None:
            os.close(fd)
        made.append([*declaration.values(), result])
    path = pathlib.Path(__file__).with_name("linux-answers.json")
    def lines(rows):
        return ",\n".join("    " + json.dumps(row) for row in rows)
    release = os.uname().release.split("-")[0]
    path.write_text(f'{{\n  "linux": {json.dumps(release)},\n  "declarations": [\n{lines(made)}\n  ],\n  "cases": [\n{lines(cases)}\n  ]\n}}\n')


main()
