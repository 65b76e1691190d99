# SPDX-License-Identifier: MIT
"""Network figures: Kite beside QEMU, with the same back ends and the same Linux guest, one operation in each in turn.

Every guest has three cards: a tap, a tap with vhost=on, and user mode. Measured are TCP both ways, UDP packets of 64 bytes on the wire both ways,
the round trip of a ping, and the CPU time that the VMM spends on a gigabyte of TCP: its threads but the vCPUs, its helper processes, and
vhost's thread in the kernel. What is moved is an amount, not what a time allows, so that a slow machine measures as much as a fast one.
"""
import json
import os
import re
import shutil
import subprocess
import time

from common import OUT, CannotMeasure, Figure, Running, kite, qemu, summary, thread_times

PATIENCE = 20000  # seconds of a clock that leaps ahead whenever the lab waits for this machine
PORT = 5201
UDP_BYTES = 22  # 64 with the headers of UDP, IPv4 and Ethernet
PINGS = 100
TCP = ("-n", "48M")
UDP = ("-u", "-b", "0", "-l", str(UDP_BYTES), "-k", "16000")
# Name, iperf3's options, the goal for tap, vhost and user.
OPERATIONS = (
    ("TCP to the guest", TCP, (1.2, 1.0, 1.0)),
    ("TCP from the guest", (*TCP, "-R"), (1.2, 1.0, 1.0)),
    ("64-byte UDP to the guest", UDP, (1.2, 1.0, 1.0)),
    ("64-byte UDP from the guest", (*UDP, "-R"), (1.2, 1.0, 1.0)),
)
PATHS = ("tap", "vhost", "user")


def process_time(pid):
    """Seconds of CPU time of a process of one thread, or a thread of the kernel's."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0


def vhost_threads(pid):
    """The kernel's threads that serve the rings of `pid`."""
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


def children(pid):
    """Processes that it has started."""
    text = ""
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/children", encoding="ascii") as file:
            text += file.read()
    return [int(word) for word in text.split()]


def cpu_time(pid):
    """Seconds that the host has spent on the VMM's networks."""
    return thread_times(pid) + sum(map(process_time, children(pid) + vhost_threads(pid)))


class Guest:
    """A VMM with a guest whose three cards have addresses, and an iperf3 that serves them all."""

    def __init__(self, argv, number):
        self.number = number
        self.taps = [f"bench{number}{path[0]}" for path in PATHS[:2]]
        self.port = PORT + 10 * number
        self.vmm = None
        try:
            self.start(argv)
        except BaseException:
            self.stop()
            raise

    def start(self, argv):
        for n, tap in enumerate(self.taps):
            for command in (("tuntap", "add", tap, "mode", "tap", "vnet_hdr"), ("addr", "add", f"10.{20 + self.number}.{n}.1/24", "dev", tap),
                            ("link", "set", tap, "up")):
                done = subprocess.run(["ip", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
                if done.returncode:
                    raise CannotMeasure(f"ip {' '.join(command)}: {done.stdout.strip()}")
        with open(f"{OUT}/linux.json", encoding="ascii") as file:
            files = json.load(file)
        self.vmm = Running(argv(
            "-m", "512", "-name", "bench,debug-threads=on", "-cpu", "host", "-kernel", files["kernel"], "-initrd", files["tools"], "-append",
            "console=ttyS0 quiet panic=-1 ipv6.disable=1 kite.do=shell kite.modules=virtio,tools", "-serial", "stdio",
            "-netdev", f"tap,id=t,ifname={self.taps[0]},script=no,downscript=no", "-device", f"virtio-net-pci,netdev=t,mac=52:54:00:00:{self.number:02x}:01,romfile=",
            "-netdev", f"tap,id=v,ifname={self.taps[1]},script=no,downscript=no,vhost=on", "-device",
            f"virtio-net-pci,netdev=v,mac=52:54:00:00:{self.number:02x}:02,romfile=",
            "-netdev", f"user,id=u,hostfwd=tcp:127.0.0.1:{self.port}-:{PORT},hostfwd=udp:127.0.0.1:{self.port}-:{PORT}", "-device",
            f"virtio-net-pci,netdev=u,mac=52:54:00:00:{self.number:02x}:03,romfile="))
        self.vmm.until(b"GUEST-READY", PATIENCE)
        self.tell("stty -echo; " + "; ".join(f"ip addr add 10.{20 + self.number}.{n}.2/24 dev eth{n}; ip link set eth{n} up" for n in (0, 1)) +
                  "; ip addr add 10.0.2.15/24 dev eth2; ip link set eth2 up; ip route add default via 10.0.2.2; iperf3 -s -D")

    def stop(self):
        if self.vmm:
            self.vmm.__exit__()
        for tap in self.taps:
            subprocess.run(["ip", "link", "del", tap], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    def tell(self, command):
        """Has the guest's shell do something; what it prints."""
        self.vmm.text, self.vmm.start = b"", time.monotonic()
        self.vmm.proc.stdin.write(f"{command}; echo do''ne\n".encode())
        self.vmm.proc.stdin.flush()
        self.vmm.until(b"done", PATIENCE)
        return self.vmm.text.decode(errors="replace")

    def target(self, path):
        """Where its iperf3 is by a path."""
        if path == "user":
            return "127.0.0.1", self.port
        return f"10.{20 + self.number}.{PATHS.index(path)}.2", PORT

    def iperf(self, path, options):
        """(bits or packets a second, seconds of CPU a gigabyte)."""
        ip, port = self.target(path)
        for _ in range(4):
            before = cpu_time(self.vmm.proc.pid)
            done = subprocess.run(["iperf3", "-J", "-c", ip, "-p", str(port), *options], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False)
            cpu = cpu_time(self.vmm.proc.pid) - before
            result = json.loads(done.stdout) if done.stdout.startswith("{") else {"error": done.stdout}
            if "error" not in result:
                break
            time.sleep(1)  # the server is busy with the end of the last one
        else:
            raise CannotMeasure(f"iperf3 over {path}: {result['error']}")
        end = result["end"]
        if "-u" in options:
            return (end["sum"]["packets"] - end["sum"]["lost_packets"]) / end["sum"]["seconds"], None
        moved = end["sum_received"]
        return moved["bits_per_second"], cpu / (moved["bytes"] / 1e9)

    def ping(self, path):
        """The median round trip in microseconds, from the host, or by user mode from the guest."""
        if path == "user":
            text = self.tell(f"ping -c {PINGS // 4} -i 0.01 10.0.2.2")
        else:
            text = subprocess.run(["ping", "-c", str(PINGS), "-i", "0.002", self.target(path)[0]], stdout=subprocess.PIPE, text=True,
                                  timeout=PATIENCE, check=False).stdout
        times = [float(t) * 1000 for t in re.findall(r"time=([0-9.]+) ms", text)]
        if len(times) < PINGS / 8:
            raise CannotMeasure(f"ping over {path}: {text[-200:]}")
        return summary(times)["median"]


def rounds(programs, runs):
    """{path: {what: {program: [values]}}}, CPU times under "cpu"."""
    results = {path: {} for path in PATHS}

    def put(path, what, program, value):
        results[path].setdefault(what, {}).setdefault(program, []).append(value)
    for path in PATHS:  # who is where, programs into the cache
        for guest in programs.values():
            guest.ping(path)
            guest.iperf(path, ("-n", "1M"))
    for _ in range(runs):
        for path in PATHS:
            for name, options, _ in OPERATIONS:
                for program, guest in programs.items():
                    rate, cpu = guest.iperf(path, options)
                    put(path, name, program, rate)
                    if cpu is not None:
                        put(path, f"CPU a gigabyte, {name}", program, cpu)
            for program, guest in programs.items():
                put(path, "ping round trip", program, guest.ping(path))
    return results


def figures(results, where):
    made = []
    goals = {name: goal for name, _, goal in OPERATIONS}
    for index, path in enumerate(PATHS):
        for what, got in results[path].items():
            # By rounds, as the machine's other work falls on all of a round.
            ratio = summary([k / q for k, q in zip(got["kite"], got["qemu"])])
            scale, amounts = (1e6, " Mbit/s") if what.startswith("TCP") else (1, "/s") if "UDP" in what else (1, " us" if "ping" in what else " s")
            parts = {program: summary([value / scale for value in values]) for program, values in got.items()}
            more = what in goals
            made.append(Figure(f"{path}, {what}: Kite / QEMU", ratio["median"], goals[what][index] if more else 1.0, "x", dict(parts, ratio=ratio),
                               where, more=more, amounts=amounts))
    return made


def measure_net_linux(runs, where):
    for program in ("iperf3", "ip", "ping"):
        if not shutil.which(program):
            raise CannotMeasure(f"{program} is not installed")
    if os.getuid() != 0:
        raise CannotMeasure("only root can make interfaces")
    programs = {}
    try:
        programs["kite"] = Guest(kite, 1)
        programs["qemu"] = Guest(qemu, 2)
        return figures(rounds(programs, min(runs, 3)), where)
    finally:
        for guest in programs.values():
            guest.stop()
