# SPDX-License-Identifier: MIT
"""What tests boot: CirrOS, boot sectors of our own, and what Debian has packages of. And how they talk to CirrOS."""
import http.client
import os
import shutil
import subprocess
import sys
import time
import urllib.request

from harness import STEP, Skip

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CIRROS = "cirros-0.5.3-x86_64.qcow2"
SLOW = 1800  # CirrOS through its own boot loader, of which a busy machine makes minutes
URL = "https://download.cirros-cloud.net/0.5.3/cirros-0.5.3-x86_64-disk.img"


def script(*command):
    """What a script of this directory prints: a path. None when it fails, and then it says why."""
    done = subprocess.run([os.path.join(HERE, command[0]), *command[1:]], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


# What only some tests need: a word in their names, the variable that says where it is (empty: nowhere), and what gets it.
NEEDS = (
    ("cirros", "LAB_GUESTS", lambda: find()),  # pylint: disable=unnecessary-lambda  # it comes later
    ("memtest", "LAB_MEMTEST", lambda: script("package", "memtest86+", "boot/memtest86+x64.bin")),
    ("installer", "LAB_INSTALLER", lambda: script("package", "debian-installer-12-netboot-amd64", "*/text/debian-installer/amd64/linux",
                                                  "*/text/debian-installer/amd64/initrd.gz")),
    ("installer_cd", "LAB_ISOLINUX", lambda: script("package", "isolinux", "usr/lib/ISOLINUX/isolinux.bin")),
    ("installer_cd", "LAB_SYSLINUX", lambda: script("package", "syslinux-common", "usr/lib/syslinux/modules/bios/ldlinux.c32")),
    ("debian_systemd", "LAB_DEBIAN", lambda: script("debian-root")),
)


def provide(names):
    """Gets what the tests called `names` need, where nobody has; os.environ says then where it is, to labs as well."""
    for word, variable, get in NEEDS:
        if variable not in os.environ and any(word in name for name in names):
            os.environ[variable] = get() or ""


def provided(variable, what):
    """Where something of NEEDS is."""
    if not os.environ.get(variable):
        raise Skip(f"no {what}: it could not be fetched or made")
    return os.environ[variable]


def find():
    """Where guests' images are: $KITE_GUESTS, else shared/guests beside the sources, else what CirrOS's own site has, which is kept. Says which; None
    without any."""
    kept = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "kite-guests")
    for place in (os.environ.get("KITE_GUESTS"), os.path.join(os.path.dirname(ROOT), "shared", "guests"), kept):
        if place and os.path.exists(os.path.join(place, CIRROS)):
            print(f"run: guests' images are those in {place}", file=sys.stderr)
            return place
    os.makedirs(kept, exist_ok=True)
    image = os.path.join(kept, CIRROS)
    for left in range(4, -1, -1):
        try:
            with urllib.request.urlopen(URL, timeout=60) as source, open(f"{image}.part", "wb") as target:
                shutil.copyfileobj(source, target)
                if target.tell() != int(source.headers.get("Content-Length", target.tell())):
                    raise OSError("it ends before its end")
            break
        except (OSError, http.client.HTTPException) as error:
            if not left:
                print(f"run: no guests' images: {URL}: {error}", file=sys.stderr)
                return None
            time.sleep(5)
    os.replace(f"{image}.part", image)
    print(f"run: guests' images are those of {URL}", file=sys.stderr)
    return kept


def cirros():
    """The CirrOS image."""
    image = os.path.join(os.environ.get("LAB_GUESTS", ""), CIRROS)
    if not os.path.exists(image):
        raise Skip(f"no {CIRROS}: put it, or what {URL} has, into a directory and name that in KITE_GUESTS")
    return image


def cirros_raw(t):
    """A raw copy of it in the test's directory."""
    if not shutil.which("qemu-img"):
        raise Skip("no qemu-img: install qemu-utils")
    t.host("qemu-img", "convert", "-O", "raw", cirros(), t.path("cirros.raw"))
    return t.path("cirros.raw")


def disk(path, *more):
    """-drive of a raw image."""
    return ("-drive", ",".join((f"file={path},format=raw", *more)))


def log_in(guest, host="cirros", seconds=SLOW):
    """Waits for CirrOS's prompt, and logs in at it."""
    guest.expect(rb"%s login:" % host.encode(), seconds)
    guest.send("cirros\n")
    guest.expect(rb"assword:")
    guest.send("gocubsgo\n")
    guest.expect(rb"\$ ")


def type_command(guest, command, seconds=STEP):
    """A line in CirrOS's shell; what it prints."""
    guest.send(f"echo sta''rt; {command}; echo do''ne\n")
    return guest.expect(rb"\nstart\r?\n((?:.*\n)*?)done", seconds)[1].decode(errors="replace").replace("\r", "")


def metadata(t, name="i-kite-1", **files):
    """A directory for `metadata=`: an instance of that name, and what else there is in it, {name: bytes}. The option's value."""
    directory = t.path("metadata")
    os.makedirs(f"{directory}/meta-data")
    for file, text in {"instance-id": name, "hostname": f"{name[2:]}.kite.test", "local-hostname": f"{name[2:]}.kite.test"}.items():
        with open(f"{directory}/meta-data/{file}", "w", encoding="ascii") as out:
            out.write(text)
    for file, data in files.items():
        os.makedirs(os.path.dirname(f"{directory}/{file}"), exist_ok=True)
        with open(f"{directory}/{file}", "wb") as out:
            out.write(data)
    return f"metadata={directory}"


def boot_code(t, name):
    """bootsector.S, 512 bytes, called `name` (four letters)."""
    code = t.path("bootsector")
    if not os.path.exists(code):
        for command in (["as", "--32", "-o", f"{code}.o", f"{HERE}/bootsector.S"],
                        ["ld", "-m", "elf_i386", "--oformat", "binary", "-Ttext", "0x7c00", "-o", code, f"{code}.o"]):
            subprocess.run(command, check=True)
    with open(code, "rb") as file:
        return file.read().replace(b"NAME", name.encode())


def boot_sector(t, name, second=b"", size=1 << 20):
    """A disk with it, and `second` in its second sector."""
    return t.write(f"{name}.raw", boot_code(t, name) + second.ljust(512, b"\0"), size)
