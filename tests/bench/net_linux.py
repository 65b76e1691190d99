# SPDX-License-Identifier: MIT
"""Network figures with a Linux guest: Kite beside QEMU, with the same back end and the same guest, one operation in each in turn.

Each path (vhost-net, a tap, user mode) has guests of its own with one card. Measured are TCP both ways and UDP packets of 64 bytes on the wire both
ways (iperf3), the round trip of a ping, and the CPU time that the VMM spends on a gigabyte of TCP: its threads but the vCPUs, its helper processes,
and vhost's thread in the kernel. TCP moves an amount, not what a time allows, and a small one, for hosts under emulation. (Datagrams cannot be
counted so: iperf3 waits for ever for one that was lost.) Figures are handed over after every round, and no round begins after SECONDS.
"""
import json
import os
import re
import shutil
import subprocess
import time

from common import OUT, CannotMeasure, Figure, Running, kite, qemu, summary
from net import cpu_time, drop_tap, make_tap

SECONDS = 600
ROUNDS = 3
START = 120   # seconds that a guest may take to its prompt,
PATIENCE = 45 # and what it is told to
PORT = 5201
UDP_BYTES = 22  # 64 with the headers of UDP, IPv4 and Ethernet
PINGS = 30
TCP = ("-n", "16M")
UDP = ("-u", "-b", "0", "-l", str(UDP_BYTES), "-t", "1")
# Name, iperf3's options, the goals for vhost, tap and user mode.
OPERATIONS = (
    ("TCP to the guest", TCP, (1.0, 1.2, 1.0)),
    ("TCP from the guest", (*TCP, "-R"), (1.0, 1.2, 1.0)),
    ("64-byte UDP to the guest", UDP, (1.0, 1.2, 1.0)),
    ("64-byte UDP from the guest", (*UDP, "-R"), (1.0, 1.2, 1.0)),
)
PATHS = ("vhost", "tap", "user")
PROGRAMS = {"kite": (kite, 1), "qemu": (qemu, 2)}


def process_time(pid):
    """Seconds of CPU time of a thread of the kernel's."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0


def vhost_threads(pid):
    """The kernel's threads that serve the rings of `pid`; none of newer kernels, where they are its own."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/comm", encoding="ascii", errors="replace") as file:
                    if file.read().strip() == f"vhost-{pid}":
                        found.append(int(entry))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


class Guest:
    """A VMM with a Linux guest whose card has an address, and an iperf3 that serves it."""

    def __init__(self, program, path):
        self.argv, self.number = PROGRAMS[program]
        self.path = path
        self.tap = f"kitebench{self.number}" if path != "user" else None
        self.target = ("127.0.0.1", PORT + 10 * self.number) if path == "user" else (f"10.219.{self.number}.2", PORT)
        self.vmm = None
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self):
        if self.tap:
            make_tap(self.tap, f"10.219.{self.number}.1")
            backend = f"tap,id=n,ifname={self.tap},script=no,downscript=no,vhost={'on' if self.path == 'vhost' else 'off'}"
            address = f"ip addr add {self.target[0]}/24 dev eth0; ip link set eth0 up"
        else:
            forward = f"{self.target[0]}:{self.target[1]}-:{PORT}"
            backend = f"user,id=n,hostfwd=tcp:{forward},hostfwd=udp:{forward}"
            address = "ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.2.2"
        with open(f"{OUT}/linux.json", encoding="ascii") as file:
            files = json.load(file)
        self.vmm = Running(self.argv(
            "-m", "512", "-name", "bench,debug-threads=on", "-cpu", "host", "-kernel", files["kernel"], "-initrd", files["tools"], "-append",
            "console=ttyS0 quiet panic=-1 ipv6.disable=1 kite.do=shell kite.modules=virtio,tools", "-serial", "stdio", "-netdev", backend,
            "-device", f"virtio-net-pci,netdev=n,mac=52:54:00:6b:01:{self.number:02x},romfile="))
        self.vmm.until(b"GUEST-READY", START)
        self.tell(f"stty -echo; {address}; iperf3 -s -D")

    def stop(self):
        if self.vmm:
            self.vmm.__exit__()
        if self.tap:
            drop_tap(self.tap)

    def tell(self, command):
        """Has the guest's shell do something; what it prints."""
        self.vmm.text, self.vmm.start = b"", time.monotonic()
        self.vmm.proc.stdin.write(f"{command}; echo do''ne\n".encode())
        self.vmm.proc.stdin.flush()
        self.vmm.until(b"done", PATIENCE)
        return self.vmm.text.decode(errors="replace")

    def cpu_time(self):
        pid = self.vmm.proc.pid
        return cpu_time(pid) + sum(map(process_time, vhost_threads(pid)))

    def iperf(self, options):
        """(bits or packets a second, seconds of CPU a gigabyte)."""
        ip, port = self.target
        for _ in range(4):
            before = self.cpu_time()
            done = subprocess.run(["iperf3", "-J", "-c", ip, "-p", str(port), *options], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False)
            cpu = self.cpu_time() - before
            result = json.loads(done.stdout) if done.stdout.startswith("{") else {"error": done.stdout}
            # A client that has written all of a short stream ends it before the server has looked.
            if "error" not in result and "-u" not in options and not result["end"]["sum_received"]["bytes"]:
                result["error"] = "the server had nothing when the client was done"
            if "error" not in result:
                break
            time.sleep(1)  # the server is busy with the end of the last one
        else:
            raise CannotMeasure(f"iperf3 over {self.path}: {result['error']}")
        end = result["end"]
        if "-u" in options:
            return (end["sum"]["packets"] - end["sum"]["lost_packets"]) / end["sum"]["seconds"], None
        moved = end["sum_received"]
        return moved["bits_per_second"], cpu / (moved["bytes"] / 1e9)

    def ping(self):
        """The median round trip in microseconds, from the host, or by user mode from the guest."""
        if self.path == "user":
            text = self.tell(f"ping -c {PINGS} -i 0.01 10.0.2.2")
        else:
            text = subprocess.run(["ping", "-c", str(PINGS), "-i", "0.01", self.target[0]], stdout=subprocess.PIPE, text=True, timeout=PATIENCE,
                                  check=False).stdout
        times = sorted(float(t) * 1000 for t in re.findall(r"time=([0-9.]+) ms", text))
        if len(times) < PINGS / 2:
            raise CannotMeasure(f"ping over {self.path}: {text[-200:]}")
        return times[len(times) // 2]


def one_round(guests, put):
    """put(what, program, value) for every figure, of both programs or of none. Returns what could not be measured."""
    failed = []

    def both(what, measure):
        try:
            return {program: measure(guest) for program, guest in guests.items()}
        except (CannotMeasure, subprocess.TimeoutExpired) as why:
            failed.append(f"{what}: {why}")
            return {}
    for name, options, _ in OPERATIONS:
        for program, (rate, cpu) in both(name, lambda guest, options=options: guest.iperf(options)).items():
            put(name, program, rate)
            if cpu is not None:
                put(f"CPU a gigabyte, {name}", program, cpu)
    for program, trip in both("ping round trip", lambda guest: guest.ping()).items():
        put("ping round trip", program, trip)
    return failed


def brief(values):
    """As summary(), also of one."""
    return summary(values) if len(values) > 1 else {"median": values[0], "runs": 1}


def figures(results, where):
    """Of {path: {what: {program: [values]}}}."""
    made = []
    goals = {name: goal for name, _, goal in OPERATIONS}
    for path, by_what in results.items():
        for what, got in by_what.items():
            # By rounds, as the machine's other work falls on all of a round.
            ratios = [k / q for k, q in zip(got.get("kite", []), got.get("qemu", []))]
            if not ratios:
                continue
            scale, amounts = (1e6, " Mbit/s") if what.startswith("TCP") else (1, "/s") if "UDP" in what else (1, " us" if "ping" in what else " s")
            parts = {program: brief([value / scale for value in values]) for program, values in got.items()}
            more = what in goals
            made.append(Figure(f"Linux, {path}, {what}: Kite / QEMU", brief(ratios)["median"], goals[what][PATHS.index(path)] if more else 1.0, "x",
                               dict(parts, ratio=brief(ratios)), where, more=more, amounts=amounts))
    return made


def measure_path(path, rounds, results, end):
    """Adds to results[path]; yields after each round what could not be measured in it."""
    guests = {}

    def put(what, program, value):
        results[path].setdefault(what, {}).setdefault(program, []).append(value)
    try:
        for program in PROGRAMS:
            guests[program] = Guest(program, path)
        for guest in guests.values():  # who is where, programs into the cache
            guest.ping()
            guest.iperf(("-n", "4M"))
        for n in range(rounds):
            if n and time.monotonic() > end:
                raise CannotMeasure(f"{path}: the time was up after {n} of {rounds} rounds")
            yield [f"{path}, round {n + 1}, {why}" for why in one_round(guests, put)]
    finally:
        for guest in guests.values():
            guest.stop()


def measure_net_linux(runs, where):
    """Yields what there is after every round, as (figures, what is missing)."""
    for program in ("iperf3", "ip", "ping"):
        if not shutil.which(program):
            raise CannotMeasure(f"{program} is not installed")
    if os.getuid() != 0:
        raise CannotMeasure("only root can make interfaces")
    begin, rounds = time.monotonic(), min(runs, ROUNDS)
    results, failed = {path: {} for path in PATHS}, []
    for n, path in enumerate(PATHS):
        try:
            # Each path has its share of the time, and what those before it have left of theirs.
            for more in measure_path(path, rounds, results, begin + SECONDS * (n + 1) / len(PATHS)):
                failed += more
                yield figures(results, where), [*failed, "ended early: not all rounds of all paths"]
        except (CannotMeasure, subprocess.SubprocessError) as why:
            failed.append(str(why))
    yield figures(results, where), failed
