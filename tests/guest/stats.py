#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Questions about the statistics files that untrap --stats writes. Prints one line; status 1 with the reason when the
answer is no, 2 for a file that is not what it should be.

  stats.py same A B               identical but for what the host's speed decides
  stats.py same-guest A B         identical in what the guest did: instructions, and exits other than ITLB_VIRT and
                                  DTLB_VIRT, which depend on the shadow TLB
  stats.py same-instructions A B  as many guest instructions
  stats.py translated-again A B FACTOR
                                  as many guest instructions, and B translated at most FACTOR times as many blocks as A
  stats.py overhead FILE MIB      memory beyond what the guest touched of its own is at most so much
  stats.py touched FILE MIB       the guest touched more of its memory than that
  stats.py emulation FILE         the number of emulation exits
  stats.py at-most A B FACTOR     emulation exits of A are at most FACTOR times those of B
  stats.py between FILE LOW HIGH  emulation exits within bounds
  stats.py per-operation ONE TWO OPERATIONS LOW HIGH
                                  (exits of TWO - exits of ONE) / OPERATIONS lies within bounds
  stats.py profile PROFILE TRAP PATCH HTML SVG
                                  the profile's runs are those two, its sites have every exit of them, and the page and
                                  the picture are well formed and need nothing from elsewhere
"""
import json
import re
import sys
import xml.etree.ElementTree

BY_HOST_SPEED = ("wall_seconds", "peak_rss_bytes", "guest_resident_bytes")
KEYS = (
    "version host mode level clock wall_seconds guest_instructions exits_total exits patched_sites "
    "translated_blocks peak_rss_bytes"
).split()


class Wrong(Exception):
    """A file that cannot be judged."""


def load(path):
    try:
        with open(path, encoding="utf-8") as source:
            stats = json.load(source)
    except (OSError, ValueError) as error:
        raise Wrong(f"{path}: {error}") from error
    missing = [key for key in KEYS if key not in stats]
    if missing:
        raise Wrong(f"{path}: no {', '.join(missing)}")
    if stats["version"] != 1:
        raise Wrong(f"{path}: version {stats['version']}, not 1")
    if sum(stats["exits"].values()) != stats["exits_total"]:
        raise Wrong(f"{path}: exits add up to {sum(stats['exits'].values())}, exits_total is {stats['exits_total']}")
    return stats


def emulation(stats):
    return sum(count for reason, count in stats["exits"].items() if reason.startswith("EMUL_"))


def differences(a, b, path=""):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(set(a) | set(b)):
            yield from differences(a.get(key), b.get(key), f"{path}{key} ")
    elif a != b:
        yield f"{path}{a} and {b}"


def same(first, second):
    found = list(differences(first, second))
    return not found, "; ".join(found[:6]) if found else "identical"


def guest_view(stats):
    exits = {reason: count for reason, count in stats["exits"].items() if not reason.endswith("_VIRT")}
    return {"guest_instructions": stats["guest_instructions"], "exits": exits}


def well_formed(path, markup):
    try:
        return xml.etree.ElementTree.fromstring(markup)
    except xml.etree.ElementTree.ParseError as error:
        raise Wrong(f"{path}: {error}") from error


def profile(path, runs, html, svg):
    """What is wrong with a profile, and what it says."""
    with open(path, encoding="utf-8") as source:
        whole = json.load(source)
    sites = whole["sites"]
    for mode, run in runs.items():
        if whole[mode]["exits"] != run["exits"]:
            return "; ".join(list(differences(whole[mode]["exits"], run["exits"], f"{mode} "))[:4]), ""
        for reason, count in run["exits"].items():
            here = sum(site[mode]["exits"] for site in sites if site["reason"] == reason)
            if here != count:
                return f"{mode}: sites have {here} exits for {reason}, not {count}", ""
    if sum(whole["left"].values()) != whole["patch"]["exits_total"]:
        return "the causes do not add up", ""
    kernel = sum(site["trap"]["exits"] for site in sites if not site["user"])
    named = sum(site["trap"]["exits"] for site in sites if site["symbol"])
    if named < 0.99 * kernel:
        return f"{named} of {kernel} exits in the kernel have a symbol", ""
    well_formed(svg, open(svg, encoding="utf-8").read())
    page = open(html, encoding="utf-8").read()
    charts = re.findall(r"<svg.*?</svg>", page, re.S)
    for chart in charts:
        well_formed(html, chart)
    if len(charts) < 5 or "<script" in page or re.search(r"(src|href)=|url\(|@import", page):
        return f"{html}: {len(charts)} charts, or something from elsewhere", ""
    return "", f"{len(sites)} sites, {100 * named / kernel:.2f} % of the kernel's exits with a symbol"


def answer(question, arguments):
    if question == "same" and len(arguments) == 2:
        first, second = (load(path) for path in arguments)
        for stats in first, second:
            for key in BY_HOST_SPEED:
                stats.pop(key)
        return same(first, second)
    if question == "translated-again" and len(arguments) == 3:
        first, second = (load(path) for path in arguments[:2])
        made, again = first["translated_blocks"], second["translated_blocks"]
        equal = first["guest_instructions"] == second["guest_instructions"]
        why = f"{made} and {again} blocks translated, {first['guest_instructions']} and {second['guest_instructions']} guest instructions"
        return equal and again <= made * float(arguments[2]), why
    if question == "same-guest" and len(arguments) == 2:
        return same(*(guest_view(load(path)) for path in arguments))
    if question == "same-instructions" and len(arguments) == 2:
        first, second = (load(path)["guest_instructions"] for path in arguments)
        return first == second, f"{first} and {second} guest instructions"
    if question == "overhead" and len(arguments) == 2:
        stats = load(arguments[0])
        mib = (stats["peak_rss_bytes"] - stats["guest_resident_bytes"]) / 2**20
        return 0 < mib <= float(arguments[1]), f"{mib:.1f} MB beside {stats['guest_resident_bytes'] / 2**20:.1f} MB of the guest"
    if question == "touched" and len(arguments) == 2:
        mib = load(arguments[0])["guest_resident_bytes"] / 2**20
        return mib > float(arguments[1]), f"{mib:.0f} MB of the guest's memory in use"
    if question == "emulation" and len(arguments) == 1:
        return True, str(emulation(load(arguments[0])))
    if question == "at-most" and len(arguments) == 3:
        few, many = (emulation(load(path)) for path in arguments[:2])
        return few <= many * float(arguments[2]), f"{few} against {many} emulation exits ({few / max(many, 1):.4f})"
    if question == "between" and len(arguments) == 3:
        count, low, high = emulation(load(arguments[0])), *map(int, arguments[1:])
        return low <= count <= high, f"{count} emulation exits, expected {low} to {high}"
    if question == "per-operation" and len(arguments) == 5:
        one, two = (load(path)["exits_total"] for path in arguments[:2])
        each, low, high = (two - one) / int(arguments[2]), *map(float, arguments[3:])
        return low <= each <= high, f"{each:.2f} exits per operation, expected {low:g} to {high:g}"
    if question == "profile" and len(arguments) == 5:
        runs = {"trap": load(arguments[1]), "patch": load(arguments[2])}
        wrong, text = profile(arguments[0], runs, *arguments[3:])
        return not wrong, wrong or text
    raise Wrong(f"cannot answer: {question} {' '.join(arguments)}")


def main():
    try:
        good, text = answer(sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:])
    except (Wrong, ValueError) as error:
        print(f"stats: {error}")
        sys.exit(2)
    print(text)
    sys.exit(0 if good else 1)


main()
