# SPDX-License-Identifier: MIT
"""User mode with a real kernel: addresses, names, and connections both ways, without any privilege."""
import os
import subprocess
import time
import urllib.request

from disks import answer, end
from harness import STEP, case
from net import client, datagrams, guest, iperf, large_buffers, need_root, serve

PORT = 18080


def name_server(t):
    """A DNS server on this machine that knows one name, and Kite's start in front of which it is the only one."""
    need_root()
    resolv = t.write("resolv.conf", b"nameserver 127.0.0.53\n")
    server = subprocess.Popen(["dnsmasq", "-k", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces",
                               "--listen-address=127.0.0.53", "--address=/kite.test/192.0.2.77", "--user=root",
                               f"--pid-file={t.path('dns.pid')}"], stdout=subprocess.DEVNULL, stderr=open(t.path("dns.log"), "wb"))
    t.undo.append(("kill", str(server.pid)))
    return ("unshare", "-m", "sh", "-c", f"mount --bind {resolv} /etc/resolv.conf && exec \"$@\"", "sh")


@case
def net_user(t):
    """DHCP, DNS, HTTP through hostfwd, TCP and UDP both ways, ping of the virtual host; restrict=on; and the helper's death."""
    wrap = name_server(t)
    large_buffers(t)  # the helper's sockets, too
    g = guest(t, "-nic", f"user,hostfwd=tcp:127.0.0.1:{PORT}-:80,hostfwd=tcp:127.0.0.1:5201-:5201,hostfwd=udp:127.0.0.1:5201-:5201,"
              "hostname=kitten,mac=52:54:00:0a:00:01", "-nic", "user,restrict=on,net=10.5.0.0/24,mac=52:54:00:0a:00:02", wrap=wrap)
    said = answer(g, "ip link set eth0 up; udhcpc -i eth0 -n -q -s /bin/true -t 10 -T 1 2>&1 | grep -o 'lease of [0-9.]*'")
    t.equal("what DHCP gives", said, "lease of 10.0.2.15")
    answer(g, "ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2")
    said = answer(g, "nslookup kite.test 10.0.2.3 | grep -o '192.0.2.77'")
    t.check("192.0.2.77" in said, f"DNS says {said!r}")
    t.check("3 packets received" in answer(g, "ping -c 3 -i 0.2 -W 30 10.0.2.2 | grep received"), "the virtual host does not answer")
    # HTTP in: as people use hostfwd.
    answer(g, "mkdir /www; seq 1 20000 >/www/index.html; httpd -p 80 -h /www; echo runs")
    want = "".join(f"{n}\n" for n in range(1, 20001)).encode()
    for _ in range(3):
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/index.html", timeout=STEP) as reply:
            t.equal("the page", reply.read(), want)
    # TCP and UDP both ways, the connection made from either side.
    serve(t, g)
    for way in ((), ("-R",)):
        rate = iperf(t, "127.0.0.1", *way)["sum_received"]["bits_per_second"]
        t.check(rate > 5e5, f"tcp {way}: {rate} bit/s")
    large_buffers(t, g)
    for way in ((), ("-R",)):
        datagrams(t, "127.0.0.1", f"udp {way}", *way)
    t.host("iperf3", "-s", "-D", "-1", "-p", "5299", "-I", t.path("iperf.pid"))
    said = answer(g, client("10.0.2.2 -p 5299 -t 1"))
    t.equal("iperf3 out", said, "good")
    # restrict=on: the virtual host is there, and nothing behind it.
    said = answer(g, "ip link set eth1 up; udhcpc -i eth1 -n -q -s /bin/true -t 10 -T 1 2>&1 | grep -o 'lease of [0-9.]*'")
    t.equal("what DHCP gives where restrict=on", said, "lease of 10.5.0.15")
    answer(g, "ip addr add 10.5.0.15/24 dev eth1")
    t.equal("a connection out", answer(g, "wget -q -T 3 -O - http://10.5.0.2:5299/ 2>&1 | grep -c .") != "", True)
    # The helper dies: the link goes down, and the machine lives.
    children = t.host("pgrep", "-P", str(g.pid), "kite-user-net").split()
    t.equal("helpers", len(children), 2)
    for child in children:
        os.kill(int(child), 9)
    for _ in range(40):
        if answer(g, "cat /sys/class/net/eth0/carrier") == "0":
            break
        time.sleep(0.25)
    else:
        t.check(False, "the guest's link is up without a helper")
    end(g)


@case
def net_default(t):
    """Without a word about networks there is one card on user mode; where its helper is missing a line says so, and the machine starts."""
    g = guest(t, console="-serial stdio -display none -monitor none")
    t.equal("its address", answer(g, "cat /sys/class/net/eth0/address"), "52:54:00:12:34:56")
    said = answer(g, "ip link set eth0 up; udhcpc -i eth0 -n -q -s /bin/true -t 10 -T 1 2>&1 | grep -o 'lease of [0-9.]*'")
    t.equal("what DHCP gives", said, "lease of 10.0.2.15")
    end(g)
    t.equal("messages", g.stderr(), "")
