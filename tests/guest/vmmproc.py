# SPDX-License-Identifier: MIT
"""What /proc says of a running VMM; for tests/guest/run and tests/bench/run.py."""
import re


def resident_beside_ram(pid):
    """KiB resident in every mapping but the largest, which is guest memory."""
    mappings = []
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as f:
        for line in f:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                mappings.append({"Size": 0, "Rss": 0})
            else:
                m = re.match(r"(Size|Rss): +(\d+) kB", line)
                if m:
                    mappings[-1][m.group(1)] = int(m.group(2))
    mappings.sort(key=lambda m: m["Size"])
    return sum(m["Rss"] for m in mappings[:-1])
