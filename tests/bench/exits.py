# SPDX-License-Identifier: MIT
"""Exits: what it takes a guest in ring 3 to leave KVM and come back (tests/guest/exits.c), beside the floor's loop and QEMU.

Ports and memory of pc-testdev; a doorbell (ioeventfd); a request to virtio-rng until its answer stands in the used ring, and until its MSI
has been taken. For the last two the floor has a thread that waits on an eventfd and answers at once, without a queue or random numbers.
Time is in the TSC's cycles of the guest.
"""
import re
import subprocess

from common import DEBUG_EXIT, GUEST, OUT, CannotMeasure, Figure, kite, qemu, ratios, same_work, summary

COUNT = 5000
KINDS = {
    "in": "port read", "out": "port write", "read": "MMIO read", "write": "MMIO write", "bell": "doorbell (ioeventfd)",
    "used": "request to virtio-rng, polled", "msi": "request to virtio-rng, MSI",
}
GOAL_FLOOR, GOAL_QEMU = 1.05, 1.0
DEVICE_KINDS = ("used", "msi")  # Kite's device does more here than the floor's thread: that ratio has no goal
IMAGE = f"{GUEST}/exits.elf"


def programs(program=None):
    words = ["-kernel", IMAGE, "-append", f"count={COUNT}", "-device", "pc-testdev", "-device", "virtio-rng-pci", "-serial", "stdio", *DEBUG_EXIT]
    return {
        "floor": ([f"{OUT}/floor", IMAGE, f"count={COUNT} floor=yes"], 0),
        "kite": (kite(*words, program=program), 33),
        "qemu": (qemu(*words), 33),
    }


def run(argv, status):
    """{kind: (times, cycles)}"""
    got = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)
    if got.returncode != status:
        raise CannotMeasure(f"status {got.returncode} instead of {status}: {got.stdout[-300:]!r}")
    return {m[1].decode(): (int(m[2]), int(m[3])) for m in re.finditer(rb"^exits: (\w+) (\d+) (\d+)", got.stdout, re.M)}


def take(commands, runs):
    """{kind: {program: cycles each, by rounds}}"""
    values = {kind: {program: [] for program in commands} for kind in KINDS}
    for n in range(runs + 1):
        got = {program: run(*command) for program, command in commands.items()}
        for kind in KINDS:
            same_work(kind, {program: counts.get(kind, (0, 0))[0] for program, counts in got.items()})
            for program in commands:
                if n:  # the first round warms up
                    values[kind][program].append(got[program][kind][1] / got[program][kind][0])
    return values


def measure_exits(runs, where):
    made = []
    for kind, by_program in take(programs(), runs).items():
        parts = {program: summary(values) for program, values in by_program.items()}
        for other, goal in (("floor", None if kind in DEVICE_KINDS else GOAL_FLOOR), ("qemu", GOAL_QEMU)):
            ratio = ratios(by_program, "kite", other)
            made.append(Figure(f"exits, {KINDS[kind]}: Kite / {'QEMU' if other == 'qemu' else other}", ratio["median"], goal,
                               parts=dict(parts, ratio=ratio), where=where, amounts=" cycles"))
    return made
