# SPDX-License-Identifier: MIT
"""Boot: exec until the first program of a Linux guest, with Debian's cloud kernel as bzImage and as vmlinux, on both boards, with a disk and a
network card; beside QEMU's boards and the floor (tests/bench/floor_linux.c), which has neither. And where the time goes, in Kite:

  VMM              from exec until the guest begins, without loading the kernel
  kernel load      files read, unpacked, in guest memory; memory and vCPUs made
  kernel early     until its drivers look for devices, by the kernel's log, whose clock starts soon after the first instruction
  device probing   until it starts its first program, by the same
  start and init   what that clock does not see: before it runs, and the first program until it has said that it is there

The first program is tests/bench/init.c. Kite's own phases come from its boot timer (-device isa-boot-timer), the guest's from its log.
"""
import json
import os
import re
import shutil
import subprocess

from common import BOARDS, OUT, CannotMeasure, Figure, Running, ratios, same_work, summary
from start import disk

MIB = 256
APPEND = "console=ttyS0 quiet panic=-1"
GOAL_QEMU, GOALS_FLOOR = 0.75, {"microvm": 1.10, "pc": 1.20}
PHASES = ("VMM", "kernel load", "kernel early", "device probing", "start and init")
FILES = f"{OUT}/boot.files.json"


def newc(entries):
    """A cpio archive: entries are (name, mode, data)."""
    out = bytearray()
    for inode, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4)
        out += data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def prepare_boot():
    """The kernel in both forms and the initramfs; their paths in FILES."""
    got = subprocess.run(["tests/lab/kernels", "linux-image-cloud-amd64"], stdout=subprocess.PIPE, text=True, timeout=300, check=False)
    if got.returncode:
        raise CannotMeasure("tests/lab/kernels failed")
    directory = got.stdout.split()[-1]
    with open(f"{OUT}/init", "rb") as file, open(f"{OUT}/boot.initrd", "wb") as out:
        out.write(newc([("init", 0o100755, file.read())]))
    with open(FILES, "w", encoding="ascii") as file:
        json.dump({"bzImage": f"{directory}/vmlinuz", "vmlinux": f"{directory}/vmlinux", "initrd": os.path.abspath(f"{OUT}/boot.initrd")}, file)


def tap(action):
    subprocess.run(["ip", "tuntap", action, "bboot0", "mode", "tap", "vnet_hdr"], check=action == "add", stderr=subprocess.PIPE)


def command(program, board, form, files):
    words = ["-m", str(MIB), "-kernel", files[form], "-initrd", files["initrd"], "-append", APPEND, "-serial", "stdio", "-cpu", "host"]
    if program == "floor":
        return [f"{OUT}/floor-linux", "-m", str(MIB), files["vmlinux"], files["initrd"], APPEND]
    bus = "device" if board == "microvm" else "pci"
    words += ["-drive", f"file={disk(0)},format=raw,if=none,id=d,readonly=on", "-device", f"virtio-blk-{bus},drive=d",
              "-netdev", "tap,id=n,ifname=bboot0,script=no,downscript=no", "-device", f"virtio-net-{bus},netdev=n"]
    if program == "kite":
        words[words.index(APPEND)] += " timer"
        return BOARDS[board][0](*words, "-device", "isa-boot-timer")
    return BOARDS[board][1](*words)


def seconds_at(text, pattern):
    found = re.search(pattern, text)
    return float(found[1]) if found else None


def phases(text):
    """Seconds of each phase, from the marks of Kite and of the guest; {} where some are missing."""
    opened = seconds_at(text, r"boot: ([\d.]+) ms, CPU [\d.]+ ms: main")
    loaded = seconds_at(text, r"boot: ([\d.]+) ms, CPU [\d.]+ ms: machine made")
    begins = seconds_at(text, r"boot: ([\d.]+) ms, CPU [\d.]+ ms: devices made")
    there = seconds_at(text, r"boot: ([\d.]+) ms, CPU [\d.]+ ms: 0x60")
    drivers, init = seconds_at(text, r"mark drivers ([\d.]+)"), seconds_at(text, r"mark init ([\d.]+)")
    if None in (opened, loaded, begins, there, drivers, init):
        return {}
    load = (loaded - opened) / 1000
    return dict(zip(PHASES, (begins / 1000 - load, load, drivers, init - drivers, (there - begins) / 1000 - init)))


def boot(argv):
    """(seconds until init, the guest's words)"""
    with Running(argv) as vmm:
        took = vmm.until(b"GUEST-INIT")
        vmm.until(b"GUEST-END")
        return took, vmm.text.decode(errors="replace")


def rounds(commands, runs):
    """{name: seconds by rounds}, {name: phases by rounds}; the guests must have found the same machine."""
    took, parts = {name: [] for name in commands}, {name: [] for name in commands}
    for n in range(runs + 1):
        machines = {}
        for name, argv in commands.items():
            seconds, text = boot(argv)
            machines[name] = re.search(r"^machine (.*?)\r?$", text, re.M)[1]
            if n:  # the first round brings the files into the cache
                took[name].append(seconds)
                parts[name].append(phases(text))
        same_work("boot", machines)
    return took, parts


def figures(board, form, took, parts, where):
    milliseconds = {program: summary([1000 * s for s in values]) for program, values in took.items()}
    made = []
    for other, goal in (("floor", GOALS_FLOOR[board]), ("qemu", GOAL_QEMU)):
        if other in took:
            ratio = ratios(took, "kite", other)
            made.append(Figure(f"boot to init, {board}, {form}: Kite / {'QEMU' if other == 'qemu' else other}", ratio["median"], goal,
                               parts=dict(milliseconds, ratio=ratio), where=where))
    by_phase = [p for p in parts["kite"] if p]
    for phase in PHASES if len(by_phase) > 1 else ():
        value = summary([1000 * p[phase] for p in by_phase])
        made.append(Figure(f"boot to init, {board}, {form}: {phase}", value["median"], None, "ms", {"kite": value}, where))
    return made


def measure_boot(runs, where):
    with open(FILES, encoding="ascii") as file:
        files = json.load(file)
    if not shutil.which("ip") or os.getuid() != 0:
        raise CannotMeasure("only root can make a network interface for the guests")
    made, missing = [], []
    tap("add")
    try:
        for board in BOARDS:
            for form in ("bzImage", "vmlinux"):
                commands = {program: command(program, board, form, files) for program in ("floor", "kite", "qemu")}
                try:
                    took, parts = rounds(commands, runs)
                except CannotMeasure as why:
                    # Perhaps one of them cannot: Kite's own figures are worth having.
                    missing.append(f"{board}, {form}: {why}")
                    took, parts = rounds({name: commands[name] for name in ("floor", "kite")}, runs)
                made += figures(board, form, took, parts, where)
    finally:
        tap("del")
    return made, missing
