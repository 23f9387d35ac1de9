#!/usr/bin/env python3
"""Writes unicode_tables.h: `python3 unicode_tables.py > unicode_tables.h`.

Three kinds of tables, all as sorted ranges with a step, because upper and lower case alternate
in most scripts: simple lower case, simple case folding (statuses C and S of CaseFolding.txt) and
the members of the categories Ll and Nd. The data is that of Python's unicodedata module.
"""

import unicodedata

TOP = 0x110000


def characters():
    return (c for c in range(TOP) if not 0xD800 <= c <= 0xDFFF)


def lower(c):
    text = chr(c).lower()
    # U+0130 alone has a longer full mapping; its simple one is the plain letter.
    return ord(text) if len(text) == 1 else 0x69


def fold(c):
    text = chr(c).casefold()
    if len(text) == 1:
        return ord(text)
    # Only the full folding is longer. The simple one is the lower case of capitals that have
    # one (status S) and nothing for the others. U+0130 has none.
    text = chr(c).lower()
    return ord(text) if len(text) == 1 else c


def mapping_ranges(mapping):
    rows = []
    for c in characters():
        delta = mapping(c) - c
        if delta == 0:
            continue
        if rows:
            first, last, step, previous = rows[-1]
            if previous == delta and c - last <= 2:
                if first == last:
                    rows[-1] = (first, c, c - last, delta)
                    continue
                if c - last == step:
                    rows[-1] = (first, c, step, delta)
                    continue
        rows.append((c, c, 1, delta))
    return rows


def member_ranges(category):
    rows = []
    for c in characters():
        if unicodedata.category(chr(c)) != category:
            continue
        if rows:
            first, last, step, _ = rows[-1]
            if c - last <= 2 and (first == last or c - last == step):
                rows[-1] = (first, c, c - last, 0)
                continue
        rows.append((c, c, 1, 0))
    return rows


def show(name, rows):
    print(f"static const struct unicode_range {name}[] = {{")
    for first, last, step, delta in rows:
        print(f"    {{0x{first:04x}, 0x{last:04x}, {step}, {delta}}},")
    print("};\n")


print("/* Written by unicode_tables.py from Unicode %s; not edited by hand. */" % unicodedata.unidata_version)
print("/* clang-format off */\n")
print("#ifndef BASE_UNICODE_TABLES_H\n#define BASE_UNICODE_TABLES_H\n")
print("#include <stdint.h>\n")
print("/* first, first + step, ... last; delta leads to the mapped character */")
print("struct unicode_range {\n    uint32_t first, last, step;\n    int32_t delta;\n};\n")
show("unicode_lower", mapping_ranges(lower))
show("unicode_fold", mapping_ranges(fold))
show("unicode_lower_letters", member_ranges("Ll"))
show("unicode_decimal_digits", member_ranges("Nd"))
print("/* clang-format on */\n")
print("#endif")
