#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Writes a small 32-bit PowerPC ELF executable with one segment, or one that is wrong in a chosen way."""
import argparse
import struct


def number(text):
    return int(text, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output")
    parser.add_argument("--machine", type=number, default=20, help="e_machine (20 is PowerPC)")
    parser.add_argument("--code", default="48000000", help="the segment's bytes in hexadecimal")
    parser.add_argument("--physical", type=number, default=0)
    parser.add_argument("--entry", type=number, default=None)
    parser.add_argument("--memory", type=number, default=None, help="p_memsz")
    parser.add_argument("--offset", type=number, default=None, help="p_offset")
    parser.add_argument("--little-endian", action="store_true")
    parser.add_argument("--no-segments", action="store_true")
    options = parser.parse_args()

    code = bytes.fromhex(options.code)
    order = "<" if options.little_endian else ">"
    virtual = (0xC0000000 + options.physical) & 0xFFFFFFFF
    entry = virtual if options.entry is None else options.entry
    offset = 84 if options.offset is None else options.offset
    memory = len(code) if options.memory is None else options.memory
    ident = b"\x7fELF" + bytes([1, 1 if options.little_endian else 2, 1]) + bytes(9)
    count = 0 if options.no_segments else 1
    header = struct.pack(order + "HHIIIIIHHHHHH", 2, options.machine, 1, entry, 52, 0, 0, 52, 32, count, 40, 0, 0)
    segment = struct.pack(order + "IIIIIIII", 1, offset, virtual, options.physical, len(code), memory, 7, 4)
    with open(options.output, "wb") as out:
        out.write(ident + header + segment + code)


main()
