# SPDX-License-Identifier: MIT
"""What Debian has to boot: its installer, and its generic kernel with systemd."""
import glob

from guests import SLOW, provided, type_command
from harness import BOOT, case, long_case
from test_cdrom import bootable


ISOLINUX = b"""serial 0 115200
default install
label install
\tkernel linux
\tinitrd initrd.gz
\tappend console=ttyS0 --- quiet
"""


def installer_file(name):
    """A file of the installer's, its path."""
    return found(provided("LAB_INSTALLER", "installer of Debian's"), name)


def found(directory, name):
    """The file called `name` somewhere in it."""
    return glob.glob(f"{directory}/**/{name}", recursive=True)[0]


def content(path):
    """All of a file."""
    with open(path, "rb") as file:
        return file.read()


def installs(t, *options):
    """The installer's first screen, on the serial console, and it takes keys. With less than 780 MiB it would first ask whether that is meant."""
    guest = t.run("-m", "1024", "-nographic", *options, "-drive", f"file={t.write('disk.raw', b'', 1 << 30)},format=raw")
    guest.expect(rb"Select a language", SLOW)
    guest.expect(rb"English")
    guest.send("\r")
    guest.expect(rb"Select your location", BOOT)


@case
def debian_installer(t):
    """Debian's installer as kernel and initrd."""
    installs(t, "-kernel", installer_file("linux"), "-initrd", installer_file("initrd.gz"), "-append", "console=ttyS0 --- quiet")


@long_case
def debian_installer_cd(t):
    """The same from a CD, as Debian makes its own: El Torito, ISOLINUX."""
    files = {name: content(installer_file(name)) for name in ("linux", "initrd.gz")}
    files |= {"ldlinux.c32": content(found(provided("LAB_SYSLINUX", "syslinux-common"), "ldlinux.c32")), "isolinux.cfg": ISOLINUX}
    boot = content(found(provided("LAB_ISOLINUX", "isolinux"), "isolinux.bin"))
    installs(t, "-boot", "d", "-cdrom", bootable(t, "installer", ("isolinux.bin", boot), "-boot-info-table", files=files))


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
