# SPDX-License-Identifier: MIT
"""What Debian has to boot: its installer, and its generic kernel with systemd."""
import glob

from guests import SLOW, provided, type_command
from harness import BOOT, case, long_case


@case
def debian_installer(t):
    """The installer's kernel and its initrd: the first screen, on the serial console, and it takes keys. With less than 780 MiB it would first ask
    whether that is meant."""
    place = provided("LAB_INSTALLER", "installer of Debian's")
    kernel, initrd = (glob.glob(f"{place}/**/{name}", recursive=True)[0] for name in ("linux", "initrd.gz"))
    guest = t.run("-m", "1024", "-nographic", "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 --- quiet", "-drive",
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
    guest.expect(rb":~# ", BOOT)
    guest.send("exec sh\n")  # which does not edit lines, and so writes no escapes between what is typed and what is printed
    guest.expect(rb"\r# ", BOOT)
    told = type_command(guest, "systemctl is-system-running --wait; systemd-detect-virt", SLOW).split()
    t.equal("systemd's state, and what it takes the machine for", told, ["running", "kvm"])
    guest.send("systemctl poweroff\n")
    guest.ended(0, SLOW)
