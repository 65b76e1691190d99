# SPDX-License-Identifier: MIT
"""libvirtd and virsh for tests: a daemon whose files are all in a mount namespace of its own."""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

VERBOSE = "-v" in sys.argv
PRIVATE = ("/etc/libvirt", "/run/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")
PATIENCE = int(os.environ.get("PATIENCE", "180"))  # seconds for one thing


class Fail(Exception):
    """Why a step failed, in words."""


def virsh(*args, ok=True):
    p = subprocess.run(["virsh", "-q", "-c", "qemu:///system", *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False, text=True)
    if VERBOSE:
        print(f"$ virsh {' '.join(args)}\n{p.stdout}{p.stderr}")
    if ok and p.returncode != 0:
        raise Fail(f"virsh {' '.join(args)}: {p.stderr.strip()}")
    return p.stdout if ok else p


def expect(regex, *args):
    out = virsh(*args)
    if not re.search(regex, out):
        raise Fail(f"virsh {' '.join(args)}: no {regex} in {out!r}")


class Daemon:
    """libvirtd, which may be stopped and started again."""

    def __init__(self, where):
        self.dir, self.proc = where, None

    def start(self):
        with open(f"{self.dir}/libvirtd.out", "ab") as out:
            self.proc = subprocess.Popen(["libvirtd", "-p", f"{self.dir}/libvirtd.pid"], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        deadline = time.monotonic() + PATIENCE
        while virsh("version", ok=False).returncode != 0:
            if self.proc.poll() is not None or time.monotonic() > deadline:
                with open(f"{self.dir}/libvirtd.out", encoding="utf-8", errors="replace") as f:
                    raise Fail(f"libvirtd: {f.read()[-500:]}")
            time.sleep(0.2)

    def forget_boot(self):
        """The next start is as the first after a start of the host: what is to be started by itself is."""
        marker = "/run/libvirt/qemu/autostarted"
        if os.path.exists(marker):
            os.unlink(marker)

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            self.proc.wait(PATIENCE)


class Console:
    """`virsh console` on a terminal of its own, as a person has it."""

    def __init__(self, name):
        self.text, self.position = b"", 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp("virsh", ["virsh", "-q", "-c", "qemu:///system", "console", "--force", name])

    def expect(self, pattern, seconds=PATIENCE):
        """Waits for bytes; the match."""
        deadline = time.monotonic() + seconds
        while True:
            match = re.compile(pattern).search(self.text, self.position)
            if match:
                self.position = match.end()
                return match
            if time.monotonic() > deadline:
                raise Fail(f"console: no {pattern!r} in {seconds} s, but {self.text[-300:]!r}")
            if not select.select([self.fd], [], [], 1)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                raise Fail(f"console: ended without {pattern!r}: {self.text[-300:]!r}")
            self.text += data
            if VERBOSE:
                sys.stdout.write(data.decode(errors="replace"))

    def send(self, text):
        os.write(self.fd, text.encode())

    def poke(self, text, pattern, seconds=PATIENCE):
        """Sends `text` again and again until there is `pattern`: what comes before virsh has the console is lost."""
        deadline = time.monotonic() + seconds
        while True:
            self.send(text)
            try:
                return self.expect(pattern, 5)
            except Fail:
                if time.monotonic() > deadline:
                    raise

    def quiet_shell(self):
        """Makes the guest's shell one that tests can talk to."""
        self.poke("\nstty -echo; PS1=; echo he''re\n", rb"here\r?\n")

    def ask(self, command, seconds=PATIENCE):
        """What a command prints in the guest's shell, in one line. The shell's echo of the command has other marks."""
        self.send(f"echo \"<$({{ {command}; }} 2>&1 | tr '\\r\\n' '  ')>\"\n")
        return self.expect(rb"<([^>$][^>]*|)>", seconds)[1].decode(errors="replace").strip()

    def close(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def hide_libvirt():
    """Empty directories in the place of this machine's, for this process alone. Nothing is written where they would be anybody else's."""
    outside = f"/proc/{os.getppid()}"
    if os.readlink("/proc/self/ns/mnt") == os.readlink(f"{outside}/ns/mnt"):
        raise Fail("no mount namespace of its own: it would write to this machine's /etc")
    for d in PRIVATE:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", d], check=True)
        if os.stat(d).st_dev == os.stat(f"{outside}/root{d}").st_dev:
            subprocess.run(["umount", d], check=False)
            raise Fail(f"a mount at {d} shows outside of its namespace")


def run_outside(unshare):
    """Runs this program again in the namespaces that a command makes, as --inside; its status. Nothing stays of it."""
    made = [d for d in PRIVATE if not os.path.exists(d)]
    for d in made:
        os.makedirs(d)
    try:
        return subprocess.run([*unshare, sys.executable, sys.argv[0], "--inside", *sys.argv[1:]], check=False).returncode
    finally:
        for d in made:
            os.rmdir(d)


def run_steps(steps, conf, domains, label, each=True):
    """In a mount namespace with nothing of another libvirtd: each step is called with a directory and the daemon; not `each`: up to the
    first that fails. The exit status."""
    try:
        hide_libvirt()
    except Fail as e:
        print(f"not ok {label}: {e}\n{label}: 0 passed, 1 failed")
        return 1
    with open("/etc/libvirt/qemu.conf", "w", encoding="utf-8") as f:
        f.write(conf)
    where = tempfile.mkdtemp(prefix="kite-libvirt-", dir="/var/tmp")
    os.chmod(where, 0o755)
    daemon, failed, passed = Daemon(where), 0, 0
    try:
        daemon.start()
        for step in steps:
            start = time.monotonic()
            try:
                step(where, daemon)
                passed += 1
                print(f"ok {label}_{step.__name__[5:]} ({time.monotonic() - start:.1f} s)", flush=True)
            except (Fail, OSError, subprocess.SubprocessError) as e:
                failed += 1
                print(f"not ok {label}_{step.__name__[5:]}: {e} ({time.monotonic() - start:.1f} s)", flush=True)
                if not each:
                    break
    except (Fail, OSError, subprocess.SubprocessError) as e:
        failed += 1
        print(f"not ok {label}: {e}", flush=True)
    finally:
        for name in domains:
            virsh("destroy", name, ok=False)
            log = f"/var/log/libvirt/qemu/{name}.log"
            if failed and os.path.exists(log):
                with open(log, encoding="utf-8", errors="replace") as f:
                    print(f"-- the end of {name}'s log:\n{f.read()[-2500:]}")
        daemon.stop()
        shutil.rmtree(where, ignore_errors=True)
    print(f"{label}: {passed} passed, {failed} failed")
    return 1 if failed else 0


def reason_not_to_run():
    if os.geteuid() != 0:
        return "needs root"
    for program, package in (("libvirtd", "libvirt-daemon-system"), ("virsh", "libvirt-clients")):
        if not shutil.which(program):
            return f"no {program}: install {package}"
    return None if os.access("/dev/kvm", os.R_OK | os.W_OK) else "no /dev/kvm"
