# SPDX-License-Identifier: MIT
"""Network figures: Kite beside QEMU, with the same back ends and the same bare-metal guest (tests/guest/netbench.c), which polls its rings and has as
much of TCP/IP as it takes; its peer is this machine's own (tests/bench/netpeer.c). What a guest's kernel costs is not in them: net_linux.py has that.

Paths: a tap; user mode with the offloads that each program offers; user mode without any. On a tap, and without offloads, both must have
negotiated the same features, or there is no ratio. QEMU 7.2's user mode has no offloads, so that of the second path is what a guest gets by default.

Both programs stay up, and one operation is measured in each in turn. What is counted is what arrives. CPU time is that of the VMM's threads but
the vCPUs, which belong to the guest and poll, and of its helper processes.
"""
import os
import re
import select
import shutil
import subprocess
import time

from common import DEBUG_EXIT, GUEST, OUT, CannotMeasure, Figure, Running, kite, qemu, same_work, summary, thread_times

SECONDS = 0.7
WARM_UP = 0.2
GUEST_PORT = 5201
PORT = 5300  # of this machine, and up: by program, for what comes from the guest, and for what is forwarded to it
PEER = f"{OUT}/netpeer"
NO_OFFLOADS = ",csum=off,guest_csum=off"
# Name; the guest's word; the peer's; goals for a tap and for user mode; whether more is better.
OPERATIONS = (
    ("TCP to the guest", "tcp-in", "tcp-send", (1.2, 1.0), True),
    ("TCP from the guest", "tcp-out", "tcp-recv", (1.2, 1.0), True),
    ("64-byte UDP to the guest", "udp-in", "udp-send", (1.2, 1.0), True),
    ("64-byte UDP from the guest", "udp-out", "udp-recv", (1.2, 1.0), True),
    ("ping round trip", "ping", None, (1.0, 1.0), False),
)
PATHS = ("tap", "user", "user without offloads")


def children(pid):
    """Processes that it has started."""
    text = ""
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/children", encoding="ascii") as file:
            text += file.read()
    return [int(word) for word in text.split()]


def cpu_time(pid):
    """Seconds that the VMM and its helpers have spent on its networks."""
    total = thread_times(pid)
    for child in children(pid):
        try:
            total += thread_times(child)
        except FileNotFoundError:
            pass  # has ended
    return total


def run_ip(*words):
    done = subprocess.run(["ip", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise CannotMeasure(f"ip {' '.join(words)}: {done.stdout.strip()}")


def make_tap(name, address):
    run_ip("tuntap", "add", name, "mode", "tap", "vnet_hdr")
    run_ip("addr", "add", f"{address}/24", "dev", name)
    run_ip("link", "set", name, "up")


def drop_tap(name):
    subprocess.run(["ip", "link", "del", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def rate_of(text):
    """(amount, microseconds, more) of what a guest or a peer says when it is done; the last is 0 unless it is told."""
    found = re.search(r"done (\d+) (\d+)(?: (\d+))?\r?\n", text)
    return tuple(int(word or 0) for word in found.groups()) if found else None


class Guest:
    """A VMM with the payload, whose card is on `path`. `number` tells programs apart."""

    def __init__(self, argv, path, number):
        self.number, self.path = number, path
        self.tap = f"kitebench{number}" if path == "tap" else None
        self.vmm = None
        try:
            self.start(argv)
        except BaseException:
            self.stop()
            raise

    def start(self, argv):
        card = "virtio-net-pci,netdev=n,mac=52:54:00:6b:00:%02x,romfile=" % self.number
        if self.tap:
            self.ip, gateway = f"10.219.{self.number}.2", f"10.219.{self.number}.1"
            self.target = self.ip, GUEST_PORT
            make_tap(self.tap, gateway)
            backend = f"tap,id=n,ifname={self.tap},script=no,downscript=no"
        else:
            self.ip, gateway = "10.0.2.15", "10.0.2.2"
            self.target = "127.0.0.1", PORT + 10 + self.number
            forward = f"{self.target[0]}:{self.target[1]}-{self.ip}:{GUEST_PORT}"
            backend = f"user,id=n,hostfwd=tcp:{forward},hostfwd=udp:{forward}"
            card += NO_OFFLOADS if self.path != "user" else ""
        self.vmm = Running(argv("-m", "256", "-name", "bench,debug-threads=on", "-kernel", f"{GUEST}/netbench.elf", "-append",
                                f"ip={self.ip} gateway={gateway}", "-serial", "stdio", *DEBUG_EXIT, "-netdev", backend, "-device", card))
        self.vmm.until(b"netbench: ready", 60)
        self.features = self.read(r"features (0x\w+)\r?\n", 10)[1]

    def stop(self):
        if self.vmm:
            self.vmm.__exit__()
        if self.tap:
            drop_tap(self.tap)

    def read(self, pattern, timeout):
        """What the guest says, once that matches."""
        fd, end = self.vmm.proc.stdout.fileno(), time.monotonic() + timeout
        while not (found := re.search(pattern, self.vmm.text.decode(errors="replace"))):
            ready = select.select([fd], [], [], max(0, end - time.monotonic()))[0]
            data = os.read(fd, 65536) if ready else b""
            if not data:
                raise CannotMeasure(f"{self.path}: the guest {'ended' if ready else 'says nothing'}, after {self.vmm.text!r}")
            self.vmm.text += data
        return found

    def peer(self, word, seconds):
        ip, port = self.target
        words = {"udp-recv": [str(PORT + self.number)], "tcp-recv": [ip, str(port)], "tcp-check": [ip, str(port)]}
        return subprocess.Popen([PEER, word, *words.get(word, [ip, str(port), str(int(seconds * 1000))])], stdout=subprocess.PIPE, text=True)

    def run(self, operation, peer_word, seconds):
        """(rate, seconds of CPU, amount): of what came to the one that receives. The rate of a ping is its round trip in seconds."""
        self.vmm.text, peer = b"", None
        try:
            if peer_word == "udp-recv":
                peer = self.peer(peer_word, seconds)
                peer.stdout.readline()  # it listens
            before = cpu_time(self.vmm.proc.pid)
            self.vmm.proc.stdin.write(f"{operation} {int(seconds * 1000)} {PORT + self.number}\n".encode())
            self.vmm.proc.stdin.flush()
            self.read(r"go\r?\n", 60)
            if peer_word and not peer:
                # Datagrams keep coming until the guest has counted for its time.
                peer = self.peer(peer_word, seconds + 20 if peer_word == "udp-send" else seconds)
            mine = rate_of(self.read(r"done \d+ \d+ \d+\r?\n", 60 + 4 * seconds)[0])
            cpu = cpu_time(self.vmm.proc.pid) - before
            if operation.endswith("-out"):
                theirs = rate_of(peer.communicate(timeout=60)[0])
                if peer.returncode or not theirs:
                    raise CannotMeasure(f"{self.path}, {operation}: netpeer ended with status {peer.returncode}")
                return self.rate(operation, theirs, cpu)
            return self.rate(operation, mine, cpu)
        finally:
            if peer:
                peer.kill()
                peer.wait()
                peer.stdout.close()

    def rate(self, operation, said, cpu):
        amount, us, more = said
        if not amount or not us:
            raise CannotMeasure(f"{self.path}, {operation}: nothing came: {self.vmm.text!r}")
        return (more / 1e9 if operation == "ping" else amount / (us / 1e6)), cpu, amount

    def check(self):
        """That bytes come as they were sent, both ways: no figures of a broken stream."""
        wrong = self.run_check("tcp-check", "tcp-send")
        if wrong:
            raise CannotMeasure(f"{self.path}: {wrong} bytes to the guest came wrong")
        self.run_check("tcp-out", "tcp-check")

    def run_check(self, operation, peer_word):
        self.run(operation, peer_word, WARM_UP)
        return rate_of(self.vmm.text.decode(errors="replace"))[2] if operation == "tcp-check" else 0


def measure_path(path, runs):
    """{operation: {program: [(rate, CPU, amount)]}}, and whether the features are the same."""
    guests = {}
    results = {name: {"kite": [], "qemu": []} for name, *_ in OPERATIONS}
    try:
        guests["kite"] = Guest(kite, path, 1)
        guests["qemu"] = Guest(qemu, path, 2)
        if path != "user":
            same_work(f"{path}: features", {program: guest.features for program, guest in guests.items()})
        for guest in guests.values():
            guest.check()
        for n in range(runs + 1):
            for name, word, peer_word, _, _ in OPERATIONS:
                for program, guest in guests.items():
                    value = guest.run(word, peer_word, SECONDS if n else WARM_UP)
                    if n:  # the first round only warms up
                        results[name][program].append(value)
        return results
    finally:
        for guest in guests.values():
            guest.stop()


def scaled(name, value):
    """(amount, its unit) to show."""
    if name.startswith("TCP"):
        return value * 8 / 1e6, " Mbit/s"
    return (value * 1e6, " us") if name.startswith("ping") else (value, "/s")


def figures(path, results, where):
    made = []

    def add(name, values, goal, more, amounts):
        # By rounds, as the machine's other work falls on all of a round.
        ratio = summary([k / q for k, q in zip(values["kite"], values["qemu"])])
        parts = {program: summary(some) for program, some in values.items()}
        made.append(Figure(f"{path}, {name}: Kite / QEMU", ratio["median"], goal, "x", dict(parts, ratio=ratio), where, more=more, amounts=amounts))
    for name, _, _, goals, more in OPERATIONS:
        got = results[name]
        add(name, {program: [scaled(name, rate)[0] for rate, _, _ in values] for program, values in got.items()}, goals[path != "tap"], more,
            scaled(name, 0)[1])
        if name.startswith("TCP"):
            add(f"CPU a gigabyte, {name}", {program: [cpu / (n / 1e9) for _, cpu, n in values] for program, values in got.items()}, 1.0, False, " s")
        else:
            add(f"CPU a packet, {name}", {program: [cpu / n * 1e6 for _, cpu, n in values] for program, values in got.items()}, None, False, " us")
    return made


def can_measure():
    if os.getuid() != 0:
        raise CannotMeasure("only root can make interfaces")
    if not shutil.which("ip"):
        raise CannotMeasure("ip is not installed")
    if not os.access(PEER, os.X_OK):
        raise CannotMeasure(f"{PEER} is not built: make {PEER}")


def measure_net(runs, where):
    can_measure()
    made, failed = [], []
    for path in PATHS:
        try:
            made += figures(path, measure_path(path, runs), where)
        except CannotMeasure as why:
            failed.append(str(why))
    return made, failed
