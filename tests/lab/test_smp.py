# SPDX-License-Identifier: MIT
"""Every vCPU comes up, with the topology that was asked for. (One vCPU: test_boot.)"""
from harness import case


@case
def smp_2(t):
    guest = t.guest("-smp", "2", do="poweroff", facts=True)
    facts = guest.facts()
    t.equal("CPUs", (facts["cpus"], facts["online"]), ("2", "0-1"))
    guest.ended(0)


@case
def smp_8(t):
    guest = t.guest("-smp", "8,sockets=2,cores=2,threads=2", do="poweroff", memory=512, facts=True)
    facts = guest.facts()
    t.equal("CPUs", (facts["cpus"], facts["online"]), ("8", "0-7"))
    t.equal("sockets", facts["sockets"], "2")
    # Without TOPOEXT, which KVM does not offer in the lab, Linux on an AMD CPU takes threads for cores.
    t.equal("cores", facts["cores"], "4" if facts["threads"] != "0" else "8")
    guest.ended(0)
