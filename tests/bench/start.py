# SPDX-License-Identifier: MIT
"""Start: exec to the guest's first instruction, as the CPU time and the wall time of the whole process, its end included.

The guest writes to a port as its first instruction, which ends the program. Machines of several sizes: 1 and 8 vCPUs, 128 MiB and 16 GiB,
without devices and with 8 disks, 8 network cards or both. The floor (tests/bench/floor.c) makes the same memory and vCPUs, and has no devices.
"""
import os
import subprocess

from common import BOARDS, DEBUG_EXIT, GUEST, OUT, CannotMeasure, Figure, ratios, summary, timed

IMAGE = f"{GUEST}/first.elf"
DEVICES = 8
# Name, vCPUs, MiB, disks, network cards, board; the goals of CPU time to the floor and to QEMU.
MACHINES = (
    ("1 vCPU, 128 MiB", 1, 128, 0, 0, "pc", 1.3, 0.1),
    ("8 vCPUs", 8, 128, 0, 0, "pc", 1.3, 0.1),
    ("16 GiB", 1, 16384, 0, 0, "pc", 1.3, 0.1),
    ("8 disks", 1, 128, DEVICES, 0, "pc", None, 0.1),
    ("8 network cards", 1, 128, 0, DEVICES, "pc", None, 0.1),
    ("8 vCPUs, 16 GiB, 8 disks, 8 network cards", 8, 16384, DEVICES, DEVICES, "pc", None, 0.1),
    ("microvm, 1 vCPU, 128 MiB", 1, 128, 0, 0, "microvm", 1.3, 0.1),
    ("microvm, 8 vCPUs, 16 GiB, 8 disks, 8 network cards", 8, 16384, DEVICES, DEVICES, "microvm", None, 0.1),
)


def tap_name(index):
    return f"bstart{index}"


class Taps:
    """Interfaces for the network cards, there while this is entered."""

    def __enter__(self):
        for n in range(DEVICES):
            subprocess.run(["ip", "tuntap", "add", tap_name(n), "mode", "tap", "vnet_hdr"], check=True, stderr=subprocess.PIPE)
        return self

    def __exit__(self, *_):
        for n in range(DEVICES):
            subprocess.run(["ip", "link", "del", tap_name(n)], check=False, stderr=subprocess.PIPE)


def disk(index):
    path = f"{OUT}/start{index}.raw"
    if not os.path.exists(path):
        with open(path, "wb") as file:
            file.truncate(1 << 30)
    return path


def options(cpus, mib, disks, nics, board):
    """The machine, in words that both programs know."""
    bus = "device" if board == "microvm" else "pci"
    words = ["-smp", str(cpus), "-m", str(mib), "-kernel", IMAGE, *DEBUG_EXIT]
    for n in range(disks):
        words += ["-drive", f"file={disk(n)},format=raw,if=none,id=d{n},readonly=on", "-device", f"virtio-blk-{bus},drive=d{n}"]
    for n in range(nics):
        words += ["-netdev", f"tap,id=n{n},ifname={tap_name(n)},script=no,downscript=no", "-device", f"virtio-net-{bus},netdev=n{n}"]
    return words


def commands(cpus, mib, disks, nics, board):
    words = options(cpus, mib, disks, nics, board)
    programs = {"kite": (BOARDS[board][0](*words), 33), "qemu": (BOARDS[board][1](*words), 33)}
    if not disks and not nics:
        programs["floor"] = ([f"{OUT}/floor", "-c", str(cpus), "-m", str(mib), IMAGE], 0)
    return programs


def take(programs, runs):
    """{"CPU": ..., "wall": ...} of {program: milliseconds by rounds}."""
    values = {kind: {p: [] for p in programs} for kind in ("CPU", "wall")}
    for argv, status in programs.values():
        timed(argv, status)  # files into the cache
    for _ in range(runs):
        for program, (argv, status) in programs.items():
            # The short ones three times, of which the middle counts: their spread is larger than they are.
            each = sorted(timed(argv, status) for _ in range(1 if program == "qemu" else 3))
            cpu, wall = each[len(each) // 2]
            values["CPU"][program].append(cpu * 1000)
            values["wall"][program].append(wall * 1000)
    return values


def figures(name, values, goals, where):
    made = []
    for kind, by_program in values.items():
        parts = {program: summary(v) for program, v in by_program.items()}
        for other, goal in goals.items():
            if other in parts:
                ratio = ratios(by_program, "kite", other)
                made.append(Figure(f"start, {name}, {kind} time: Kite / {'QEMU' if other == 'qemu' else other}", ratio["median"],
                                   goal if kind == "CPU" else None, parts=dict(parts, ratio=ratio), where=where))
    return made


def measure_start(runs, where):
    made, missing = [], []
    for name, cpus, mib, disks, nics, board, to_floor, to_qemu in MACHINES:
        try:
            programs = commands(cpus, mib, disks, nics, board)
            if nics:
                with Taps():
                    values = take(programs, runs)
            else:
                values = take(programs, runs)
            made += figures(name, values, {"floor": to_floor, "qemu": to_qemu}, where)
        except (CannotMeasure, OSError, subprocess.CalledProcessError) as why:
            missing.append(f"{name}: {why}")
    return made, missing
