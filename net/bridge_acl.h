/* SPDX-License-Identifier: MIT */
/*
 * Who may put a tap on which bridge: the files of kite-bridge-helper, in the format of qemu-bridge-helper. A line is `allow BRIDGE`, `deny
 * BRIDGE` or `include FILE`; `all` is every bridge; '#' starts a comment. A bridge is allowed if some line allows it and none denies it, in
 * whatever order.
 *
 * An included file that the caller cannot read is left out: so a file that only a group can read is that group's list. A file that anybody but
 * root can write to is refused, since it decides about a privilege of root's.
 *
 * Standard C library only: it is part of a setuid program.
 */
#ifndef NET_BRIDGE_ACL_H
#define NET_BRIDGE_ACL_H

#include <stdbool.h>
#include <stddef.h>

#define BRIDGE_ACL_DEPTH 8  /* of files that include others */
#define BRIDGE_ACL_FILES 64 /* in all */

struct bridge_acl {
	const char *bridge;      /* the one in question */
	bool allowed, denied;
	unsigned files;
	char why[256];           /* after a failure: one line for a person */
};

/*
 * Reads a file. 0; -ENOENT when it does not exist; another -errno with `why` for what cannot be relied on: unreadable, writable by others,
 * malformed, too many. `owner` is who may have written it: 0.
 */
int bridge_acl_read(struct bridge_acl *acl, const char *path, unsigned owner);

/* A name that an interface can have, and nothing that means something else anywhere. */
bool bridge_acl_name_ok(const char *name);

#endif
