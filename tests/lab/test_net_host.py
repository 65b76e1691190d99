# SPDX-License-Identifier: MIT
"""Networks around the guests: kite-net, the bridge helper, scripts, two machines on one segment, passt."""
import os
import re
import subprocess
import time

from disks import answer, end
from harness import STEP, case
from net import address, answers, client, guest, iperf, need_root, ping, serve

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
KITE_NET = f"{ROOT}/tools/kite-net"


def network(t, *words, status=0):
    """Runs kite-net. What it says."""
    done = subprocess.run([KITE_NET, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    t.check(done.returncode == status, f"kite-net {' '.join(words)}: status {done.returncode}: {done.stdout.strip()[-300:]}")
    return done.stdout


def state(t):
    """All that kite-net changes on this machine."""
    with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as file:
        forward = file.read()
    # Whether a link has a carrier the kernel says when it has found out.
    carrier = re.compile(r"NO-CARRIER,|,LOWER_UP| linkdown\b| (?:UP|DOWN|UNKNOWN)(?= )")
    links, routes = (re.sub(r" +", " ", carrier.sub("", t.host("ip", *what))) for what in (("-br", "link"), ("-4", "route")))
    return (links, routes, t.host("nft", "list", "ruleset"), forward, os.path.isdir("/run/kite-net/kite0"))


@case
def net_kite_net(t):
    """kite-net: every kind comes up, twice is once, what is missing comes back, and nothing stays behind."""
    need_root()
    t.host("nft", "list", "ruleset")  # loads the modules
    t.host("ip", "link", "add", "out0", "type", "bridge", undo=("ip", "link", "del", "out0"))
    before = state(t)
    t.undo.append((KITE_NET, "down"))
    said = network(t, "up", "--taps", "2", "--user", "nobody")
    t.check("kite0 is up: nat, 192.168.127.1/24" in said, said)
    t.check("masquerade" in t.host("nft", "list", "table", "inet", "kite_net_kite0"), "no masquerade")
    t.check("user nobody" in t.host("ip", "-d", "tuntap", "show") or "65534" in t.host("ip", "-d", "tuntap", "show"), "the taps are not nobody's")
    whole = network(t, "status")
    t.check("kite0: up, nat" in whole and "tap kite0-t1 of nobody" in whole, whole)
    once = state(t)
    network(t, "up")
    t.equal("what a second up leaves", state(t), once)
    t.check("is up with mode=nat" in network(t, "up", "--mode", "routed", status=1), "another kind is not refused")
    t.host("ip", "link", "del", "kite0-t0")
    t.host("nft", "delete", "table", "inet", "kite_net_kite0")
    t.check("the tap kite0-t0 is missing" in network(t, "status", status=3), "a missing tap is not noticed")
    network(t, "up")
    again = state(t)
    # Another beside it gets other addresses, and its end leaves the first alone.
    t.undo.append((KITE_NET, "down", "kite1"))
    t.check("192.168.128.1/24" in network(t, "up", "kite1", "--mode", "routed", "--taps", "0"), "the second has the first one's addresses")
    t.check("masquerade" not in t.host("nft", "list", "table", "inet", "kite_net_kite1"), "a routed network has another address")
    network(t, "down", "kite1")
    t.equal("what the second's end leaves", state(t), again)
    t.check("kite0 is down" in network(t, "down"), "it is not down")
    t.equal("what is left", state(t), before)
    network(t, "up", "--mode", "isolated", "--subnet", "10.77.0.0/20")
    t.equal("forwarding where nothing goes out", state(t)[3], before[3])
    network(t, "down")
    t.host("ip", "link", "add", "kite0", "type", "bridge", undo=("ip", "link", "del", "kite0"))
    t.check("not ours" in network(t, "up", status=1), "an interface of somebody else's is taken")
    t.check("kite0" in t.host("ip", "-br", "link"), "an interface of somebody else's is gone")


@case
def net_bridge_helper(t):
    """kite-bridge-helper, setuid root, for a user: taps on bridges that the rules allow, and nothing else."""
    need_root()
    users = os.path.join(os.path.dirname(os.path.realpath(__file__)), "bridge_users.py")
    lines = t.host("unshare", "-n", "-m", "python3", users, f"{os.path.dirname(t.kite)}/kite-bridge-helper", t.dir, "allow br0 br0", "deny all br0",
                   "allow br0 br1", "allow all br1", "allow all lo", "allow all ../br0").splitlines()
    t.check(lines[0].startswith("0 1  [") and "mtu 1400 master br0 state forwarding" in lines[0], f"an allowed bridge: {lines[0]}")
    t.check(lines[0].endswith("[]"), f"the tap outlives its descriptor: {lines[0]}")
    for line, words in zip(lines[1:], ("bridge 'br0' is not allowed", "bridge 'br1' is not allowed", "there is no bridge 'br1'", "cannot set the MTU",
                                       "no interface has a name like that")):
        t.check(line.startswith("1 0 ") and words in line and line.endswith("[] []"), f"expected {words!r}: {line}")


def passt_socket(t):
    """passt at a socket of ours, as nobody would have it. Its path."""
    path = t.path("passt.socket")
    t.host("ip", "addr", "add", "10.66.0.1/24", "dev", "out0")
    t.host("ip", "link", "set", "out0", "up")
    t.host("ip", "route", "add", "default", "via", "10.66.0.254", "dev", "out0", undo=("ip", "route", "del", "default"))
    process = subprocess.Popen(["passt", "-f", "-s", path, "-a", "10.66.0.15", "-n", "255.255.255.0", "-g", "10.66.0.254", "-4",
                                "--runas", "0:0"], stdout=subprocess.DEVNULL, stderr=open(t.path("passt.log"), "wb"))
    t.undo.append(("kill", str(process.pid)))
    deadline = time.monotonic() + STEP
    while not os.path.exists(path):
        t.check(process.poll() is None and time.monotonic() < deadline, f"passt does not run: {read(t.path('passt.log'))[-300:]}")
        time.sleep(0.1)
    return path


def read(path):
    """A file's text."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


@case
def net_two(t):
    """Two machines: on a bridge through the helper, over a stream between them, and one with passt; with a tap that a script sets up."""
    need_root()
    t.undo.append((KITE_NET, "down"))
    network(t, "up", "--taps", "0", "--subnet", "10.8.0.0/24")
    t.host("ip", "link", "add", "out0", "type", "bridge", undo=("ip", "link", "del", "out0"))
    helper = f"{os.path.dirname(t.kite)}/kite-bridge-helper"
    script = t.write("up", b"#!/bin/sh\nip addr add 10.7.0.1/24 dev $1 && ip link set $1 up\n")
    down = t.write("down", f"#!/bin/sh\necho $1 >{t.path('was')}\n".encode())
    os.chmod(script, 0o755)
    os.chmod(down, 0o755)
    socket = t.path("stream")
    passt = passt_socket(t)
    first = guest(t, "-nic", f"bridge,br=kite0,helper={helper},mac=52:54:00:08:00:01", "-nic",
                  f"stream,server=on,addr.type=unix,addr.path={socket},mac=52:54:00:08:00:11", "-nic",
                  f"stream,addr.type=unix,addr.path={passt},mac=52:54:00:08:00:21", "-nic",
                  f"tap,ifname=kitescript,script={script},downscript={down},mac=52:54:00:08:00:31")
    second = guest(t, "-machine", "microvm", "-netdev", f"tap,id=b,br=kite0,helper={helper}", "-device",
                   "virtio-net-device,netdev=b,mac=52:54:00:08:00:02", "-netdev",
                   f"stream,id=s,addr.type=unix,addr.path={socket},reconnect=1", "-device", "virtio-net-device,netdev=s,mac=52:54:00:08:00:12")
    # On the bridge: addresses by DHCP, names by DNS.
    for g, interface in ((first, "eth0"), (second, "eth0")):
        said = answer(g, f"ip link set {interface} up; udhcpc -i {interface} -n -q -s /bin/true -t 10 -T 1 2>&1 | grep -o 'lease of [0-9.]*'")
        t.check(said.startswith("lease of 10.8.0."), f"DHCP says {said!r}")
        ip = said.split()[-1]
        t.equal("the address", answer(g, f"ip addr add {ip}/24 dev {interface} && echo set"), "set")
        t.check(answers(ip), f"{ip} does not answer")
    t.check("52:54:00:08:00:02" in network(t, "status"), "kite-net does not show the lease")
    ip = answer(second, "ip -4 addr show eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'")
    serve(t, second)
    for target in (ip, "10.6.0.2"):
        if target != ip:
            address(t, first, "eth1", "10.6.0.1/24")
            address(t, second, "eth1", "10.6.0.2/24")
        for way in ("", "-R", "-u -b 2M", "-u -b 2M -R"):
            said = answer(first, client(f"{target} -t 1 {way}"))
            t.equal(f"iperf3 {way} to {target}", said, "good")
    # passt: DHCP from it, and TCP through it to a server here.
    said = answer(first, "ip link set eth2 up; udhcpc -i eth2 -n -q -s /bin/true -t 10 -T 1 2>&1 | grep -o 'lease of [0-9.]*'")
    t.equal("what passt's DHCP gives", said, "lease of 10.66.0.15")
    t.equal("passt", answer(first, "ip addr add 10.66.0.15/24 dev eth2; ip route add default via 10.66.0.254 && echo set"), "set")
    t.host("iperf3", "-s", "-D", "-1", "-p", "5299", "-I", t.path("iperf.pid"))
    said = answer(first, client("10.66.0.254 -p 5299 -t 1"))
    t.equal("iperf3 through passt", said, "good")
    # The tap with its script.
    address(t, first, "eth3", "10.7.0.2/24")
    ping(t, "10.7.0.2")
    # The stream's other side goes and comes again.
    end(second)
    for _ in range(40):
        if answer(first, "cat /sys/class/net/eth1/carrier") == "0":
            break
        time.sleep(0.25)
    else:
        t.check(False, "the guest's link is up with nobody there")
    end(first)
    t.equal("the downscript's argument", read(t.path("was")).strip(), "kitescript")
