/* SPDX-License-Identifier: MIT */
/* -netdev user. What addresses and rules mean is the helper program's to say; here they are only kept. */
#include <errno.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"

#define TEXT_MAX 1023 /* of one property */
#define RULES_MAX 256 /* of a kind */

static const char why_smb[] = "Kite has no SMB server; share a directory over NFS or SFTP, or forward to a server with guestfwd=";
static const char *const nothing[] = { NULL };

#define ROW(k, t, f, ...) { .key = k, .type = t, .offset = offsetof(struct config_user_net, f), ##__VA_ARGS__ }
#define TEXT(k, f) ROW(k, PROP_STRING, f, .min = 1, .max = TEXT_MAX)
#define REFUSED(k, w) { .key = k, .type = PROP_FIXED, .names = nothing, .why = w }

static const struct prop_row user_rows[] = {
	TEXT("net", net),
	TEXT("host", host),
	TEXT("dns", dns),
	TEXT("dhcpstart", dhcpstart),
	TEXT("hostname", hostname),
	TEXT("domainname", domainname),
	ROW("dnssearch", PROP_STRINGS, dnssearch),
	ROW("restrict", PROP_BOOL, restrict_host),
	ROW("hostfwd", PROP_STRINGS, hostfwd),
	ROW("guestfwd", PROP_STRINGS, guestfwd),
	TEXT("tftp", tftp),
	TEXT("bootfile", bootfile),
	TEXT("tftp-server-name", tftp_server_name),
	ROW("ipv4", PROP_BOOL, ipv4),
	ROW("ipv6", PROP_BOOL, ipv6),
	TEXT("ipv6-net", ipv6_net),
	TEXT("ipv6-host", ipv6_host),
	TEXT("ipv6-dns", ipv6_dns),
	TEXT("metadata", metadata),
	TEXT("helper", helper),
	REFUSED("smb", why_smb),
	REFUSED("smbserver", why_smb),
	{ .key = NULL },
};
static const struct prop_table user_props = { .rows = user_rows };

static int check_strings(const struct strv *s, const char *key, const struct prop_ctx *ctx)
{
	if (s->n > RULES_MAX)
		return err_set(ctx->err, -E2BIG, "%s: property '%s': given more than %d times", ctx->what, key, RULES_MAX);
	for (size_t i = 0; i < s->n; i++)
		if (!s->v[i][0])
			return err_set(ctx->err, -EINVAL, "%s: property '%s': may not be empty", ctx->what, key);
	return 0;
}

int cli_netdev_user(struct config_netdev *netdev, const struct prop_list *l, const struct prop_ctx *ctx)
{
	struct config_user_net *user = &netdev->user;

	netdev->type = CONFIG_NETDEV_USER;
	user->ipv4 = user->ipv6 = true;
	if (props_apply(l, &user_props, user, ctx) < 0)
		return ctx->err->code;
	if (!user->ipv4 && !user->ipv6)
		return err_set(ctx->err, -EINVAL, "%s: ipv4=off and ipv6=off leave nothing; give one of them", ctx->what);
	if (check_strings(&user->dnssearch, "dnssearch", ctx) < 0 || check_strings(&user->hostfwd, "hostfwd", ctx) < 0)
		return ctx->err->code;
	return check_strings(&user->guestfwd, "guestfwd", ctx);
}
