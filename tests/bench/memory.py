# SPDX-License-Identifier: MIT
"""Memory beside the guest's, resident and proportional, by device set; wakeups while the guest sleeps; a hundred idle microVMs at once.

The guest is a payload that says a word and sleeps, with interrupts off. Guest memory is the largest mapping of the process, and is left out.
Proportional means that a page which n processes share counts as an nth: with one VM of a kind alone on the machine that is nearly the resident
set, with a hundred of them it is what one more costs.
"""
import os
import re
import subprocess
import time

from common import BOARDS, DEBUG_EXIT, GUEST, CannotMeasure, Figure, Running, kite_microvm, summary, wakeups
from start import Taps, disk, tap_name

WORD = b"bad: stuck"
MIB = 1024  # KiB
CROWD = 100
IDLE_SECONDS = 5
# Name, disks, network cards, vCPUs, the goal in MiB.
SETS = (
    ("no devices", 0, 0, 1, 2.0),
    ("a disk", 1, 0, 1, 2.0),
    ("a disk and a network card", 1, 1, 1, 2.0),
    ("8 vCPUs, a disk and a network card", 1, 1, 8, None),
)


def beside_ram(pid):
    """KiB (resident, proportional) of every mapping but the largest."""
    mappings = []
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as file:
        for line in file:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                mappings.append({})
            elif found := re.match(r"(Size|Rss|Pss): +(\d+) kB", line):
                mappings[-1][found[1]] = int(found[2])
    mappings.sort(key=lambda m: m["Size"])
    return sum(m["Rss"] for m in mappings[:-1]), sum(m["Pss"] for m in mappings[:-1])


def sleeper(argv, board, disks, nics, cpus, mib=512):
    bus = "device" if board == "microvm" else "pci"
    words = ["-m", str(mib), "-smp", str(cpus), "-name", "bench,debug-threads=on", "-kernel", f"{GUEST}/bad.elf", "-append", "how=stuck",
             "-serial", "stdio", *DEBUG_EXIT]
    for n in range(disks):
        words += ["-drive", f"file={disk(n)},format=raw,if=none,id=d{n},readonly=on", "-device", f"virtio-blk-{bus},drive=d{n}"]
    for n in range(nics):
        words += ["-netdev", f"tap,id=n{n},ifname={tap_name(n)},script=no,downscript=no", "-device", f"virtio-net-{bus},netdev=n{n}"]
    return argv(*words)


def one_set(name, disks, nics, cpus, goal, board, where):
    sizes = {}
    for program, argv in zip(("kite", "qemu"), BOARDS[board]):
        with Running(sleeper(argv, board, disks, nics, cpus)) as vmm:
            vmm.until(WORD)
            time.sleep(0.5)
            sizes[program] = beside_ram(vmm.proc.pid)
    made = []
    for index, what in enumerate(("resident", "proportional")):
        parts = {program: {"median": size[index] / MIB, "runs": 1} for program, size in sizes.items()}
        made.append(Figure(f"memory beside the guest's, {board}, {name}: {what}", sizes["kite"][index] / MIB, goal, "MiB", parts, where))
    return made


def measure_memory(_runs, where):
    made, missing = [], []
    for board in BOARDS:
        for name, disks, nics, cpus, goal in SETS:
            try:
                if nics:
                    with Taps():
                        made += one_set(name, disks, nics, cpus, goal, board, where)
                else:
                    made += one_set(name, disks, nics, cpus, goal, board, where)
            except (CannotMeasure, OSError, subprocess.CalledProcessError) as why:
                missing.append(f"{board}, {name}: {why}")
    return made, missing


def measure_idle(_runs, where):
    count = {}
    for program, argv in zip(("kite", "qemu"), BOARDS["pc"]):
        with Running(sleeper(argv, "pc", 1, 0, 1)) as vmm:
            vmm.until(WORD)
            time.sleep(1)
            count[program] = wakeups(vmm.proc.pid, IDLE_SECONDS)
    parts = {program: {"median": n, "runs": 1} for program, n in count.items()}
    return [Figure(f"wakeups in {IDLE_SECONDS} s, sleeping guest", count["kite"], 0, "", parts, where)]


def cpu_seconds(pids):
    """Of all their threads, the vCPUs' too."""
    total = 0
    for pid in pids:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def measure_crowd(_runs, where):
    """CROWD microVMs of 64 MiB with a disk each, all at once."""
    argv = sleeper(kite_microvm, "microvm", 1, 0, 1, 64)
    vmms, start = [], time.monotonic()
    try:
        for _ in range(CROWD):
            vmms.append(Running(argv))
        for vmm in vmms:
            vmm.until(WORD)
        took = time.monotonic() - start
        time.sleep(1)
        pids = [vmm.proc.pid for vmm in vmms]
        sizes = [beside_ram(pid) for pid in pids]
        before = cpu_seconds(pids)
        time.sleep(IDLE_SECONDS)
        cpu = (cpu_seconds(pids) - before) / IDLE_SECONDS
    finally:
        for vmm in vmms:
            vmm.__exit__()
    resident, proportional = (summary([s[i] / MIB for s in sizes]) for i in (0, 1))
    return [
        Figure(f"{CROWD} idle microVMs: memory beside the guest's of each, proportional", proportional["median"], 2.0, "MiB",
               {"kite": proportional, "resident": resident}, where),
        Figure(f"{CROWD} idle microVMs: from the first exec until the last guest runs", took * 1000, None, "ms", {"each": {"median": took * 1000 / CROWD, "runs": 1}}, where),
        Figure(f"{CROWD} idle microVMs: host CPU", cpu * 100, 0.1, "%", {"all": {"median": cpu * 100, "runs": 1}}, where),
    ]
