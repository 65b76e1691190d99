# SPDX-License-Identifier: MIT
"""CirrOS as clouds and CI boot it: qcow2 and raw, from files and devices, told who it is by a disk or a metadata service; and tools/boot-test."""
import json
import os
import re
import socket
import subprocess
import xml.etree.ElementTree as ElementTree

from disks import loop_device, md5
from guests import ROOT, SLOW, boot_sector, cirros, cirros_raw, disk, log_in, metadata, type_command
from harness import BOOT, EXIT, Skip, case
from test_qcow2 import check_image
from test_scsi import iso

STAGES = ["firmware", "boot loader", "kernel", "init", "login"]
SERVICE, TOKEN = "http://169.254.169.254", "X-aws-ec2-metadata-token"


def copy(t):
    """The image as it stands, in a file that may be written to."""
    t.host("cp", "--no-preserve=mode", cirros(), t.path("cirros.qcow2"))
    return t.path("cirros.qcow2")


def free_port():
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def new_key(t):
    """An SSH key of a kind that CirrOS's server knows; the public half."""
    t.host("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", t.path("key"))
    with open(t.path("key.pub"), encoding="ascii") as file:
        return file.read().strip()


def ssh(t, port, command):
    """What a command prints in the guest, reached through a forwarded port with that key and nothing else."""
    return t.host("timeout", str(BOOT), "ssh", "-p", str(port), "-i", t.path("key"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
                  "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "cirros@127.0.0.1", command)


@case
def cirros_nocloud(t):
    """An overlay, 2 vCPUs, and a seed on a second disk: name, key, user-data from it; DHCP; ssh; a file outlives a reboot; power-off is status 0."""
    seed = iso(t, "seed", "cidata", {
        "meta-data": json.dumps({"instance-id": "i-seed", "local-hostname": "kitten", "public-keys": [new_key(t)]}).encode(),
        "user-data": b"#!/bin/sh\necho USER-DATA of $(hostname)\n"})
    overlay, port = t.path("overlay.qcow2"), free_port()
    before = md5(cirros(), os.path.getsize(cirros()))
    t.host(os.path.join(os.path.dirname(t.kite), "kite-img"), "create", "-q", "-f", "qcow2", "-b", cirros(), "-F", "qcow2", overlay)
    guest = t.run("-m", "256", "-smp", "2", "-nographic", "-drive", f"file={overlay},format=qcow2", *disk(seed, "readonly=on"),
                  "-nic", f"user,hostfwd=tcp:127.0.0.1:{port}-:22")
    guest.expect(rb"USER-DATA of kitten", SLOW)
    log_in(guest, "kitten")
    told = type_command(guest, "hostname; ip -4 addr show eth0; ip route; nproc")
    for words in ("kitten", "inet 10.0.2.15/24", "default via 10.0.2.2", "\n2\n"):
        t.check(words in told, f"no {words!r} in: {told}")
    wrote = ssh(t, port, "dd if=/dev/urandom of=kept bs=64k count=16 2>/dev/null; sync; md5sum kept; hostname")
    t.check(re.fullmatch(r"[0-9a-f]{32}  kept\nkitten", wrote), f"ssh says {wrote!r}")
    guest.send("sudo reboot\n")
    for words in (rb"SeaBIOS", rb"GRUB", rb"Linux version", rb"kitten login:"):
        guest.expect(words, SLOW)
    t.equal("the file after the reboot", ssh(t, port, "md5sum kept; hostname"), wrote)
    guest.send("\n")  # for another prompt
    log_in(guest, "kitten")
    guest.send("sudo poweroff\n")
    guest.ended(0, BOOT)
    check_image(t, overlay)
    t.equal("the image under the overlay", md5(cirros(), os.path.getsize(cirros())), before)


@case
def cirros_metadata(t):
    """A loop device, 1 vCPU, and a metadata service: no waiting for it, its user-data runs, its key and name are taken, also with tokens."""
    directory = metadata(t, "i-cat", **{"user-data": b"#!/bin/sh\necho USER-DATA of $(hostname)\n", "meta-data/public-keys/0/name": b"of-the-test",
                                        "meta-data/public-keys/0/openssh-key": new_key(t).encode()})
    port = free_port()
    guest = t.run("-m", "256", "-nographic", *disk(loop_device(t, cirros_raw(t))), "-nic", f"user,{directory},hostfwd=tcp:127.0.0.1:{port}-:22")
    guest.expect(rb"successful after 1/\d+ tries", SLOW)
    guest.expect(rb"USER-DATA of cat", SLOW)
    log_in(guest, "cat")
    t.equal("ssh", ssh(t, port, "hostname"), "cat")
    told = type_command(guest, f"T=$(curl -s -X PUT -H '{TOKEN}-ttl-seconds: 60' {SERVICE}/latest/api/token); "
                               f"curl -s -H \"{TOKEN}: $T\" {SERVICE}/latest/meta-data/instance-id; echo", BOOT)
    t.equal("with a token", told.strip(), "i-cat")
    told = type_command(guest, f"curl -s -o /dev/null -w '%{{http_code}}\\n' -H '{TOKEN}: x' {SERVICE}/latest/meta-data/", BOOT)
    t.equal("with a wrong token", told.strip(), "401")
    guest.send("sudo poweroff\n")
    guest.ended(0, BOOT)


@case
def cirros_alone(t):
    """A person has the image and nothing else; 4 vCPUs."""
    image = copy(t)
    guest = t.run(image, "-m", "256", "-nographic", "-smp", "4")
    log_in(guest)
    told = type_command(guest, "nproc; ip -4 addr show eth0; df -m / | tail -n 1")
    for words in ("4\n", "inet 10.0.2.15/24"):
        t.check(words in told, f"no {words!r} in: {told}")
    guest.send("sudo poweroff\n")
    guest.ended(0, BOOT)
    check_image(t, image)


def boot_test(t, *arguments, status=0):
    """Runs tools/boot-test; what it prints, and its suite of JUnit's."""
    if not os.access(f"{ROOT}/tools/boot-test", os.X_OK):
        raise Skip("no tools/boot-test")
    report = t.path("report.xml")
    done = subprocess.run([f"{ROOT}/tools/boot-test", "--kite", t.kite, "--logs", t.path("logs"), "--junit", report, *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SLOW + 3 * BOOT + EXIT, check=False)
    t.check(done.returncode == status, f"boot-test's status is {done.returncode}, not {status}: {done.stdout[-600:]}")
    return done.stdout, ElementTree.parse(report).getroot() if status < 2 else None


@case
def cirros_boot_test(t):
    """tools/boot-test with the qcow2: a login, commands, a timeline, JUnit's XML, the console; the image is as before."""
    image = copy(t)
    before = md5(image, os.path.getsize(image))
    said, suite = boot_test(t, image, "--login", "cirros:gocubsgo", "--run", "test $(hostname) = cat", "--run", "echo lost >lost; sync",
                            "--timeout", str(SLOW), "--memory", "256", "--cpus", "2", "--", "-nic", f"user,{metadata(t, 'i-cat')}")
    t.check(said.startswith(f"TAP version 13\n1..1\nok 1 - {image} # "), f"no TAP: {said}")
    timeline = re.findall(r"^#   (\w[\w ]*\w) +([\d.]+) s  \(\+[\d.]+\)$", said, re.M)
    t.equal("stages", [name for name, _ in timeline], STAGES)
    times = [float(seconds) for _, seconds in timeline]
    t.check(times == sorted(times) and times[0] > 0, f"the timeline is {timeline}")
    t.equal("JUnit", (suite.get("tests"), suite.get("failures"), suite[0].get("name")), ("1", "0", image))
    t.equal("its stages", [entry.get("name") for entry in suite.iter("property")], [f"seconds to {name}" for name in STAGES])
    t.check("cat login:" in suite.findtext("testcase/system-out"), "no console in JUnit's XML")
    with open(t.path("logs/cirros.qcow2.log"), encoding="utf-8", errors="replace") as file:
        log = file.read()
    t.check("SeaBIOS" in log and log.endswith("--- boot-test: works\n"), f"the console's log ends {log[-100:]!r}")
    t.equal("the image", md5(image, os.path.getsize(image)), before)


@case
def boot_test_status(t):
    """tools/boot-test's statuses: what comes, what does not, what cannot boot, what is not there; each image by itself."""
    works, dead = boot_sector(t, "DISK"), t.write("dead.raw", b"", 1 << 20)
    said, suite = boot_test(t, works, "--expect", "SeaBIOS", "--expect", r"disk DISK time \d", "--timeout", str(BOOT))
    t.check("\nok 1 - " in said and suite.get("failures") == "0", said)
    said, suite = boot_test(t, dead, works, t.path("missing.raw"), "--expect", "disk DISK", "--timeout", str(BOOT), status=1)
    for line in (f"not ok 1 - {dead}", "the firmware finds nothing that it can boot", f"ok 2 - {works}", "not ok 3 - ", "there is no such file"):
        t.check(line in said, f"no '{line}' in {said}")
    t.equal("failures", (suite.get("failures"), [entry.find("failure") is not None for entry in suite]), ("2", [True, False, True]))
    said, suite = boot_test(t, works, "--expect", "NEVER", "--timeout", "5", status=1)
    t.check("'NEVER' did not come in 5 s" in said, said)
    t.check("NEVER" in suite[0].find("failure").get("message"), "JUnit's XML does not say why")
    pieces = t.write("pieces", b"#!/bin/sh\n[ $1 != -help ] || exit 0\nfor word in 'Welcome to ' 'GRU' 'B!\n' '\\033[HWelcome to \\033[1;12HGRUB!\n' "
                               b"'Linux version 6\n' 'Welcome to Debian\n' 'x login: '; do\nprintf \"$word\"; sleep 0.5; done\nsleep 9\n")
    os.chmod(pieces, 0o755)
    said, suite = boot_test(t, works, "--kite", pieces)
    stages = sorted((float(seconds), name) for name, seconds in re.findall(r"^#   (\w[\w ]*\w) +([\d.]+) s", said, re.M))
    t.equal("the stages of words that come in pieces", [name for _, name in stages], ["boot loader", "kernel", "init", "login"])
    said, _ = boot_test(t, works, "--kite", t.path("no-kite"), status=2)
    t.check("does not start" in said, said)
