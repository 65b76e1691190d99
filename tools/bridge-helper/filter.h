/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_BRIDGE_HELPER_FILTER_H
#define TOOLS_BRIDGE_HELPER_FILTER_H

/*
 * From here on only the system calls that the helper's work is made of; another one ends the process (SIGSYS), before it is made. Needs
 * no_new_privs. 0 or -errno.
 */
int filter_enter(void);

#endif
