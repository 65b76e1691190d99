# SPDX-License-Identifier: MIT
"""What a bridge helper says to users: run in network and mount namespaces of its own (unshare -n -m), with a copy of the helper that is setuid
root. An argument is "RULE BRIDGE": a line for /etc/kite/bridge.conf, and the bridge that user 65534 asks for. Prints for each the helper's status, what
it says, and the interface that came, with its bridge's.

  bridge_users.py HELPER DIRECTORY RULE-BRIDGE...
"""
import array
import os
import shutil
import socket
import subprocess
import sys

NOBODY = 65534


def ask(helper, bridge):
    """One request: a line."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    done = subprocess.Popen([helper, "--use-vnet", f"--br={bridge}", f"--fd={theirs.fileno()}"], pass_fds=[theirs.fileno()], user=NOBODY,
                            group=NOBODY, extra_groups=[], stderr=subprocess.PIPE, text=True)
    theirs.close()
    _, control, _, _ = ours.recvmsg(1, 100)
    said = done.communicate()[1].strip()
    ports = subprocess.run(["bridge", "link"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    for _, _, data in control:
        os.close(array.array("i", data)[0])
    left = subprocess.run(["bridge", "link"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return f"{done.returncode} {len(control)} {said} [{ports}] [{left}]"


def main():
    helper, directory = f"{sys.argv[2]}/helper", sys.argv[2]
    shutil.copy(sys.argv[1], helper)
    os.chmod(helper, 0o4755)
    for command in ("mount -t tmpfs t /mnt", "mkdir /mnt/u /mnt/w", "mount -t overlay o -o lowerdir=/etc,upperdir=/mnt/u,workdir=/mnt/w /etc",
                    "mkdir -p /etc/kite", "ip link add br0 type bridge", "ip link set br0 mtu 1400 up", f"mount -o remount,suid {directory}"):
        status = subprocess.run(command, shell=True, stderr=subprocess.DEVNULL, check=False).returncode
        if status and not command.startswith("mount -o"):
            sys.exit(f"{command}: {status}")
    for case in sys.argv[3:]:
        rule, _, bridge = case.rpartition(" ")
        with open("/etc/kite/bridge.conf", "w", encoding="ascii") as file:
            file.write(rule + "\n")
        print(ask(helper, bridge), flush=True)


main()
