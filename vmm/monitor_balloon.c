/* SPDX-License-Identifier: MIT */
/* The balloon's commands and event (QEMU's qapi/machine.json). The event comes at most once a second, with the last value at the end. */
#include <errno.h>
#include <string.h>

#include "hw/devices.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/monitor_priv.h"
#include "vmm/util.h"

#define EVENT_NS NS_PER_SEC

static const char property_stats[] = "guest-stats", property_interval[] = "guest-stats-polling-interval";

static struct virtio_dev *balloon_of(const struct monitor *m, struct err *err)
{
	if (!m->launch->virtio.balloon)
		err_set(err, -ENXIO, "there is no balloon; start with -device virtio-balloon");
	return m->launch->virtio.balloon;
}

static json_int_t size_now(const struct monitor *m)
{
	uint64_t ram = m->launch->cfg->ram_size, held = virtio_balloon_held(m->launch->virtio.balloon);

	return (json_int_t)(held < ram ? ram - held : 0); /* what it holds is the guest's word */
}

static int balloon(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct monitor *m = monitor_of(call);
	struct virtio_dev *dev = balloon_of(m, err);
	json_int_t value = json_integer_value(json_object_get(args, "value"));
	uint64_t ram = m->launch->cfg->ram_size;

	(void)ret;
	if (!dev)
		return err->code;
	if (value <= 0)
		return err_set(err, -EINVAL, "Parameter 'value' expects a size in bytes, larger than 0");
	virtio_balloon_set_target(dev, ram - min_u64((uint64_t)value, ram));
	return 0;
}

static int query_balloon(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct monitor *m = monitor_of(call);

	(void)args;
	return balloon_of(m, err) ? monitor_give(json_pack("{s:I}", "actual", size_now(m)), ret, err) : err->code;
}

static json_t *guest_stats(struct virtio_dev *dev)
{
	static const char *const names[] = {
		[VIRTIO_BALLOON_SWAP_IN] = "stat-swap-in",
		[VIRTIO_BALLOON_SWAP_OUT] = "stat-swap-out",
		[VIRTIO_BALLOON_MAJOR_FAULTS] = "stat-major-faults",
		[VIRTIO_BALLOON_MINOR_FAULTS] = "stat-minor-faults",
		[VIRTIO_BALLOON_FREE] = "stat-free-memory",
		[VIRTIO_BALLOON_TOTAL] = "stat-total-memory",
		[VIRTIO_BALLOON_AVAILABLE] = "stat-available-memory",
		[VIRTIO_BALLOON_CACHES] = "stat-disk-caches",
		[VIRTIO_BALLOON_HTLB_ALLOCS] = "stat-htlb-pgalloc",
		[VIRTIO_BALLOON_HTLB_FAILURES] = "stat-htlb-pgfail",
	};
	struct virtio_balloon_stats stats;
	json_t *values = json_object();

	virtio_balloon_stats(dev, &stats);
	/* What is not known is the largest number in QEMU; -1 is as near to it as jansson's signed integers come. */
	for (size_t i = 0; i < VIRTIO_BALLOON_STATS; i++)
		json_object_set_new(values, names[i], json_integer((json_int_t)stats.value[i]));
	return json_pack("{s:o,s:I}", "stats", values, "last-update", (json_int_t)stats.last_update);
}

static bool asks_for(const json_t *args, const char *property)
{
	return !strcmp(json_string_value(json_object_get(args, "property")), property);
}

void monitor_balloon_list(json_t *list)
{
	json_array_append_new(list, json_pack("{s:s,s:s}", "name", property_stats, "type", "guest statistics"));
	json_array_append_new(list, json_pack("{s:s,s:s}", "name", property_interval, "type", "int"));
}

bool monitor_balloon_get(struct monitor *m, const json_t *args, json_t **ret)
{
	struct virtio_dev *dev = m->launch->virtio.balloon;

	if (asks_for(args, property_stats))
		*ret = guest_stats(dev);
	else if (asks_for(args, property_interval))
		*ret = json_integer(virtio_balloon_polling(dev));
	else
		return false;
	return true;
}

bool monitor_balloon_sets(const json_t *args)
{
	return asks_for(args, property_interval);
}

int monitor_balloon_set(struct monitor *m, const json_t *args, struct err *err)
{
	const json_t *value = json_object_get(args, "value");
	json_int_t seconds = json_integer_value(value);

	if (!json_is_integer(value) || seconds < 0 || seconds > INT32_MAX)
		return err_set(err, -EINVAL, "property '%s' is a number of seconds, 0 to %d", property_interval, INT32_MAX);
	virtio_balloon_set_polling(m->launch->virtio.balloon, (uint32_t)seconds);
	return 0;
}

/* ---- BALLOON_CHANGE ---- */

static void tell(void *opaque)
{
	struct monitor *m = opaque;
	int64_t now = now_ns();

	if (now < m->balloon.next_ns) {
		eventloop_arm(m->launch->loop, &m->balloon.timer, m->balloon.next_ns);
		return;
	}
	m->balloon.next_ns = now + EVENT_NS;
	qmp_event(m->qmp, "BALLOON_CHANGE", json_pack("{s:I}", "actual", size_now(m)));
}

/* Any thread, under the device's lock. */
static void changed(void *opaque)
{
	struct monitor *m = opaque;

	eventloop_post(m->launch->loop, &m->balloon.work);
}

void monitor_balloon_init(struct monitor *m)
{
	m->balloon.work = (struct event_work){ .run = tell, .opaque = m };
	m->balloon.timer = (struct event_timer){ .fire = tell, .opaque = m };
	if (m->launch->virtio.balloon)
		virtio_balloon_observe(m->launch->virtio.balloon, changed, m);
}

void monitor_balloon_fini(struct monitor *m)
{
	if (m->launch->virtio.balloon)
		virtio_balloon_observe(m->launch->virtio.balloon, NULL, NULL);
	eventloop_cancel_work(m->launch->loop, &m->balloon.work);
	eventloop_cancel(m->launch->loop, &m->balloon.timer);
}

static const struct qmp_type balloon_args = { .name = "balloon-arg", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "value", .type = &qmp_int },
	{ 0 },
} };
static const struct qmp_type balloon_info = { .name = "BalloonInfo", .meta = QMP_OBJECT, .members = (const struct qmp_member[]){
	{ .name = "actual", .type = &qmp_int },
	{ 0 },
} };

const struct qmp_command monitor_balloon_commands[] = {
	{ .name = "balloon", .args = &balloon_args, .run = balloon },
	{ .name = "query-balloon", .ret = &balloon_info, .run = query_balloon },
	{ 0 },
};

const struct qmp_event monitor_balloon_events[] = {
	{ .name = "BALLOON_CHANGE", .data = &balloon_info },
	{ 0 },
};
