# SPDX-License-Identifier: MIT
"""libvirt runs Linux with Kite: tests/libvirt/linux, which does it all with the real daemon."""
import os
import shutil
import subprocess

from guests import ROOT, cirros
from harness import STEP, Skip, case


@case
def libvirt_cirros(t):
    for program in ("libvirtd", "virsh", "iptables", "dnsmasq"):
        if not shutil.which(program):
            raise Skip(f"no {program}: tools/deps test lab")
    if os.getuid() != 0:
        raise Skip("only root can run libvirtd")
    image = cirros()
    kernel = shutil.copy(f"{t.cloud}/vmlinux", t.dir)
    t.share()  # libvirt-qemu shall be able to read it all
    said = []
    with subprocess.Popen([f"{ROOT}/tests/libvirt/linux", kernel, t.initramfs, image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "KITE": t.kite, "PATIENCE": str(3 * STEP)}, text=True, errors="replace") as steps:
        for line in steps.stdout:
            print("   ", line, end="", flush=True)
            said.append(line)
    t.check(steps.returncode == 0, "; ".join(line.strip() for line in said if line.startswith("not ok")) or "".join(said[-3:]))
