# SPDX-License-Identifier: MIT
"""Guests with networks: interfaces on this machine, programs that talk over them, and frames one by one."""
import json
import os
import re
import select
import socket
import struct
import subprocess
import time

from disks import answer, shell
from harness import STEP, Skip

ETH_ALL = 3
PACKET_OUTGOING = 4
SOCKET_BYTES = 8 << 20


def need_root():
    """Interfaces are root's."""
    if os.getuid() != 0:
        raise Skip("only root can make interfaces")


def tap(t, name, address, queues=1):
    """A tap of this machine with an IPv4 address, such as 10.9.0.1/24. It is gone after the test."""
    need_root()
    t.host("ip", "tuntap", "add", name, "mode", "tap", "vnet_hdr", *(("multi_queue",) if queues > 1 else ()), undo=("ip", "link", "del", name))
    t.host("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
    if address:
        t.host("ip", "addr", "add", address, "dev", name)
    t.host("ip", "link", "set", name, "up")


def guest(t, *options, **more):
    """A guest at its prompt with the programs for networks, quiet about IPv6."""
    return shell(t, *options, tools=True, append="ipv6.disable=1", **more)


def address(t, g, interface, ip):
    """Gives an interface of the guest an address."""
    t.equal(f"the guest's {interface}", answer(g, f"ip addr add {ip} dev {interface} && ip link set {interface} up && echo up"), "up")


def ping(t, ip, *options, count=3):
    """From here: every one is answered, after a first that finds out where."""
    subprocess.run(["ping", "-c", "1", "-W", "30", ip], stdout=subprocess.DEVNULL, check=False)
    said = t.host("ping", "-c", str(count), "-i", "0.05", "-W", "30", *options, ip)
    t.check(f"{count} received" in said, f"ping {ip}: {said[-200:]}")


def answers(ip, seconds=STEP):
    """Whether it is reached again within some time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if subprocess.run(["ping", "-c", "1", "-W", "1", ip], stdout=subprocess.DEVNULL, check=False).returncode == 0:
            return True
    return False


def serve(t, g):
    """Starts iperf3's server in the guest."""
    t.equal("iperf3", answer(g, "iperf3 -s -D >/dev/null 2>&1; for i in $(seq 100); do pidof iperf3 >/dev/null && break; sleep 0.2; done; "
                             "pidof iperf3 >/dev/null && echo runs"), "runs")


def client(arguments):
    """A command for the guest: iperf3 as a client, again until a server that was just started listens. Says good, or why not."""
    return (f"i=0; until iperf3 -c {arguments} >/tmp/out 2>&1; do i=$((i + 1)); [ $i -lt 10 ] || break; sleep 1; done; "
            "[ $i -lt 10 ] && echo good || tail -3 /tmp/out")


def iperf(t, ip, *options, seconds=1):
    """Runs iperf3 from here against a server. Its result as JSON has it."""
    for _ in range(10):  # the server may be busy, or not there yet, with the last one's end
        done = subprocess.run(["iperf3", "-J", "-c", ip, "-t", str(seconds), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=STEP + seconds, check=False)
        result = json.loads(done.stdout) if done.stdout.startswith("{") else {"error": done.stdout}
        if "error" not in result:
            return result["end"]
        time.sleep(1)
    t.check(False, f"iperf3 {ip} {' '.join(options)}: {result['error']}")


def large_buffers(t, g=None):
    """From now on sockets, here or in the guest, hold a second of datagrams, so that none that is lost is a socket's fault."""
    for name in ("rmem_max", "rmem_default"):
        path = f"/proc/sys/net/core/{name}"
        if g:
            t.equal(f"the guest's {name}", answer(g, f"echo {SOCKET_BYTES} >{path} && echo set"), "set")
        else:
            with open(path, encoding="ascii") as file:
                t.host("sysctl", "-qw", f"net.core.{name}={SOCKET_BYTES}", undo=("sysctl", "-qw", f"net.core.{name}={file.read().strip()}"))


def datagrams(t, ip, name, *options):
    """Some hundred datagrams, with large_buffers, of which none is lost. Mbit/s."""
    for _ in range(5):  # in a second in which the machine had no time there are few
        end = iperf(t, ip, "-u", "-b", "2M", "-l", "1000", *options)["sum"]
        if end["packets"] > 100:
            break
        t.equal(f"{name}: lost of {end['packets']} packets", end["lost_packets"], 0)
    t.check(end["packets"] > 100, f"{name}: {end['packets']} packets")
    t.equal(f"{name}: lost of {end['packets']} packets", end["lost_packets"], 0)
    return end["bits_per_second"] / 1e6


def throughput(t, ip):
    """TCP and UDP both ways: data gets through, and with large_buffers no datagram is lost. Mbit/s by name, for the log."""
    out = {}
    for name, options in (("tcp to the guest", ()), ("tcp from it", ("-R",))):
        for _ in range(5):  # as above
            out[name] = iperf(t, ip, *options)["sum_received"]["bits_per_second"] / 1e6
            if out[name] > 0.5:
                break
        t.check(out[name] > 0.5, f"{name}: {out[name]:.2f} Mbit/s")
    for name, options in (("udp to the guest", ()), ("udp from it", ("-R",))):
        out[name] = datagrams(t, ip, name, *options)
    return out


class Monitor:
    """A machine's QMP socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(STEP)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        self.lines.readline()
        self.do("qmp_capabilities")

    def do(self, command):
        """A command without arguments, to its answer."""
        self.socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
        while "return" not in (line := json.loads(self.lines.readline())):
            if "error" in line:
                raise AssertionError(f"{command}: {line['error']}")


class Wire:
    """An interface of this machine, frame by frame."""

    def __init__(self, t, interface):
        need_root()
        self.t = t
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA: a VLAN tag that the kernel has taken out
        self.socket.bind((interface, 0))

    def send(self, frame):
        """Puts a frame on it; True if there was room."""
        try:
            return self.socket.send(frame) == len(frame)
        except OSError:
            return False

    def frames(self, seconds, incoming=None):
        """Those that come within some time, with their tags; `incoming`: True for those that the guest sent, False for this side's."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return
            data, control, _, sender = self.socket.recvmsg(70000, 256)
            if incoming is not None and (sender[2] == PACKET_OUTGOING) == incoming:
                continue
            for level, kind, value in control:
                status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", value[:20]) if (level, kind) == (263, 8) else (0,) * 7
                if status & 0x10:  # TP_STATUS_VLAN_VALID
                    data = data[:12] + struct.pack("!HH", tpid or 0x8100, tci) + data[12:]
            yield data

    def find(self, wanted, what, seconds=STEP, incoming=True):
        """The first frame of which `wanted` is true."""
        for frame in self.frames(seconds, incoming):
            if wanted(frame):
                return frame
        self.t.check(False, f"no frame came that is {what}")

    def close(self):
        """Ends it."""
        self.socket.close()


def mac(text):
    """An address as six bytes."""
    return bytes(int(b, 16) for b in text.split(":"))


def echo(destination, source, payload, sequence=1, tag=b"", addresses=("10.9.0.1", "10.9.0.2")):
    """A frame with an ICMP echo request."""
    def total(data):
        words = struct.unpack(f"!{len(data) // 2}H", data if len(data) % 2 == 0 else data + b"\0") if len(data) % 2 == 0 else \
            struct.unpack(f"!{len(data) // 2 + 1}H", data + b"\0")
        value = sum(words)
        while value >> 16:
            value = (value & 0xffff) + (value >> 16)
        return value ^ 0xffff
    icmp = struct.pack("!BBHHH", 8, 0, 0, 0x4b69, sequence) + payload
    icmp = icmp[:2] + struct.pack("!H", total(icmp)) + icmp[4:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), sequence, 0x4000, 64, 1, 0, *map(socket.inet_aton, addresses))
    ip = ip[:10] + struct.pack("!H", total(ip)) + ip[12:]
    return destination + source + tag + b"\x08\x00" + ip + icmp


def received(g, interface="eth0"):
    """How many frames the guest's driver has taken in."""
    return int(answer(g, f"cat /sys/class/net/{interface}/statistics/rx_packets"))


def queue_packets(g, direction, interface="eth0"):
    """By queue, what ethtool says of `direction`, rx or tx."""
    text = answer(g, f"/tools/ethtool -S {interface}")
    return [int(n) for n in re.findall(rf"{direction}_queue_\d+_packets: (\d+)", text)]
