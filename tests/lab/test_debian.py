# SPDX-License-Identifier: MIT
"""What Debian has to boot: its installer, and its generic kernel with systemd."""
import glob

from guests import SLOW, provided, type_command
from harness import BOOT, STEP, long_case


@long_case
def debian_installer(t):
    """The installer's kernel and its initrd: the first screen, on the serial console, and it takes keys."""
    place = provided("LAB_INSTALLER", "installer of Debian's")
    kernel, initrd = (glob.glob(f"{place}/**/{name}", recursive=True)[0] for name in ("linux", "initrd.gz"))
    guest = t.run("-m", "768", "-nographic", "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 --- quiet", "-drive",
                  f"file={t.write('disk.raw', b'', 1 << 30)},format=raw")
    guest.expect(rb"Select a language", SLOW)
    guest.expect(rb"English")
    guest.send("\r")
    guest.expect(rb"Select your location", BOOT)


@long_case
def debian_systemd(t):
    """The generic kernel, and systemd from a disk: every unit starts, a login works; power-off is status 0."""
    root = provided("LAB_DEBIAN", "Debian root file system")
    guest = t.run(*t.linux("switch", "kite.modules=virtio,tools", f"{t.generic}/vmlinuz", 512, tools=True), "-nographic",
                  "-drive", f"file={root},format=raw,snapshot=on")
    guest.expect(rb"kite-debian login: ", SLOW)
    guest.send("root\n")
    guest.expect(rb"Password: ", BOOT)
    guest.send("kite\n")
    guest.expect(rb"# ", BOOT)
    guest.send("stty -echo; bind 'set enable-bracketed-paste off'; PS1=; TERM=dumb\n")
    t.equal("systemd's state", type_command(guest, "systemctl is-system-running --wait", SLOW).strip(), "running")
    t.equal("systemd on the machine", type_command(guest, "systemd-detect-virt", STEP).strip(), "kvm")
    guest.send("systemctl poweroff\n")
    guest.ended(0, SLOW)
