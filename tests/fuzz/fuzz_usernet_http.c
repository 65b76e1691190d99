/* SPDX-License-Identifier: MIT */
/* A request to the metadata service. Whatever is taken must be within its bounds, and only with its whole head there. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tools/user-net/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_request req, again;
	int rc = http_parse((const char *)data, size, &req);

	if (rc > (int)size || (rc < 0 && (rc > -400 || rc < -599)) || (rc == 0 && size >= HTTP_HEAD_MAX))
		abort();
	if (rc <= 0)
		return 0;
	if (req.path[0] != '/' || !memchr(req.path, 0, HTTP_PATH_MAX) || !memchr(req.token, 0, sizeof(req.token)))
		abort();
	if (rc < 4 || memcmp(data + rc - 2, "\r\n", 2) != 0)
		abort();
	/* A head is the same whatever follows, and none without its end. */
	if (http_parse((const char *)data, (size_t)rc, &again) != rc || http_parse((const char *)data, (size_t)rc - 1, &again) != 0)
		abort();
	return 0;
}
