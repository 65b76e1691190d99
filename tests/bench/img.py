# SPDX-License-Identifier: MIT
"""Figures of kite-img beside qemu-img: the same command lines on the same images, in turns.

`bench` rows take what the tool itself says its requests took; `convert` and the others the time of the whole process. A ratio is qemu-img's
time over kite-img's of one round, and the row's value the median of the rounds. "CPU" is kite-img's user and system time over qemu-img's.

Images are in IMG_DIR (environment; default /var/tmp): their pages are in the host's cache, as the tools' default cache mode has it, and
every round begins with the same ones. With a directory of a tmpfs no disk takes part at all.
"""
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

from common import BUILD, CannotMeasure, Figure, summary

MIB = 1 << 20
DISK = 1024  # MiB of a disk for `bench`
DATA = 256   # MiB that a disk to convert has, and as much of holes
KITE_IMG = shlex.split(os.environ.get("KITE_IMG", f"{BUILD}/kite-img"))
QEMU_IMG = shlex.split(os.environ.get("QEMU_IMG", "qemu-img"))
TOOLS = {"kite-img": KITE_IMG, "qemu-img": QEMU_IMG}

# A step through the disk that comes to every block of 4 KiB before it comes to one again, far from the last.
FAR = str(100003 * 4096)
RANDOM = ["-s", "4096", "-S", FAR]
LARGE = ["-s", str(MIB), "-d", "8"]


class Row:
    """One command line. {} in `argv` is an image; `fresh` makes it anew before each run, as (arguments of qemu-img create)."""

    def __init__(self, name, argv, goal=1.0, fresh=None, result=None):
        self.name, self.argv, self.goal, self.fresh, self.result = name, argv, goal, fresh, result


def bench_rows():
    rows = []
    for what, image, back in (("", "full.qcow2", []), (", with backing", "over.qcow2", ["-b", "full.qcow2", "-F", "qcow2"])):
        # What is read lies in the backing file; what is overwritten, in the overlay.
        read_from = "empty.qcow2" if back else image
        fresh = ["-f", "qcow2", *back, "new.qcow2", f"{DISK}M"]
        rows += [
            Row(f"4 KiB random read{what}", ["bench", "-f", "qcow2", "-c", "150000", *RANDOM, read_from]),
            Row(f"4 KiB random overwrite{what}", ["bench", "-f", "qcow2", "-w", "-c", "100000", *RANDOM, image]),
            Row(f"4 KiB random allocating write{what}", ["bench", "-f", "qcow2", "-w", "-c", "12000", *RANDOM, "new.qcow2"], fresh=fresh),
            Row(f"1 MiB sequential read{what}", ["bench", "-f", "qcow2", "-c", "3000", *LARGE, read_from]),
            Row(f"1 MiB sequential read, 64 at a time{what}", ["bench", "-f", "qcow2", "-c", "3000", *LARGE[:2], "-d", "64", read_from]),
            Row(f"1 MiB sequential overwrite{what}", ["bench", "-f", "qcow2", "-w", "-c", "2000", *LARGE, image]),
            Row(f"1 MiB sequential allocating write{what}", ["bench", "-f", "qcow2", "-w", "-c", str(DISK), *LARGE, "new.qcow2"],
                fresh=fresh),
        ]
    rows += [
        Row("4 KiB random read, compressed", ["bench", "-f", "qcow2", "-c", "8000", *RANDOM, "packed.qcow2"]),
        Row("4 KiB random read, compressed, one at a time", ["bench", "-f", "qcow2", "-c", "4000", "-d", "1", *RANDOM, "packed.qcow2"]),
        Row("4 KiB sequential read, compressed", ["bench", "-f", "qcow2", "-c", "16000", "packed.qcow2"]),
        Row("1 MiB sequential read, compressed", ["bench", "-f", "qcow2", "-c", "512", *LARGE, "packed.qcow2"]),
        Row("1 MiB sequential read, compressed, one at a time",
            ["bench", "-f", "qcow2", "-c", "512", "-s", str(MIB), "-d", "1", "packed.qcow2"]),
        Row("1 MiB sequential read, compressed with zstd", ["bench", "-f", "qcow2", "-c", "512", *LARGE, "zstd.qcow2"]),
    ]
    return rows


def convert_rows():
    return [
        Row("convert raw to qcow2", ["convert", "-f", "raw", "-O", "qcow2", "src.raw", "out"], result="out"),
        Row("convert qcow2 to raw", ["convert", "-f", "qcow2", "-O", "raw", "src.qcow2", "out"], result="out"),
        Row("convert qcow2 to qcow2", ["convert", "-f", "qcow2", "-O", "qcow2", "src.qcow2", "out"], result="out"),
        Row("convert -c", ["convert", "-c", "-f", "raw", "-O", "qcow2", "src.raw", "out"], 1.5, result="out"),
        Row("convert -c with zstd", ["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", "src.raw", "out"],
            result="out"),
        Row("convert compressed to raw", ["convert", "-f", "qcow2", "-O", "raw", "packed.qcow2", "out"], result="out"),
        Row("convert compressed to qcow2", ["convert", "-f", "qcow2", "-O", "qcow2", "packed.qcow2", "out"], result="out"),
        Row("compare raw and qcow2", ["compare", "-f", "raw", "-F", "qcow2", "src.raw", "src.qcow2"]),
        Row("check", ["check", "-f", "qcow2", "full.qcow2"]),
    ]


# qcow2 beside raw, both by kite-img.
RAW_ROWS = (
    ("4 KiB random read", ["-c", "150000", *RANDOM]),
    ("4 KiB random write", ["-w", "-c", "100000", *RANDOM]),
    ("1 MiB sequential read", ["-c", "3000", *LARGE]),
    ("1 MiB sequential write", ["-w", "-c", "2000", *LARGE]),
)


def qemu_img(*argv):
    subprocess.run([*QEMU_IMG, *argv], check=True, stdout=subprocess.DEVNULL, timeout=600)


def programs_and_libraries(path):
    """What disks are full of: this machine's own programs and libraries, and holes between them."""
    left = DATA * MIB
    with open(path, "wb") as out:
        for top in ("/usr/bin", "/usr/lib", "/usr/share"):
            for base, dirs, names in os.walk(top):
                dirs.sort()
                for name in sorted(names):
                    file = os.path.join(base, name)
                    if left <= 0 or os.path.islink(file) or not os.path.isfile(file) or not os.access(file, os.R_OK):
                        continue
                    with open(file, "rb") as f:
                        left -= out.write(f.read(min(left, 8 * MIB)))
                    out.seek(-(-out.tell() // 4096) * 4096 + 4096 * (hash_of(name) % 64))
        out.truncate(2 * DATA * MIB)


def hash_of(name):
    return sum(name.encode(errors="replace"))


def prepare():
    """The images that rows only read, or write over."""
    programs_and_libraries("src.raw")
    with open("full.raw", "wb") as f:
        for _ in range(DISK):
            f.write(os.urandom(MIB))
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "full.raw", "full.qcow2")
    qemu_img("create", "-f", "qcow2", "-b", "full.qcow2", "-F", "qcow2", "empty.qcow2")
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "full.raw", "over.qcow2")
    qemu_img("rebase", "-u", "-f", "qcow2", "-b", "full.qcow2", "-F", "qcow2", "over.qcow2")
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "src.raw", "src.qcow2")
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "src.raw", "packed.qcow2")
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", "src.raw", "zstd.qcow2")


def run(tool, argv):
    """(seconds of the requests or of the process, seconds of CPU)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    got = subprocess.run([*TOOLS[tool], *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600, check=False)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if got.returncode:
        raise CannotMeasure(f"{tool} {shlex.join(argv)}: {got.stderr.strip()}")
    said = re.search(r"completed in ([\d.]+) seconds", got.stdout)
    return float(said[1]) if said else wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def take_turns(turns, runs):
    """`turns`: {name: function}. Their (seconds, CPU seconds) by rounds, of which the first warms up."""
    got = {name: [] for name in turns}
    for n in range(runs + 1):
        for name, turn in turns.items():
            value = turn()
            if n:
                got[name].append(value)
    return got


def figure(name, got, a, b, goal, where):
    """How much faster `a` is than `b`."""
    parts = {p: summary([wall * 1000 for wall, _ in values]) for p, values in got.items()}
    ratio = summary([y[0] / max(x[0], 1e-3) for x, y in zip(got[a], got[b])])
    cpu = summary([x[1] / max(y[1], 1e-3) for x, y in zip(got[a], got[b])])
    return Figure(name, ratio["median"], goal, "x", dict(parts, ratio=ratio, CPU=cpu), where, more=True)


def row_turn(tool, row):
    def turn():
        for name in filter(None, (row.result, row.fresh and "new.qcow2")):
            if os.path.exists(name):
                os.unlink(name)
        if row.fresh:
            qemu_img("create", *row.fresh)
        return run(tool, row.argv)
    return turn


def rows_measure(rows, runs, where):
    made = []
    for row in rows:
        got = take_turns({tool: row_turn(tool, row) for tool in TOOLS}, runs)
        made.append(figure(f"img, {row.name}: kite-img / qemu-img", got, "kite-img", "qemu-img", row.goal, where))
        print(f"bench: {made[-1].name}: {made[-1].value:.2f}", file=sys.stderr, flush=True)
    for name, argv in RAW_ROWS:
        got = take_turns({kind: lambda kind=kind: run("kite-img", ["bench", "-f", kind, *argv, f"full.{kind}"]) for kind in ("qcow2", "raw")},
                         runs)
        made.append(figure(f"img, {name}: qcow2 / raw", got, "qcow2", "raw", 0.9, where))
    return made


def measure_img(runs, where):
    if not shutil.which(QEMU_IMG[0]):
        raise CannotMeasure("qemu-img is not installed")
    if not os.access(KITE_IMG[0], os.X_OK):
        raise CannotMeasure(f"{KITE_IMG[0]} is not there")
    KITE_IMG[0] = os.path.abspath(KITE_IMG[0])
    back, directory = os.getcwd(), tempfile.mkdtemp(prefix="kite-bench.", dir=os.environ.get("IMG_DIR", "/var/tmp"))
    try:
        os.chdir(directory)
        prepare()
        only = re.compile(os.environ.get("IMG_ROWS", ""))
        return rows_measure([row for row in bench_rows() + convert_rows() if only.search(row.name)], runs, where)
    except subprocess.CalledProcessError as why:
        raise CannotMeasure(str(why)) from None
    finally:
        os.chdir(back)
        shutil.rmtree(directory)
