# SPDX-License-Identifier: MIT
"""Taps, by Kite itself and by vhost-net: everything that a network card does, in one machine each."""
import errno
import os
import socket
import subprocess
import time

from disks import answer, end
from harness import Skip, STEP, case
from net import (Monitor, Wire, address, answers, echo, guest, iperf, large_buffers, mac, need_root, ping, queue_packets, received, serve,
                 tap, throughput)

GUEST, HOST = "10.9.0.2", "10.9.0.1"
MAC, OTHER = "52:54:00:aa:bb:01", "52:54:00:aa:bb:99"


def host_mac(name):
    """The address of an interface of this machine."""
    with open(f"/sys/class/net/{name}/address", encoding="ascii") as file:
        return mac(file.read().strip())


def check_bytes(t, wire, tap_mac):
    """Echo requests of every kind of length come back, the same in every byte that is not the other way round."""
    for sequence, length in enumerate((0, 1, 18, 19, 255, 1000, 1471, 1472), 1):
        payload = bytes((7 * i + sequence) & 0xff for i in range(length))
        request = echo(mac(MAC), tap_mac, payload, sequence)
        t.check(wire.send(request), f"no room for an echo request of {length} bytes")
        reply = wire.find(lambda f, s=sequence: f[12:14] == b"\x08\x00" and f[23] == 1 and f[34] == 0 and f[38:42] == b"\x4b\x69" + bytes((0, s)),
                          f"the reply to {length} bytes")
        t.equal("its addresses", reply[:12], tap_mac + mac(MAC))
        t.equal(f"the payload of {length} bytes", reply[42 : 42 + length], payload)
        t.equal("its length", len(reply), max(42 + length, len(reply) if length < 18 else 0))


def check_vlan(t, g, wire, name, tap_mac):
    """Frames with a tag arrive with it, both ways."""
    t.equal("VLAN", answer(g, "ip link add link eth0 name eth0.5 type vlan id 5 && ip addr add 10.9.5.2/24 dev eth0.5 && ip link set eth0.5 up "
                              "&& echo up"), "up")
    t.host("ip", "link", "add", "link", name, "name", f"{name}.5", "type", "vlan", "id", "5")
    t.host("ip", "addr", "add", "10.9.5.1/24", "dev", f"{name}.5")
    t.host("ip", "link", "set", f"{name}.5", "up")
    ping(t, "10.9.5.2")
    # Not as the kernel's own VLAN code makes them: with a priority.
    tag = b"\x81\x00\xa0\x05"
    wire.send(echo(mac(MAC), tap_mac, b"tagged" * 20, 77, tag, ("10.9.5.1", "10.9.5.2")))
    reply = wire.find(lambda f: f[12:14] == b"\x81\x00" and f[16:18] == b"\x08\x00" and f[42:46] == b"\x4b\x69\x00\x4d", "the tagged reply")
    t.equal("its tag", reply[14:16], b"\x00\x05")
    t.equal("its payload", reply[46:166], b"tagged" * 20)
    t.host("ip", "link", "del", f"{name}.5")
    answer(g, "ip link del eth0.5; echo done")


def check_filter(t, g, wire, tap_mac):
    """What is not for the guest does not reach its driver, unless it asks for everything. vhost-net has no filter."""
    def count(destination, expected=False):
        before = received(g)
        for sequence in range(50):
            wire.send(echo(mac(destination), tap_mac, b"x" * 50, sequence))
        got = 0
        for _ in range(60 if expected else 5):
            time.sleep(0.2)
            got = received(g) - before
            if got >= 45:
                break
        return got
    strangers = count(OTHER)
    t.check(strangers < 10, f"{strangers} of 50 frames for another card reached the driver")
    t.check(count("01:00:5e:7f:00:01") < 10, "frames for a group that nobody joined reached the driver")
    t.equal("promiscuous mode", answer(g, "ip link set eth0 promisc on && echo on"), "on")
    t.check(count(OTHER, expected=True) >= 45, "in promiscuous mode frames for another card are missing")
    answer(g, "ip link set eth0 promisc off")
    t.check(count(MAC, expected=True) >= 45, "frames for the card are missing")
    t.check(count(OTHER) < 10, "promiscuous mode does not end")


def check_mtu(t, g, name):
    """Frames of 9000 bytes, whole."""
    t.host("ip", "link", "set", name, "mtu", "9000")
    t.equal("MTU", answer(g, "ip link set eth0 mtu 9000 && echo set"), "set")
    ping(t, GUEST, "-M", "do", "-s", "8972")
    iperf(t, GUEST, "-R")
    iperf(t, GUEST)


def check_queues(t, g):
    """Four queues, with traffic on each, and one again."""
    t.equal("4 queues", answer(g, "/tools/ethtool -L eth0 combined 4 && echo set"), "set")
    before = [queue_packets(g, d) for d in ("rx", "tx")]
    # Flows are spread over queues by their ports: with so many none is left out. Nobody listens there: each gets its refusal.
    for port in range(6000, 6080):
        with socket.socket() as tcp:
            t.check(tcp.connect_ex((GUEST, port)) == errno.ECONNREFUSED, f"port {port} does not refuse")
    for direction, old in zip(("rx", "tx"), before):
        new = queue_packets(g, direction)
        t.equal("queues", len(new), 4)
        t.check(all(n > o for n, o in zip(new, old)), f"{direction} packets by queue: {old}, then {new}")
    iperf(t, GUEST, "-P", "4", "-R")
    t.equal("1 queue", answer(g, "/tools/ethtool -L eth0 combined 1 && echo set"), "set")
    ping(t, GUEST)
    answer(g, "/tools/ethtool -L eth0 combined 4")
    ping(t, GUEST)


def check_paused(t, monitor, wire):
    """Stopped in the middle of traffic the machine is silent; every request that came meanwhile is answered when it goes on."""
    pings = subprocess.Popen(["ping", "-c", "80", "-i", "0.05", "-W", "30", GUEST], stdout=subprocess.PIPE, text=True)
    for _ in range(4):
        time.sleep(0.3)
        monitor.do("stop")
        for _ in wire.frames(0.2):  # what was on its way
            pass
        late = sum(f[12:14] == b"\x08\x00" for f in wire.frames(0.3, incoming=True))
        t.equal("packets from a machine that is stopped", late, 0)
        monitor.do("cont")
    said = pings.communicate(timeout=4 * STEP)[0]
    t.check("80 received" in said, f"stopped and gone on: {said[-200:]}")


def check_link(t, name):
    """The tap switched off and on."""
    t.host("ip", "link", "set", name, "down")
    time.sleep(0.5)
    t.host("ip", "link", "set", name, "up")
    t.check(answers(GUEST), "nothing gets through after the tap was down")


def check_full(t, g, wire, tap_mac):
    """A guest that takes nothing while frames pour in, and then does."""
    frame = echo(mac(MAC), tap_mac, b"f" * 1000)
    t.equal("down", answer(g, "ip link set eth0 down && echo down"), "down")
    for _ in range(3000):
        wire.send(frame)
    t.equal("up", answer(g, "ip link set eth0 up && echo up"), "up")
    t.check(answers(GUEST), "nothing gets through after the interface was down in a flood")
    # Its processor stopped in the middle of a flood: the queue is full, and stays so.
    for _ in range(3):
        for _ in range(2000):
            wire.send(frame)
    t.check(answers(GUEST), "nothing gets through after a flood")


def check_reset(t, g):
    """The driver let go, and the module loaded again, while frames pour in from both sides."""
    flood = subprocess.Popen(["iperf3", "-c", GUEST, "-u", "-b", "20M", "-l", "500", "-t", "60", "--bidir"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    pings = subprocess.Popen(["ping", "-q", "-f", "-s", "1000", GUEST], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    restore = f"ip addr add {GUEST}/24 dev eth0; ip link set eth0 mtu 9000; ip link set eth0 up"
    name = "$(basename $(readlink -f /sys/class/net/eth0/device))"
    for _ in range(2):
        said = answer(g, f"V={name}; cd /sys/bus/virtio/drivers/virtio_net; echo $V >unbind; echo $V >bind; cd /; {restore}; echo done", 2 * STEP)
        t.equal("the driver let go and back", said, "done")
        t.check(answers(GUEST), "nothing gets through after the driver was let go")
    said = answer(g, f"rmmod virtio_net; insmod /modules/$(uname -r)/virtio_net.ko; {restore}; echo done", 2 * STEP)
    t.equal("the module loaded again", said, "done")
    for process in (flood, pings):
        process.kill()
        process.wait()
    t.check(answers(GUEST), "nothing gets through after the module was loaded again")


def check_deleted(t, g, name):
    """The interface goes: the guest sees its cable pulled, and everything else goes on."""
    t.host("ip", "link", "del", name)
    for _ in range(40):
        if answer(g, "cat /sys/class/net/eth0/carrier") == "0":
            break
        time.sleep(0.25)
    else:
        t.check(False, "the guest sees no link that is down after the tap was deleted")
    answer(g, f"ping -c 1 -W 1 {HOST} >/dev/null; echo went on")


def whole_card(t, name, vhost, *options):
    """All of it."""
    need_root()
    queues = "multi_queue"
    t.host("ip", "tuntap", "add", name, "mode", "tap", "vnet_hdr", queues, undo=("ip", "link", "del", name))
    t.host("ip", "addr", "add", f"{HOST}/24", "dev", name)
    t.host("ip", "link", "set", name, "up")
    g = guest(t, "-smp", "2", "-netdev", f"tap,id=n,ifname={name},script=no,downscript=no,queues=4{vhost}", "-device",
              f"virtio-net-pci,netdev=n,mac={MAC}", "-qmp", f"unix:{t.path('qmp')},server=on,wait=off", *options, memory=256)
    address(t, g, "eth0", f"{GUEST}/24")
    wire, tap_mac = Wire(t, name), host_mac(name)
    times = []

    def step(function, *arguments):
        start = time.monotonic()
        function(*arguments)
        times.append(f"{function.__name__} {time.monotonic() - start:.1f}")
    try:
        step(ping, t, GUEST)
        step(check_bytes, t, wire, tap_mac)
        if not vhost:
            step(check_vlan, t, g, wire, name, tap_mac)
            step(check_filter, t, g, wire, tap_mac)
        step(check_paused, t, Monitor(t.path("qmp")), wire)
        large_buffers(t)
        large_buffers(t, g)
        serve(t, g)
        step(throughput, t, GUEST)
        if not vhost:
            step(check_mtu, t, g, name)
            step(check_link, t, name)
            step(check_full, t, g, wire, tap_mac)
        step(check_queues, t, g)
        step(check_reset, t, g)
        step(check_deleted, t, g, name)
    finally:
        wire.close()
        print(f"# {', '.join(times)}", flush=True)
    end(g)
    return g


@case
def net_tap(t):
    """A tap that Kite itself reads and writes."""
    whole_card(t, "kitetap0", "")


@case
def net_vhost(t):
    """The same through the kernel's vhost-net."""
    if not os.path.exists("/dev/vhost-net"):
        raise Skip("no /dev/vhost-net")
    g = whole_card(t, "kitevh0", ",vhost=on,vhostforce=on")
    t.check("vhost" not in g.stderr(), f"it says {g.stderr()!r}")
