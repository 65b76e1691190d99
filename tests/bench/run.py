#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Kite's figures, side by side with QEMU and with a floor, as ratios within one run.

usage: tests/bench/run.py [--only NAME,...] [--runs N] [--here] [--json FILE]

NAME is a group, or one of its measures:

  start    start        exec to the guest's first instruction, as the CPU time and the wall time of the whole process, by size of machine
  boot     boot         exec to the first program of a Linux guest, by board and kernel, and by phase
           cirros       exec to GRUB's first word and to CirrOS's login prompt, 2 or 3 runs
  exits    exits        ports, memory, doorbells and MSIs from a guest in ring 3
  memory   memory       resident and proportional set beside guest memory, by device set
           idle         wakeups of the VMM's own threads while a payload sleeps
           idle-linux   the same, with a Linux guest at its prompt
           crowd        a hundred idle microVMs at once
  block    disk         requests of a bare-metal guest to its disk, beside QEMU and beside fio on the host
           disk-qcow2   the same on a qcow2 image that has all its clusters, beside raw and QEMU
           disk-linux   fio in a Linux guest, its disk in the host's memory
  img      img          kite-img beside qemu-img, command by command; IMG_DIR says where its images go, /var/tmp unless told
  network  net          packets and bulk TCP of a bare-metal guest over a tap and over user mode, beside QEMU
           net-linux    iperf3 and ping with a Linux guest over vhost-net, a tap and user mode, 3 rounds at most, within 10 minutes; in a lab of its own
  size     size         the stripped program, the libraries it loads, its relocations

Programs take turns, so that whatever else the machine does falls on all of them; a value is the median of N runs (10 unless told), with
the quartiles in brackets. Where programs have not done the same work there is no ratio, but a line that says so. Linux guests run here when
this machine's KVM runs guest kernels at full speed, else in the lab (tests/lab/kvm-lab). --here is what runs in the lab: everything on the spot.

Environment: KITE (build/kite), B (build), QEMU (qemu-system-x86_64). Needs payloads and the programs of $B/bench: make bench.
Writes for each group $B/bench/GROUP.json, GROUP.txt (the table) and GROUP.svg (the plot), and $B/bench/bench.json with all of them.
Status 1 when something could not be measured, whatever the figures are.
"""
import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
import types

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "guest")]
from boot import measure_boot, prepare_boot  # noqa: E402
from common import DEBUG_EXIT, GUEST, KITE, OUT, QEMU, BUILD, CannotMeasure, Figure, Running, kite, qemu, wakeups  # noqa: E402
from cirros import measure_cirros, prepare_cirros  # noqa: E402
from disk import measure_disk, measure_disk_linux, measure_disk_qcow2  # noqa: E402
from exits import measure_exits  # noqa: E402
from img import measure_img  # noqa: E402
from memory import measure_crowd, measure_idle, measure_memory  # noqa: E402
from net import measure_net  # noqa: E402
from net_linux import measure_net_linux  # noqa: E402
from plot import plot  # noqa: E402
from size import measure_size  # noqa: E402
from start import measure_start  # noqa: E402

APART_SECONDS = 720
INTERPRETED = 200  # cycles for one round of the `speed` payload's loop: 1 on a processor, 2000 where it is interpreted


def linux(argv, *more):
    with open(f"{OUT}/linux.json", encoding="ascii") as f:
        files = json.load(f)
    return Running(argv("-m", "256", "-kernel", files["kernel"], "-initrd", files["initrd"], "-append",
                        "console=ttyS0 quiet panic=-1 kite.do=shell", "-serial", "stdio", "-cpu", "host", *more))


def measure_idle_linux(_runs, where, seconds=10):
    count = {}
    for name, argv in (("kite", kite), ("qemu", qemu)):
        with linux(argv, "-name", "bench,debug-threads=on") as vmm:
            vmm.until(b"GUEST-READY")
            time.sleep(5)
            count[name] = wakeups(vmm.proc.pid, seconds)
    parts = {name: {"median": v, "runs": 1} for name, v in count.items()}
    return [Figure(f"wakeups in {seconds} s, Linux at its prompt", count["kite"], 0, "", parts, where)]


# What there is: the group, the function, and what it needs: "host" no guest at all, "payload" a KVM of any kind, "linux" one that runs guest
# kernels at full speed, "apart" the same, and where that is the lab, one for itself.
MEASURES = {
    "start": ("start", measure_start, "payload"),
    "exits": ("exits", measure_exits, "payload"),
    "memory": ("memory", measure_memory, "payload"),
    "idle": ("memory", measure_idle, "payload"),
    "crowd": ("memory", measure_crowd, "payload"),
    "disk": ("block", measure_disk, "payload"),
    "disk-qcow2": ("block", measure_disk_qcow2, "payload"),
    "boot": ("boot", measure_boot, "linux"),
    "cirros": ("boot", measure_cirros, "linux"),
    "idle-linux": ("memory", measure_idle_linux, "linux"),
    "disk-linux": ("block", measure_disk_linux, "linux"),
    "img": ("img", measure_img, "host"),
    "net": ("network", measure_net, "payload"),
    "net-linux": ("network", measure_net_linux, "apart"),
    "size": ("size", measure_size, "host"),
}
GROUPS = tuple(dict.fromkeys(group for group, _, _ in MEASURES.values()))


def needs(name):
    return MEASURES[name][2]


def is_linux(name):
    return needs(name) in ("linux", "apart")


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
    prepare_boot()


def measure_here(names, runs, where, keep=lambda figures, missing: None):
    """(figures, reasons for those that there are none of). What there is so far goes to keep() while a long measure goes on."""
    figures, missing = [], {}
    for name in names:
        print(f"bench: {name} ({where}) ...", file=sys.stderr, flush=True)
        made, failed = [], []
        try:
            got = MEASURES[name][1](runs, where)
            # Some measures have parts, of which a few may fail; some tell after each part.
            for made, failed in got if isinstance(got, types.GeneratorType) else [got if isinstance(got, tuple) else (got, [])]:
                for figure in made:
                    figure.group = MEASURES[name][0]
                keep(figures + made, dict(missing, **({name: f"{where}: " + "; ".join(failed)} if failed else {})))
        except (CannotMeasure, OSError, subprocess.SubprocessError) as why:
            failed = [*failed, str(why)]
        figures += made
        if failed:
            missing[name] = f"{where}: " + "; ".join(failed)
    return figures, missing


def measure_in_labs(names, runs):
    """Networks in a lab of their own: they may take long, and what they have got is kept when its time is up."""
    apart = [n for n in names if needs(n) == "apart"]
    parts = [measure_in_lab([n for n in names if needs(n) != "apart"], runs), measure_in_lab(apart, runs, APART_SECONDS)]
    return sum((figures for figures, _ in parts), []), {name: why for _, missing in parts for name, why in missing.items()}


def measure_in_lab(names, runs, seconds=3600):
    if not names:
        return [], {}
    lab, result = "tests/lab/kvm-lab", f"{OUT}/lab.json"
    if not os.access(lab, os.X_OK):
        return [], {name: f"{lab} is not there" for name in names}
    if os.path.exists(result):
        os.unlink(result)
    guests = [f"LAB_GUESTS={os.environ['LAB_GUESTS']}"] if "LAB_GUESTS" in os.environ else []
    command = shlex.join(["env", *guests, f"B={BUILD}", f"KITE={shlex.join(KITE)}", f"QEMU={shlex.join(QEMU)}", "python3",
                          "tests/bench/run.py", "--here", "--only", ",".join(names), "--runs", str(runs), "--json", result])
    status = subprocess.run([lab, "-w", OUT, "-t", str(seconds), command], check=False).returncode
    if not os.path.exists(result):
        return [], {name: f"the lab ended with status {status}" for name in names}
    with open(result, encoding="ascii") as f:
        got = json.load(f)
    return [Figure.undump(f) for f in got["figures"]], got["missing"]


def measure_all(names, runs):
    """Payloads here, Linux guests where guest kernels run at full speed."""
    figures, missing = measure_here([n for n in names if needs(n) == "host"], runs, "here")
    names = [n for n in names if needs(n) != "host"]
    if not names:
        return figures, missing
    more, why = measure_guests(names, runs)
    return figures + more, {**missing, **why}


def measure_guests(names, runs):
    figures, missing = [], {}
    linux_names = [n for n in names if is_linux(n)]
    payload_names = [n for n in names if not is_linux(n)]
    try:
        slow = kvm_state()
    except CannotMeasure as why:
        print(f"bench: all of it in the lab: {why}", file=sys.stderr)
        slow, linux_names, payload_names = "none", names, []
    figures, missing = measure_here(payload_names, runs, "here")
    if not linux_names:
        return figures, missing
    try:
        if any(is_linux(n) and n != "cirros" for n in linux_names):
            prepare_linux()
        if "cirros" in linux_names:
            prepare_cirros()
    except (CannotMeasure, OSError, subprocess.TimeoutExpired) as why:
        missing.update({n: str(why) for n in linux_names if is_linux(n)})
        linux_names = [n for n in linux_names if not is_linux(n)]
    if linux_names:
        if slow and "start" in payload_names:
            linux_names.insert(0, "start")  # here firmware is interpreted too, which is not QEMU's fault
        more = measure_in_labs(linux_names, runs) if slow else measure_here(linux_names, runs, "here")
        figures += more[0]
        missing.update(more[1])
    return figures, missing


def amount(value, unit):
    return f"{value:.{0 if value >= 1000 else 3 if value < 1 else 2}f}" if unit else f"{value:g}"


def table(figures):
    rows = [("figure", "where", "value", "goal", "", "from: median [quartiles]")]
    for f in figures:
        unit = f.amounts if f.unit == "x" else f" {f.unit}".rstrip()
        parts = ", ".join(f"{name} {amount(p['median'], f.unit)}" +
                          (f" [{p['q1']:.2f}-{p['q3']:.2f}]" if "q1" in p else "") + (unit if name not in ("ratio", "CPU") else "")
                          for name, p in f.parts.items())
        goal = "-" if f.goal is None else f"{'>=' if f.more else '<='} {f.goal:g}"
        suffix = f" {f.unit}" if f.unit not in ("x", "") else ""
        rows.append((f.name, f.where, amount(f.value, f.unit) + suffix, goal, f.verdict(), parts))
    widths = [max(len(r[i]) for r in rows) for i in range(5)]
    return "".join("  ".join(cell.ljust(w) for cell, w in zip(r, widths)) + f"  {r[5]}\n" for r in rows)


def conditions(runs):
    """What a reader has to know of the machine and the run."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        model = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.M)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), "processors": os.cpu_count(), "model": model[1] if model else "unknown",
        "kernel": platform.release(), "load": os.getloadavg()[0], "runs": runs, "commit": commit.stdout.strip(),
    }


def write_json(path, figures, missing, run):
    with open(f"{path}.new", "w", encoding="ascii") as file:
        json.dump({"conditions": run, "figures": [f.dump() for f in figures], "missing": missing}, file, indent=1)
        file.write("\n")
    os.replace(f"{path}.new", path)  # whoever is ended while this goes on leaves what was there


def report(figures, missing, run):
    """A JSON file, a table and a plot of each group, the tables printed as well."""
    for group in GROUPS:
        some = [f for f in figures if f.group == group]
        why = {name: text for name, text in missing.items() if MEASURES[name][0] == group}
        if not some and not why:
            continue
        text = table(some) if some else ""
        text += "".join(f"{name}: not measured: {reason}\n" for name, reason in why.items())
        write_json(f"{OUT}/{group}.json", some, why, run)
        with open(f"{OUT}/{group}.txt", "w", encoding="ascii", errors="replace") as file:
            file.write(text)
        if some and not plot(group, some, f"{OUT}/{group}.svg"):
            print(f"bench: no {group}.svg: python3-matplotlib is not installed (tools/deps bench)", file=sys.stderr)
        print(f"{group}\n{text}")


def chosen(words, parser):
    """The measures that --only names, in their order."""
    for word in words:
        if word not in MEASURES and word not in GROUPS:
            parser.error(f"--only: no {word}; there are {', '.join(dict.fromkeys((*GROUPS, *MEASURES)))}")
    return [name for name, (group, _, _) in MEASURES.items() if name in words or group in words]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", default=",".join(GROUPS))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--json", default=f"{OUT}/bench.json")
    opts = parser.parse_args()
    names = chosen(opts.only.split(","), parser)
    if opts.runs < 2:
        parser.error("--runs: at least 2")
    os.makedirs(OUT, exist_ok=True)
    run = conditions(opts.runs)
    if opts.here:
        figures, missing = measure_here(names, opts.runs, "lab" if os.environ.get("KVM_LAB") else "here",
                                        lambda figures, missing: write_json(opts.json, figures, missing, run))
    else:
        figures, missing = measure_all(names, opts.runs)
    write_json(opts.json, figures, missing, run)
    if not opts.here:
        report(figures, missing, run)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
