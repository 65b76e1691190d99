# SPDX-License-Identifier: MIT
"""What cannot work is refused: one line that begins `kite: ` and names the thing, status 1, and nothing left behind.

The expected texts are loose on purpose: the words may improve, the thing at fault has to be in them.
"""
import os
import re
import shutil
import socket

from harness import EXIT, Skip, add_case, case


def refused(t, guest, pattern):
    """It ended with status 1, and its one line matches."""
    guest.ended(1)
    lines = guest.stderr().splitlines()
    t.equal("lines on stderr", len(lines), 1)
    t.check(lines[0].startswith("kite: "), f"the line does not begin with kite: {lines[0]}")
    t.check(re.search(pattern, lines[0], re.I), f"no {pattern!r} in: {lines[0]}")
    t.check(b"GUEST-INIT" not in guest.console, "a guest ran")


# Name, options (None: those of a guest that would run), pattern.
OPTIONS = (
    ("unknown_option", "-nosuch", r"nosuch"),
    ("unknown_option_near", "-kernl x", r"kernl.*-kernel"),
    ("missing_value", "-m", r"-m"),
    ("unknown_property", "-smp 2,bananas=3", r"bananas"),
    ("unknown_machine", "-machine z80", r"z80"),
    ("unknown_machine_property", "-machine pc,bananas=on", r"bananas"),
    ("unknown_cpu", "-cpu z80", r"z80"),
    ("unknown_cpu_feature", "-cpu host,+bananas", r"bananas"),
    ("unknown_accel", "-accel tcg", r"tcg"),
    ("unknown_device", "-device bananas", r"bananas"),
    ("unknown_device_property", "-device isa-debug-exit,bananas=1", r"bananas"),
    ("unknown_serial", "-serial bananas", r"bananas"),
    ("unknown_serial_property", "-serial unix:/tmp/x,bananas=on", r"bananas"),
    ("bad_json", '-device {"driver":', r"json|driver"),
    ("bad_json_type", '-device {"driver":"isa-debug-exit","iobase":"x"}', r"iobase"),
    ("wrong_type_memory", "-m lots", r"lots"),
    ("wrong_type_smp", "-smp two", r"two"),
    ("wrong_type_bool", "-serial unix:/tmp/x,server=maybe", r"server|maybe"),
    ("wrong_type_uuid", "-uuid 12345", r"uuid"),
    ("range_smp_0", "-smp 0", r"smp|cpus"),
    ("range_smp_65", "-smp 65", r"64"),
    ("range_smp_topology", "-smp 8,sockets=2,cores=2,threads=1", r"sockets|topology|cores"),
    ("range_memory_small", "-m 1", r"64"),
    ("range_memory_huge", "-m 100T", r"100T|memory|-m"),
    ("range_memory_overflow", "-m 99999999999999999999", r"memory|-m|size"),
    ("range_port", "-device isa-debug-exit,iobase=0x10000", r"iobase"),
    ("too_many_serials", "-serial null -serial null -serial null -serial null -serial null", r"serial"),
    ("file_serial", "-serial file:/nonexistent/console", r"/nonexistent/console"),
    ("socket_client", "-serial unix:/nonexistent/sock", r"/nonexistent/sock"),
    ("socket_name_long", f"-serial unix:/tmp/{'x' * 200},server=on,wait=off", r"long|108|107"),
    ("no_kernel", "-machine microvm", r"kernel"),
)


def refuses_options(t, name, options, pattern):
    """Options that make no machine."""
    console = () if "-serial" in options or name == "no_kernel" else ("-serial", "null")
    linux = () if name == "no_kernel" else t.linux()
    # One argument where a value has spaces of its own: JSON.
    words = options.split(" ", 1) if "{" in options else options.split()
    refused(t, t.run(*linux, *console, *words), pattern)


for row in OPTIONS:
    add_case(f"error_{row[0]}", lambda t, row=row: refuses_options(t, *row))


def refuses_kernel(t, path, pattern, *more):
    """A kernel file that is none."""
    refused(t, t.guest(*more, kernel=path, console="-serial null"), pattern)


def head(path, size):
    """The first bytes of a file."""
    with open(path, "rb") as file:
        return file.read(size)


@case
def error_kernel_missing(t):
    refuses_kernel(t, "/nonexistent/kernel", r"/nonexistent/kernel.*no such file")


@case
def error_kernel_directory(t):
    refuses_kernel(t, t.dir, re.escape(t.dir))


@case
def error_kernel_fifo(t):
    """Must not wait for a writer."""
    os.mkfifo(t.path("fifo"))
    refuses_kernel(t, t.path("fifo"), r"fifo")


@case
def error_kernel_empty(t):
    refuses_kernel(t, t.write("kernel", b""), r"kernel")


@case
def error_kernel_text(t):
    refuses_kernel(t, t.write("kernel", b"This is no kernel.\n" * 1000), r"kernel")


@case
def error_kernel_cut_setup(t):
    refuses_kernel(t, t.write("kernel", head(f"{t.cloud}/vmlinuz", 1024)), r"kernel")


@case
def error_kernel_cut_payload(t):
    refuses_kernel(t, t.write("kernel", head(f"{t.cloud}/vmlinuz", 1 << 20)), r"kernel.*(truncated|short|end)")


@case
def error_kernel_cut_elf(t):
    refuses_kernel(t, t.write("kernel", head(f"{t.cloud}/vmlinux", 1 << 20)), r"kernel.*(truncated|short|end)")


@case
def error_kernel_bad_payload(t):
    """The compressed kernel is damaged in its middle."""
    data = bytearray(head(f"{t.generic}/vmlinuz", 1 << 30))
    data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)
    refuses_kernel(t, t.write("kernel", data), r"kernel")


@case
def error_kernel_unreadable(t):
    path = t.write("kernel", b"x")
    os.chmod(path, 0)
    t.share()
    refused(t, t.guest(kernel=path, console="-serial null", wrap=nobody()), r"kernel.*permission")


@case
def error_initrd_missing(t):
    refused(t, t.run(*t.linux(), "-serial", "null", "-initrd", "/nonexistent/initrd"), r"/nonexistent/initrd.*no such file")


@case
def error_initrd_too_big(t):
    path = t.write("initrd", b"", 512 << 20)
    refused(t, t.run(*t.linux(), "-serial", "null", "-initrd", path), r"initrd.*(memory|-m|fit)")


@case
def error_initrd_alone(t):
    refused(t, t.run("-serial", "null", "-initrd", t.initramfs), r"-initrd|-kernel")


@case
def error_append_too_long(t):
    refused(t, t.guest(append="x" * 3000, console="-serial null"), r"command line|-append")


@case
def error_memory_too_small(t):
    """The kernel unpacked is larger than the memory."""
    path = t.write("initrd", b"", 50 << 20)
    refused(t, t.run(*t.linux(memory=64), "-serial", "null", "-initrd", path), r"memory|-m|fit")


@case
def error_memory_beyond_the_host(t):
    """More memory than the host can map."""
    refused(t, t.run(*t.linux(memory="3T"), "-serial", "null"), r"cannot map .* of guest memory.*lower -m")


@case
def error_terminal_untouched(t):
    """The terminal is as it was when the last step of the start fails."""
    guest = t.guest(kernel="/nonexistent/kernel", console="-nographic", tty=True)
    guest.ended(1)


@case
def error_socket_not_left(t):
    """A socket made before the start failed is removed; one of somebody else's stays."""
    path = t.path("console.sock")
    refuses_kernel(t, t.write("kernel", b"x" * 4096), r"kernel", "-serial", f"unix:{path},server=on,wait=off")
    t.check(not os.path.exists(path), "the socket file is still there")


@case
def error_socket_path_is_a_file(t):
    """A socket's name that is a file of the user's is never removed."""
    path = t.write("precious", b"data")
    refused(t, t.guest(console=f"-serial unix:{path},server=on,wait=off"), r"precious")
    with open(path, "rb") as file:
        t.equal("the file", file.read(), b"data")


@case
def error_socket_in_use(t):
    """Another program listens there."""
    path = t.path("busy.sock")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        refused(t, t.guest(console=f"-serial unix:{path},server=on,wait=off"), r"busy\.sock.*(in use|exists|stop it)")
        t.check(os.path.exists(path), "the other's socket is gone")


def nobody():
    """The command that runs another as a user without rights."""
    if os.geteuid() != 0:
        raise Skip("only root can become another user")
    if not shutil.which("setpriv"):
        raise Skip("no setpriv")
    return ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def with_dev(script, *inner):
    """The command that runs another with a /dev of its own, as `script` makes it, where there is no /dev/kvm at first."""
    if os.geteuid() != 0:
        raise Skip("only root can make another /dev")
    setup = f'mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && {script} && exec "$@"'
    return ("unshare", "-m", "sh", "-c", setup, "sh", *inner)


@case
def error_no_kvm(t):
    refused(t, t.guest(console="-serial null", wrap=with_dev("true")), r"/dev/kvm.*(no such file|not there)")


@case
def error_kvm_permission(t):
    t.share()
    wrap = with_dev("mknod -m 600 /dev/kvm c 10 232", *nobody())
    refused(t, t.guest(console="-serial null", wrap=wrap), r"/dev/kvm.*permission|permission.*/dev/kvm")


@case
def error_kvm_is_not(t):
    """/dev/kvm is some other device."""
    refused(t, t.guest(console="-serial null", wrap=with_dev("mknod -m 666 /dev/kvm c 1 3")), r"/dev/kvm")


@case
def info_options(t):
    """-version, -help and -machine help print to stdout, with status 0 and no /dev/kvm."""
    for option, pattern in ((("-version",), rb"\d+\.\d+"), (("-help",), rb"-kernel"), (("-machine", "help"), rb"\bpc\b")):
        guest = t.run(*option)
        t.equal(f"status of {' '.join(option)}", guest.wait(EXIT), 0)
        guest.expect(pattern)
        t.equal("stderr", guest.stderr(), "")
