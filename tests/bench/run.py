#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kite's figures, side by side with QEMU and with a floor, as ratios within one run.

usage: tests/bench/run.py [--only start,memory,idle,disk,disk-qcow2,boot,idle-linux,disk-linux,img,net] [--runs N] [--here] [--json FILE]

  start        exec to the guest's first instruction, as the CPU time and the wall time of the whole process
  memory       resident memory of the process beside guest memory, with a guest that sleeps
  idle         wakeups of the VMM's own threads while that guest sleeps
  boot         exec to the first line of a Linux guest's init
  idle-linux   as idle, with a Linux guest at its prompt
  disk         requests of a bare-metal guest to its disk, beside QEMU and beside fio on the host
  disk-qcow2   the same on a qcow2 image that has all its clusters, beside raw and QEMU
  disk-linux   fio in a Linux guest, its disk in the host's memory
  img          kite-img beside qemu-img, command by command; IMG_DIR says where its images go, /var/tmp unless told
  net          iperf3 and ping with a Linux guest over tap, vhost-net and user mode

Programs take turns, so that whatever else the machine does falls on all of them; a value is the median of N runs (10 unless
told), with the quartiles in brackets. Linux guests run here when this machine's KVM runs guest kernels at full speed, else in the
lab (tests/lab/kvm-lab). --here is what runs in the lab: everything on the spot.

Environment: KITE (build/kite), B (build), QEMU (qemu-system-x86_64). Needs payloads and $B/bench/floor: make bench.
Writes $B/bench/bench.json. Status 1 when something could not be measured, whatever the figures are.
"""
import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "guest")]
from common import (DEBUG_EXIT, GUEST, KITE, OUT, QEMU, BUILD, CannotMeasure, Figure, Running, kite, qemu, summary, timed,  # noqa: E402
                    wakeups)
from disk import measure_disk, measure_disk_linux, measure_disk_qcow2  # noqa: E402
from img import measure_img  # noqa: E402
from net import measure_net_linux  # noqa: E402
from vmmproc import resident_beside_ram  # noqa: E402

MEASURES = ("start", "memory", "idle", "disk", "disk-qcow2", "boot", "idle-linux", "disk-linux", "img", "net")
COUNTED = ("net",)
COUNTED_SECONDS = 900
HOST_MEASURES = ("img",)  # without a guest
PAYLOAD_MEASURES = ("start", "memory", "idle", "disk", "disk-qcow2")
INTERPRETED = 200  # cycles for one round of the `speed` payload's loop: 1 on a processor, 2000 where it is interpreted


# What is measured ----------------------------------------

def measure_start(runs, where):
    image = f"{GUEST}/first.elf"
    programs = {
        "floor": ([f"{OUT}/floor", image], 0),
        "kite": (kite("-kernel", image, *DEBUG_EXIT), 33),
        "qemu": (qemu("-kernel", image, *DEBUG_EXIT), 33),
    }
    cpu, wall = {p: [] for p in programs}, {p: [] for p in programs}
    for argv, status in programs.values():
        timed(argv, status)  # files into the cache
    # The short ones more often: their spread is larger than they are.
    for name in ("floor", "kite", "floor", "kite", "floor", "kite", "qemu") * runs:
        c, w = timed(*programs[name])
        cpu[name].append(c * 1000)
        wall[name].append(w * 1000)
    cpu, wall = ({p: summary(v) for p, v in d.items()} for d in (cpu, wall))

    def ratio(d, other):
        return d["kite"]["median"] / d[other]["median"]
    return [
        Figure("start, CPU time: Kite / floor", ratio(cpu, "floor"), 2.0, parts=cpu, where=where),
        Figure("start, CPU time: Kite / QEMU q35", ratio(cpu, "qemu"), 0.2, parts=cpu, where=where),
        Figure("start, wall time: Kite / floor", ratio(wall, "floor"), None, parts=wall, where=where),
        Figure("start, wall time: Kite / QEMU q35", ratio(wall, "qemu"), None, parts=wall, where=where),
    ]


def sleeping(argv):
    return Running(argv("-m", "512", "-name", "bench,debug-threads=on", "-kernel", f"{GUEST}/bad.elf", "-append", "how=stuck",
                        "-serial", "stdio", *DEBUG_EXIT))


def measure_memory(_runs, where):
    kib = {}
    for name, argv in (("kite", kite), ("qemu", qemu)):
        with sleeping(argv) as vmm:
            vmm.until(b"bad: stuck")
            time.sleep(0.5)
            kib[name] = resident_beside_ram(vmm.proc.pid)
    parts = {name: {"median": v / 1024, "runs": 1} for name, v in kib.items()}
    return [Figure("memory beside the guest's", kib["kite"] / 1024, 3.0, "MiB", parts, where)]


def measure_idle(_runs, where, seconds=5):
    count = {}
    for name, argv in (("kite", kite), ("qemu", qemu)):
        with sleeping(argv) as vmm:
            vmm.until(b"bad: stuck")
            time.sleep(1)
            count[name] = wakeups(vmm.proc.pid, seconds)
    parts = {name: {"median": v, "runs": 1} for name, v in count.items()}
    return [Figure(f"wakeups in {seconds} s, sleeping guest", count["kite"], 0, "", parts, where)]


def linux(argv, *more):
    with open(f"{OUT}/linux.json", encoding="ascii") as f:
        files = json.load(f)
    return Running(argv("-m", "256", "-kernel", files["kernel"], "-initrd", files["initrd"], "-append",
                        "console=ttyS0 quiet panic=-1 kite.do=shell", "-serial", "stdio", "-cpu", "host", *more))


def measure_boot(runs, where):
    seconds = {"kite": [], "qemu": []}
    for n in range(runs + 1):
        for name, argv in (("kite", kite), ("qemu", qemu)):
            with linux(argv) as vmm:
                took = vmm.until(b"GUEST-INIT")
            if n:  # the first round brings the files into the cache
                seconds[name].append(took * 1000)
    parts = {name: summary(v) for name, v in seconds.items()}
    # By rounds: a machine that slows down for a minute slows both of a round, and their ratio says what it said before.
    parts["ratio"] = summary([k / q for k, q in zip(seconds["kite"], seconds["qemu"])])
    return [Figure("boot to init: Kite / QEMU q35", parts["ratio"]["median"], 0.8, parts=parts, where=where)]


def measure_idle_linux(_runs, where, seconds=10):
    count = {}
    for name, argv in (("kite", kite), ("qemu", qemu)):
        with linux(argv, "-name", "bench,debug-threads=on") as vmm:
            vmm.until(b"GUEST-READY")
            time.sleep(5)
            count[name] = wakeups(vmm.proc.pid, seconds)
    parts = {name: {"median": v, "runs": 1} for name, v in count.items()}
    return [Figure(f"wakeups in {seconds} s, Linux at its prompt", count["kite"], 0, "", parts, where)]


MEASURE = dict(zip(MEASURES, (measure_start, measure_memory, measure_idle, measure_disk, measure_disk_qcow2, measure_boot,
                              measure_idle_linux, measure_disk_linux, measure_img,
                              measure_net_linux)))


# Where it is measured ----------------------------------------

def kvm_state():
    """None when /dev/kvm runs guest kernels at full speed, "slow" when it interprets them; CannotMeasure without it."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as e:
        raise CannotMeasure(f"/dev/kvm: {e.strerror}") from None
    with Running(kite("-kernel", f"{GUEST}/speed.elf", "-serial", "stdio", *DEBUG_EXIT)) as vmm:
        vmm.until(b"cycles per round", 20)
        ring0 = int(re.search(rb"ring0 (\d+)", vmm.text).group(1))
    return "slow" if ring0 > INTERPRETED else None


def prepare_linux():
    """A kernel and an initramfs from the lab's scripts, their paths in linux.json."""
    for script in ("kernels", "initramfs"):
        if not os.access(f"tests/lab/{script}", os.X_OK):
            raise CannotMeasure(f"tests/lab/{script} is not there")
    # What the scripts say goes to the terminal, so that a download is seen.
    got = subprocess.run(["tests/lab/kernels", "linux-image-cloud-amd64"], stdout=subprocess.PIPE, text=True, timeout=300,
                         check=False)
    if got.returncode:
        raise CannotMeasure("tests/lab/kernels failed")
    directory, initrd, tools = got.stdout.split()[-1], os.path.abspath(f"{OUT}/initramfs"), os.path.abspath(f"{OUT}/initramfs-tools")
    for command in (("initramfs", initrd, directory), ("initramfs-tools", tools, initrd, directory)):
        if subprocess.run([f"tests/lab/{command[0]}", *command[1:]], timeout=60, check=False).returncode:
            raise CannotMeasure(f"tests/lab/{command[0]} failed")
    with open(f"{OUT}/linux.json", "w", encoding="ascii") as f:
        json.dump({"kernel": f"{directory}/vmlinuz", "initrd": initrd, "tools": tools}, f)


def measure_here(names, runs, where):
    """(figures, reasons for those that there are none of)."""
    figures, missing = [], {}
    for name in names:
        print(f"bench: {name} ({where}) ...", file=sys.stderr, flush=True)
        try:
            figures += MEASURE[name](runs, where)
        except (CannotMeasure, OSError) as why:
            missing[name] = f"{where}: {why}"
    return figures, missing


def measure_in_labs(names, runs):
    """Networks in a lab whose clocks count instructions: in the other one, what a connection makes of its clock is the machine's other work."""
    counted = [n for n in names if n in COUNTED]
    parts = [measure_in_lab([n for n in names if n not in COUNTED], runs), measure_in_lab(counted, runs, COUNTED_SECONDS, "-v")]
    if parts[1][1]:  # emulation that counts instructions can stand still for ever, on a busy machine above all
        parts[1] = measure_in_lab(counted, runs, COUNTED_SECONDS, "-v")
    return sum((figures for figures, _ in parts), []), {name: why for _, missing in parts for name, why in missing.items()}


def measure_in_lab(names, runs, seconds=3600, *options):
    if not names:
        return [], {}
    lab, result = "tests/lab/kvm-lab", f"{OUT}/lab.json"
    if not os.access(lab, os.X_OK):
        return [], {name: f"{lab} is not there" for name in names}
    if os.path.exists(result):
        os.unlink(result)
    command = shlex.join(["env", f"B={BUILD}", f"KITE={shlex.join(KITE)}", f"QEMU={shlex.join(QEMU)}", "python3",
                          "tests/bench/run.py", "--here", "--only", ",".join(names), "--runs", str(runs), "--json", result])
    status = subprocess.run([lab, "-w", OUT, "-t", str(seconds), *options, command], check=False).returncode
    if not os.path.exists(result):
        return [], {name: f"the lab ended with status {status}" for name in names}
    with open(result, encoding="ascii") as f:
        got = json.load(f)
    for figure in got["figures"]:
        figure.pop("verdict")
    return [Figure(**f) for f in got["figures"]], got["missing"]


def measure_all(names, runs):
    """Payloads here, Linux guests where guest kernels run at full speed."""
    figures, missing = measure_here([n for n in names if n in HOST_MEASURES], runs, "here")
    names = [n for n in names if n not in HOST_MEASURES]
    if not names:
        return figures, missing
    more, why = measure_guests(names, runs)
    return figures + more, {**missing, **why}


def measure_guests(names, runs):
    figures, missing = [], {}
    linux_names = [n for n in names if n not in PAYLOAD_MEASURES]
    payload_names = [n for n in names if n in PAYLOAD_MEASURES]
    try:
        slow = kvm_state()
    except CannotMeasure as why:
        print(f"bench: all of it in the lab: {why}", file=sys.stderr)
        slow, linux_names, payload_names = "none", names, []
    figures, missing = measure_here(payload_names, runs, "here")
    if not linux_names:
        return figures, missing
    try:
        if any(n not in PAYLOAD_MEASURES for n in linux_names):
            prepare_linux()
    except (CannotMeasure, OSError, subprocess.TimeoutExpired) as why:
        missing.update({n: str(why) for n in linux_names if n not in PAYLOAD_MEASURES})
        linux_names = [n for n in linux_names if n in PAYLOAD_MEASURES]
    if linux_names:
        if slow and "start" in payload_names:
            linux_names.insert(0, "start")  # here firmware is interpreted too, which is not QEMU's fault
        more = measure_in_labs(linux_names, runs) if slow else measure_here(linux_names, runs, "here")
        figures += more[0]
        missing.update(more[1])
    return figures, missing


def table(figures, missing):
    def amount(value, unit):
        return f"{value:.{0 if value >= 1000 else 3 if value < 1 else 2}f}" if unit else f"{value:g}"
    rows = [("figure", "where", "value", "goal", "", "from: median [quartiles]")]
    for f in figures:
        unit = f.amounts if f.unit == "x" else f" {f.unit}".rstrip()
        parts = ", ".join(f"{name} {amount(p['median'], f.unit)}" +
                          (f" [{p['q1']:.2f}-{p['q3']:.2f}]" if "q1" in p else "") + (unit if name not in ("ratio", "CPU") else "")
                          for name, p in f.parts.items())
        goal = "-" if f.goal is None else f"{'>=' if f.more else '<='} {f.goal:g}"
        suffix = " MiB" if f.unit == "MiB" else ""
        rows.append((f.name, f.where, amount(f.value, f.unit) + suffix, goal, f.verdict(), parts))
    widths = [max(len(r[i]) for r in rows) for i in range(5)]
    for r in rows:
        print("  ".join(cell.ljust(w) for cell, w in zip(r, widths)) + "  " + r[5])
    for name, why in missing.items():
        print(f"{name}: not measured: {why}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", default=",".join(MEASURES))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--json", default=f"{OUT}/bench.json")
    opts = parser.parse_args()
    names = opts.only.split(",")
    if not set(names) <= set(MEASURES) or opts.runs < 2:
        parser.error(f"--only takes some of {','.join(MEASURES)}; --runs at least 2")
    os.makedirs(OUT, exist_ok=True)
    if opts.here:
        figures, missing = measure_here(names, opts.runs, "lab" if os.environ.get("KVM_LAB") else "here")
    else:
        figures, missing = measure_all(names, opts.runs)
    with open(opts.json, "w", encoding="ascii") as f:
        json.dump({"figures": [x.dump() for x in figures], "missing": missing}, f, indent=1)
        f.write("\n")
    if not opts.here:
        table(figures, missing)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
