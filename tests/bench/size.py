# SPDX-License-Identifier: MIT
"""Size: the stripped program, the shared libraries that it loads, the relocations that each start does, and where the bytes are."""
import os
import re
import shutil
import subprocess
import tempfile

from common import KITE, QEMU, CannotMeasure, Figure

KIB = 1024
GOAL_KIB, GOAL_LIBRARIES = 600, 8


def output(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout


def stripped(path):
    with tempfile.TemporaryDirectory() as directory:
        copy = f"{directory}/stripped"
        subprocess.run(["strip", "-o", copy, path], check=True)
        return os.path.getsize(copy)


def libraries(path):
    """What the dynamic linker brings, the linker itself included, the kernel's vDSO not."""
    return [line.split()[0] for line in output("ldd", path).splitlines() if "vdso" not in line]


def relocations(path):
    """Relative ones and those by name; packed ones (DT_RELR) are counted as the words that they stand for."""
    text = output("readelf", "-rW", path)
    count = len(re.findall(r"R_X86_64_\w+", text))
    packed = re.findall(r"(\d+) offsets", text)
    return count + sum(int(n) for n in packed)


def sections(path):
    found = {}
    for line in output("size", "-A", "-d", path).splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1].isdigit() and int(fields[2]) != 0:
            found[fields[0]] = int(fields[1])
    return found


def facts(path):
    return {"KiB": stripped(path) / KIB, "libraries": len(libraries(path)), "relocations": relocations(path), "sections": sections(path)}


def measure_size(_runs, where):
    paths = {"kite": shutil.which(KITE[0]), "qemu": shutil.which(QEMU[0])}
    if not paths["kite"]:
        raise CannotMeasure(f"{KITE[0]} is not there")
    got = {program: facts(path) for program, path in paths.items() if path}

    def parts(key):
        return {program: {"median": f[key], "runs": 1} for program, f in got.items()}
    big = sorted(got["kite"]["sections"].items(), key=lambda item: -item[1])[:6]
    return [
        Figure("size, stripped", got["kite"]["KiB"], GOAL_KIB, "KiB", parts("KiB"), where),
        Figure("size, shared libraries loaded", got["kite"]["libraries"], GOAL_LIBRARIES, "", parts("libraries"), where),
        Figure("size, relocations at start", got["kite"]["relocations"], None, "", parts("relocations"), where),
        *(Figure(f"size, section {name}", size / KIB, None, "KiB", {"kite": {"median": size / KIB, "runs": 1}}, where) for name, size in big),
    ]
