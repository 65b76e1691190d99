/* SPDX-License-Identifier: MIT */
#include "blk/filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/err.h"
#include "vmm/util.h"

int filter_init(struct filter *f, const struct blockdev_ops *ops, struct blockdev *below, struct err *err)
{
	*f = (struct filter){ .below = below };
	f->bd = (struct blockdev){
		.ops = ops,
		.name = strdup(below->name),
		.loop = below->loop,
		.size = below->size,
		.request_align = below->request_align,
		.physical_block = below->physical_block,
		.max_transfer = below->max_transfer,
		.read_only = below->read_only,
		.discard = below->discard,
		.write_zeroes = below->write_zeroes,
		.write_cache = below->write_cache,
	};
	return f->bd.name ? 0 : err_set_errno(err, -ENOMEM, "%s", below->name);
}

void filter_fini(struct filter *f)
{
	struct filter_sub *sub;

	while ((sub = f->free)) {
		f->free = sub->next;
		free(sub);
	}
	blockdev_close(f->below);
}

struct filter_sub *filter_sub_get(struct filter *f, struct blk_req *req)
{
	struct filter_sub *sub = f->free;

	if (sub)
		f->free = sub->next;
	else
		sub = malloc(sizeof(*sub));
	if (!sub)
		return NULL;
	*sub = (struct filter_sub){ .filter = f, .user = req };
	sub->req.op = req->op;
	sub->req.flags = req->flags;
	sub->req.off = req->off;
	sub->req.len = req->len;
	sub->req.iov = req->iov;
	sub->req.n = req->n;
	sub->req.status = req->status;
	return sub;
}

void filter_sub_put(struct filter_sub *sub)
{
	sub->next = sub->filter->free;
	sub->filter->free = sub;
}

static void forward_done(struct blk_req *below, int result)
{
	struct filter_sub *sub = CONTAINER_OF(below, struct filter_sub, req);
	struct filter *f = sub->filter;
	struct blk_req *user = sub->user;

	filter_sub_put(sub);
	blockdev_complete(&f->bd, user, result);
}

void filter_forward(struct filter *f, struct blk_req *req)
{
	struct filter_sub *sub = filter_sub_get(f, req);

	if (!sub) {
		blockdev_complete(&f->bd, req, -ENOMEM);
		return;
	}
	sub->req.done = forward_done;
	blockdev_submit(f->below, &sub->req);
}

int filter_resize(struct blockdev *bd, uint64_t size)
{
	return blockdev_resize(CONTAINER_OF(bd, struct filter, bd)->below, size);
}
