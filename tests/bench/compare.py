#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""This tree's Kite beside that of another commit, in turns: what a change costs, or saves.

usage: tests/bench/compare.py [--only start,exits,memory,disk,size] [--runs N] [--limit PERCENT] REV

Builds REV in a worktree of its own (below $B/bench, taken away afterwards), with the same make and compiler. Prints a line a figure: the ratio
of this tree to REV, by rounds, with its quartiles. What is worse by more than the limit (5 %), and not only because the rounds differ that
much (both quartiles say that it is worse), is marked WORSE; then the status is 1. Status 2: something could not be measured.

  start    CPU and wall time from exec to the first instruction, 1 and 8 vCPUs, with and without disks, on both boards
  exits    what ports, memory, doorbells and MSIs take a guest
  memory   resident set beside guest memory, with no devices and with a disk
  disk     requests of a bare-metal guest to its disk: how many, and CPU time each
  size     bytes of the stripped program, relocations

Needs payloads and $B/bench/floor: make bench-compare BASE=REV.
"""
import argparse
import os
import shlex
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "guest")]
from common import BOARDS, BUILD, KITE, OUT, CannotMeasure, Running, kite, ratios, summary  # noqa: E402
from disk import OPERATIONS, PAYLOAD_GUEST, PayloadVmm, disk_options, make_image, measure  # noqa: E402
from exits import KINDS, programs as exit_programs, take as take_exits  # noqa: E402
from memory import WORD, beside_ram, sleeper  # noqa: E402
from size import facts  # noqa: E402
from start import MACHINES, options, take as take_start  # noqa: E402

RUNS = 10
LIMIT = 5.0
DISK_SECONDS = 0.3


class Line:
    """A figure: its rounds in both programs. With `more`, a larger one is better."""

    def __init__(self, name, values, unit, more=False):
        self.name, self.values, self.unit, self.more = name, values, unit, more

    def worse(self, limit):
        ratio = self.ratio()
        return ratio["median"] > 1 + limit / 100 and ratio["q1"] > 1

    def ratio(self):
        """How many times worse than before."""
        return ratios(self.values, "base", "now") if self.more else ratios(self.values, "now", "base")

    def text(self, limit):
        ratio = self.ratio()
        base, now = (summary(self.values[which])["median"] for which in ("base", "now"))
        mark = "WORSE " if self.worse(limit) else "better" if ratio["median"] < 1 - limit / 100 and ratio["q3"] < 1 else "      "
        return f"{mark} {ratio['median']:.3f} [{ratio['q1']:.3f}-{ratio['q3']:.3f}]  {self.name}: {base:.4g} to {now:.4g} {self.unit}"


def compare_start(programs, runs):
    for name, cpus, mib, disks, nics, board, _, _ in MACHINES:
        if nics:
            continue
        words = options(cpus, mib, disks, nics, board)
        values = take_start({which: (BOARDS[board][0](*words, program=program), 33) for which, program in programs.items()}, 2 * runs)
        for kind, by_program in values.items():
            yield Line(f"start, {name}, {kind} time", by_program, "ms")


def compare_exits(programs, runs):
    commands = {which: exit_programs(program)["kite"] for which, program in programs.items()}
    for kind, by_program in take_exits(commands, runs).items():
        yield Line(f"exits, {KINDS[kind]}", by_program, "cycles")


def compare_memory(programs, _runs):
    for disks in (0, 1):
        values = {}
        for which, program in programs.items():
            def argv(*words, program=program):
                return kite(*words, program=program)
            sizes = []
            for _ in range(2):  # the first is the one that reads the file
                with Running(sleeper(argv, "pc", disks, 0, 1)) as vmm:
                    vmm.until(WORD)
                    time.sleep(0.3)
                    sizes.append(beside_ram(vmm.proc.pid)[0])
            values[which] = [sizes[-1]] * 2
        yield Line(f"memory beside the guest's, {'a disk' if disks else 'no devices'}", values, "KiB")


def compare_disk(programs, runs):
    image = f"{OUT}/disk.raw"
    make_image(image)
    vmms = {}
    try:
        for which, program in programs.items():
            words = [w.replace("format=raw", "format=raw,file.locking=off") for w in disk_options(image)]
            vmms[which] = PayloadVmm(kite(*PAYLOAD_GUEST, *words, program=program))
        results = measure(vmms, runs, DISK_SECONDS)
    finally:
        for vmm in vmms.values():
            vmm.stop()
    for name, *_ in OPERATIONS:
        got = results[name]
        yield Line(f"disk, {name}", {which: [rate for rate, _ in got[which]] for which in programs}, "/s", more=True)
        yield Line(f"disk, {name}, CPU a request", {which: [cpu for _, cpu in got[which]] for which in programs}, "us")


def compare_size(programs, _runs):
    got = {which: facts(program[0]) for which, program in programs.items()}
    for key in ("KiB", "relocations"):
        yield Line(f"size, {key}", {which: [f[key]] * 2 for which, f in got.items()}, "")


COMPARISONS = {"start": compare_start, "exits": compare_exits, "memory": compare_memory, "disk": compare_disk, "size": compare_size}


class Base:
    """REV's Kite, built in a worktree that is there while this is entered."""

    def __init__(self, rev):
        self.rev, self.tree = rev, os.path.abspath(f"{OUT}/base.{os.getpid()}")

    def __enter__(self):
        subprocess.run(["git", "worktree", "add", "-q", "--detach", self.tree, self.rev], check=True)
        try:
            print(f"compare: building {self.rev} ...", file=sys.stderr, flush=True)
            # Our own make may be the caller: its options are not for this one.
            environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "B", "BASE")}
            subprocess.run(["make", "-s", f"-j{os.cpu_count()}", "B=build", "build/kite"], cwd=self.tree, env=environment, check=True, stdout=sys.stderr)
        except BaseException:
            self.__exit__()
            raise
        return [f"{self.tree}/build/kite"]

    def __exit__(self, *_):
        subprocess.run(["git", "worktree", "remove", "--force", self.tree], check=False)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("rev", metavar="REV")
    parser.add_argument("--only", default=",".join(COMPARISONS))
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--limit", type=float, default=LIMIT)
    opts = parser.parse_args()
    names = opts.only.split(",")
    if not set(names) <= set(COMPARISONS) or opts.runs < 2:
        parser.error(f"--only takes some of {','.join(COMPARISONS)}; --runs at least 2")
    os.makedirs(OUT, exist_ok=True)
    status = 0
    try:
        with Base(opts.rev) as base:
            programs = {"base": base, "now": [os.path.abspath(KITE[0]), *KITE[1:]]}
            print(f"{shlex.join(programs['now'])} ({BUILD}) to {opts.rev}: more than 1 is worse")
            for name in names:
                try:
                    for line in COMPARISONS[name](programs, opts.runs):
                        print(line.text(opts.limit), flush=True)
                        status = max(status, line.worse(opts.limit))
                except (CannotMeasure, OSError, subprocess.SubprocessError) as why:
                    print(f"{name}: not measured: {why}")
                    status = 2
    except subprocess.CalledProcessError as why:
        print(f"compare: {opts.rev}: {why}", file=sys.stderr)
        return 2
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
