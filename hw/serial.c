/* SPDX-License-Identifier: MIT */
/*
 * A National Semiconductor PC16550D UART. Section and table numbers are those of its data sheet (June 1995).
 *
 * Theory of operation
 *
 * Output. A byte written to THR goes to the chardev at once; there is no bit rate. So the transmitter is normally empty, and each
 * write makes it empty again: THRE interrupts fall and rise with each byte. When the chardev takes nothing, bytes stay in the
 * transmit FIFO, THRE and TEMT stay clear as they do on a slow line, and `writable` sends them on. The chardev, not the UART,
 * decides when a reader is gone and drops output, so no guest waits for ever.
 *
 * Input. The chardev gives no more than there is room for. Once it was refused it waits for chardev_accept_input, which is called
 * when the guest has emptied half the FIFO: one wake-up of the loop for eight bytes, not for each.
 *
 * Character time-out (8.4.1). Input comes in bursts, and a burst that ends below the trigger level raises the time-out
 * right away: there is nothing to wait for. The 4 character times are kept only where a guest may depend on the gap: after it
 * has read a byte and left others below the trigger level, so that the line falls and rises again. The timer is armed in no
 * other state, only while that interrupt is enabled, and not per byte: it moves itself on when it fires too early.
 *
 * Board. As on a PC, OUT2 gates the interrupt to the ISA bus, and in loopback mode OUT2 is inactive. CTS, DSR and DCD are on
 * while the chardev has a peer; RI is off. Characters always have 8 bits, whatever LCR says: a guest that was entered without
 * firmware may not have set it up.
 *
 * Locks: `lock`, then the chardev's own.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "hw/serial_regs.h"
#include "vmm/bus.h"
#include "vmm/chardev.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"

#define SERIAL_POWER_ON_DIVISOR 12 /* 9600 bit/s, where PC firmware leaves it */
#define SERIAL_MAX_TIMEOUT_NS INT64_C(100000000)
#define SERIAL_ACCEPT_AT (SERIAL_FIFO / 2)

struct serial_fifo {
	uint8_t data[SERIAL_FIFO];
	uint8_t errors[SERIAL_FIFO]; /* receiver: LSR bits that came with the byte */
	uint8_t head, count;
};

/* What the guest can see. */
struct serial_regs {
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t lsr_errors; /* latched until LSR is read */
	uint8_t msr_lines;  /* upper half of MSR */
	uint8_t msr_deltas; /* lower half, until MSR is read */
	bool thri;          /* THRE interrupt is pending */
	bool cti;           /* character time-out is pending */
	struct serial_fifo rx, tx;
};

struct serial {
	struct device dev;
	pthread_mutex_t lock; /* guards everything below but `region` and the borrowed pointers */
	struct serial_regs r;
	struct irq_line irq;
	bool connected; /* the chardev has a peer */
	bool paused;
	bool refused; /* the chardev waits for chardev_accept_input */
	struct event_timer timeout;
	bool timeout_armed;
	int64_t last_read_ns;
	struct log_limit log;

	struct bus_region region;
	struct bus *pio;
	struct chardev *chr;
	struct eventloop *loop;
};

static bool fifos_on(const struct serial *s)
{
	return s->r.fcr & FCR_ENABLE;
}

static unsigned rx_capacity(const struct serial *s)
{
	return fifos_on(s) ? SERIAL_FIFO : 1;
}

static unsigned rx_trigger(const struct serial *s)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return fifos_on(s) ? level[s->r.fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* Interrupts */

static uint8_t irq_cause(const struct serial *s)
{
	const struct serial_regs *r = &s->r;

	if ((r->ier & IER_RLSI) && r->lsr_errors)
		return IIR_RLSI;
	if ((r->ier & IER_RDI) && r->rx.count >= rx_trigger(s))
		return IIR_RDI;
	if ((r->ier & IER_RDI) && r->cti)
		return IIR_CTI;
	if ((r->ier & IER_THRI) && r->thri)
		return IIR_THRI;
	if ((r->ier & IER_MSI) && r->msr_deltas)
		return IIR_MSI;
	return IIR_NONE;
}

static void irq_update(struct serial *s)
{
	bool gate = (s->r.mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

	irq_set(&s->irq, gate && irq_cause(s) != IIR_NONE);
}

/* Character time-out */

static int64_t timeout_ns(const struct serial *s)
{
	int64_t divisor = (s->r.dlm << 8) | s->r.dll;
	int64_t bits = 1 + 5 + (s->r.lcr & LCR_WLS) + !!(s->r.lcr & LCR_PEN) + 1 + !!(s->r.lcr & LCR_STB);
	int64_t ns = 4 * bits * 16 * (divisor ? divisor : 1) * NS_PER_SEC / SERIAL_CLOCK_HZ;

	return ns < SERIAL_MAX_TIMEOUT_NS ? ns : SERIAL_MAX_TIMEOUT_NS;
}

/* Bytes wait below the trigger level, so that only the time-out can tell the guest. */
static bool rx_needs_timeout(const struct serial *s)
{
	return fifos_on(s) && s->r.rx.count > 0 && s->r.rx.count < rx_trigger(s);
}

static void timeout_arm(struct serial *s)
{
	s->last_read_ns = now_ns();
	if (s->timeout_armed || s->paused)
		return;
	s->timeout_armed = true;
	eventloop_arm(s->loop, &s->timeout, s->last_read_ns + timeout_ns(s));
}

static void timeout_cancel(struct serial *s)
{
	s->timeout_armed = false;
	eventloop_cancel(s->loop, &s->timeout);
}

static void serial_timeout(void *opaque)
{
	struct serial *s = opaque;
	int64_t due;

	pthread_mutex_lock(&s->lock);
	s->timeout_armed = false;
	due = s->last_read_ns + timeout_ns(s);
	if (!rx_needs_timeout(s) || !(s->r.ier & IER_RDI) || s->r.cti || s->paused) {
		/* The guest has read on meanwhile. */
	} else if (now_ns() < due) {
		s->timeout_armed = true;
		eventloop_arm(s->loop, &s->timeout, due);
	} else {
		s->r.cti = true;
		irq_update(s);
	}
	pthread_mutex_unlock(&s->lock);
}

/* Receiver */

/* Tells a waiting chardev that there is room, when there is enough to be worth it. */
static void rx_invite(struct serial *s)
{
	if (!s->refused || s->paused || (s->r.mcr & MCR_LOOP) || s->r.rx.count > (fifos_on(s) ? SERIAL_ACCEPT_AT : 0))
		return;
	s->refused = false;
	chardev_accept_input(s->chr);
}

/* A character comes out of the shift register. On overrun the FIFO keeps what it has, the single RBR is overwritten (8.6.3). */
static void rx_push(struct serial *s, uint8_t byte, uint8_t errors)
{
	struct serial_fifo *rx = &s->r.rx;
	unsigned at;

	if (rx->count == rx_capacity(s)) {
		s->r.lsr_errors |= LSR_OE;
		if (fifos_on(s))
			return;
		rx->count = 0;
	}
	at = (rx->head + rx->count) % SERIAL_FIFO;
	rx->data[at] = byte;
	rx->errors[at] = errors;
	if (rx->count++ == 0)
		s->r.lsr_errors |= errors;
}

/* Input pauses after a burst. */
static void rx_burst_end(struct serial *s)
{
	if (rx_needs_timeout(s))
		s->r.cti = true;
	irq_update(s);
}

static uint8_t rbr_read(struct serial *s)
{
	struct serial_fifo *rx = &s->r.rx;
	uint8_t byte;

	if (rx->count == 0)
		return 0;
	byte = rx->data[rx->head];
	rx->head = (rx->head + 1) % SERIAL_FIFO;
	rx->count--;
	if (rx->count)
		s->r.lsr_errors |= rx->errors[rx->head]; /* errors show when their byte is at the top */
	s->r.cti = false;
	if (rx_needs_timeout(s) && (s->r.ier & IER_RDI))
		timeout_arm(s);
	irq_update(s);
	rx_invite(s);
	return byte;
}

static void rx_clear(struct serial *s)
{
	s->r.rx.head = s->r.rx.count = 0;
	s->r.cti = false;
	rx_invite(s);
}

/* Transmitter */

static void tx_set_empty(struct serial *s)
{
	s->r.tx.head = s->r.tx.count = 0;
	s->r.thri = true;
}

static void tx_queue(struct serial *s, uint8_t byte)
{
	struct serial_fifo *tx = &s->r.tx;

	if (tx->count == rx_capacity(s)) {
		log_guest(&s->log, s->dev.name, "byte written to a full transmitter is lost");
		return;
	}
	tx->data[(tx->head + tx->count++) % SERIAL_FIFO] = byte;
}

static void thr_write(struct serial *s, uint8_t byte)
{
	s->r.thri = false;
	irq_update(s);
	if (s->r.mcr & MCR_LOOP) {
		rx_push(s, byte, 0);
		s->r.thri = s->r.tx.count == 0;
		rx_burst_end(s);
		return;
	}
	if (s->r.tx.count == 0 && chardev_write(s->chr, &byte, 1) == 1)
		s->r.thri = true;
	else
		tx_queue(s, byte);
	irq_update(s);
}

/* Sends on what waits in the FIFO; empty afterwards: THRE. */
static void tx_drain(struct serial *s)
{
	struct serial_fifo *tx = &s->r.tx;

	while (tx->count) {
		/* At most to the end of the array: it is a ring. */
		size_t n = min_u64(tx->count, SERIAL_FIFO - tx->head);
		size_t done = chardev_write(s->chr, &tx->data[tx->head], n);

		tx->head = (tx->head + done) % SERIAL_FIFO;
		tx->count -= done;
		if (done < n)
			return;
		if (tx->count == 0)
			tx_set_empty(s);
	}
}

/* Modem */

static void modem_update(struct serial *s)
{
	uint8_t mcr = s->r.mcr, lines, changed;

	if (mcr & MCR_LOOP) /* 8.5, bit 4: the outputs are wired to the inputs */
		lines = (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) | (mcr & MCR_OUT1 ? MSR_RI : 0) |
			(mcr & MCR_OUT2 ? MSR_DCD : 0);
	else
		lines = s->connected ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
	changed = lines ^ s->r.msr_lines;
	s->r.msr_deltas |= (changed & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4;
	if (changed & ~lines & MSR_RI)
		s->r.msr_deltas |= MSR_TERI;
	s->r.msr_lines = lines;
}

/* Registers */

static uint8_t iir_read(struct serial *s)
{
	uint8_t cause = irq_cause(s);

	if (cause == IIR_THRI) {
		s->r.thri = false;
		irq_update(s);
	}
	return cause | (fifos_on(s) ? IIR_FIFOS : 0);
}

static uint8_t lsr_read(struct serial *s)
{
	struct serial_fifo *rx = &s->r.rx;
	uint8_t v = s->r.lsr_errors, in_fifo = s->r.lsr_errors & (LSR_PE | LSR_FE | LSR_BI);

	if (rx->count)
		v |= LSR_DR;
	if (s->r.tx.count == 0)
		v |= LSR_THRE | LSR_TEMT;
	for (unsigned i = 0; i < rx->count; i++)
		in_fifo |= rx->errors[(rx->head + i) % SERIAL_FIFO];
	if (fifos_on(s) && in_fifo)
		v |= LSR_FIFO_ERR;
	if (s->r.lsr_errors) {
		s->r.lsr_errors = 0;
		if (rx->count)
			rx->errors[rx->head] = 0;
		irq_update(s);
	}
	return v;
}

static uint8_t msr_read(struct serial *s)
{
	uint8_t v = s->r.msr_lines | s->r.msr_deltas;

	if (s->r.msr_deltas) {
		s->r.msr_deltas = 0;
		irq_update(s);
	}
	return v;
}

static void ier_write(struct serial *s, uint8_t v)
{
	uint8_t on = v & ~s->r.ier;

	s->r.ier = v & IER_MASK;
	if ((on & IER_THRI) && s->r.tx.count == 0)
		s->r.thri = true;
	if ((on & IER_RDI) && rx_needs_timeout(s))
		s->r.cti = true; /* they have been there for long */
	irq_update(s);
}

static void fcr_write(struct serial *s, uint8_t v)
{
	bool toggled = (v ^ s->r.fcr) & FCR_ENABLE;

	/* 8.3: the other bits count only with bit 0 set, and changing bit 0 clears both FIFOs */
	s->r.fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
	if (toggled || (v & (FCR_CLEAR_RX | FCR_ENABLE)) == (FCR_CLEAR_RX | FCR_ENABLE))
		rx_clear(s);
	if (s->r.tx.count && (toggled || (v & (FCR_CLEAR_TX | FCR_ENABLE)) == (FCR_CLEAR_TX | FCR_ENABLE)))
		tx_set_empty(s);
	/* A new trigger level may be above or below what waits. */
	s->r.cti = rx_needs_timeout(s);
	irq_update(s);
}

static void lcr_write(struct serial *s, uint8_t v)
{
	bool break_begins = (v & ~s->r.lcr & LCR_BREAK) && (s->r.mcr & MCR_LOOP);

	s->r.lcr = v;
	if (break_begins) {
		rx_push(s, 0, LSR_BI);
		rx_burst_end(s);
	}
}

static void mcr_write(struct serial *s, uint8_t v)
{
	s->r.mcr = v & MCR_MASK;
	modem_update(s);
	irq_update(s);
	rx_invite(s); /* the line is connected again after loopback */
}

static void serial_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct serial *s = dev;
	bool dlab;

	(void)len;
	pthread_mutex_lock(&s->lock);
	dlab = s->r.lcr & LCR_DLAB;
	switch (offset) {
	case SERIAL_RBR:
		*buf = dlab ? s->r.dll : rbr_read(s);
		break;
	case SERIAL_IER:
		*buf = dlab ? s->r.dlm : s->r.ier;
		break;
	case SERIAL_IIR:
		*buf = iir_read(s);
		break;
	case SERIAL_LCR:
		*buf = s->r.lcr;
		break;
	case SERIAL_MCR:
		*buf = s->r.mcr;
		break;
	case SERIAL_LSR:
		*buf = lsr_read(s);
		break;
	case SERIAL_MSR:
		*buf = msr_read(s);
		break;
	case SERIAL_SCR:
		*buf = s->r.scr;
		break;
	}
	pthread_mutex_unlock(&s->lock);
}

static void serial_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct serial *s = dev;
	bool dlab;

	(void)len;
	pthread_mutex_lock(&s->lock);
	dlab = s->r.lcr & LCR_DLAB;
	switch (offset) {
	case SERIAL_THR:
		if (dlab)
			s->r.dll = *buf;
		else
			thr_write(s, *buf);
		break;
	case SERIAL_IER:
		if (dlab)
			s->r.dlm = *buf;
		else
			ier_write(s, *buf);
		break;
	case SERIAL_FCR:
		fcr_write(s, *buf);
		break;
	case SERIAL_LCR:
		lcr_write(s, *buf);
		break;
	case SERIAL_MCR:
		mcr_write(s, *buf);
		break;
	case SERIAL_SCR:
		s->r.scr = *buf;
		break;
	default: /* LSR and MSR: factory tests only (8.6), read-only here */
		break;
	}
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops serial_bus_ops = {
	.read = serial_read,
	.write = serial_write,
	.width = 1,
};

/* The chardev's side */

static size_t serial_can_receive(void *opaque)
{
	struct serial *s = opaque;
	size_t room = 0;

	pthread_mutex_lock(&s->lock);
	if (!s->paused && !(s->r.mcr & MCR_LOOP))
		room = rx_capacity(s) - s->r.rx.count;
	if (room == 0)
		s->refused = true;
	pthread_mutex_unlock(&s->lock);
	return room;
}

static void serial_receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct serial *s = opaque;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < len; i++)
		rx_push(s, buf[i], 0);
	if (s->r.rx.count == rx_capacity(s))
		s->refused = true;
	rx_burst_end(s);
	pthread_mutex_unlock(&s->lock);
}

static void serial_writable(void *opaque)
{
	struct serial *s = opaque;

	pthread_mutex_lock(&s->lock);
	tx_drain(s);
	irq_update(s);
	pthread_mutex_unlock(&s->lock);
}

static void serial_event(void *opaque, enum chardev_event event)
{
	struct serial *s = opaque;

	pthread_mutex_lock(&s->lock);
	if (event == CHARDEV_BREAK) {
		if (!(s->r.mcr & MCR_LOOP)) {
			rx_push(s, 0, LSR_BI);
			rx_burst_end(s);
		}
	} else {
		s->connected = event == CHARDEV_OPENED;
		modem_update(s);
		irq_update(s);
	}
	pthread_mutex_unlock(&s->lock);
}

static const struct chardev_frontend serial_frontend = {
	.can_receive = serial_can_receive,
	.receive = serial_receive,
	.writable = serial_writable,
	.event = serial_event,
};

/* Life cycle */

static void regs_power_on(struct serial *s)
{
	s->r = (struct serial_regs){ .dll = SERIAL_POWER_ON_DIVISOR };
	modem_update(s);
	s->r.msr_deltas = 0;
}

static void serial_reset(struct device *dev)
{
	struct serial *s = CONTAINER_OF(dev, struct serial, dev);

	pthread_mutex_lock(&s->lock);
	tx_drain(s); /* the last words of a guest that reboots, if the chardev takes them */
	timeout_cancel(s);
	regs_power_on(s);
	irq_update(s);
	rx_invite(s);
	pthread_mutex_unlock(&s->lock);
}

static void serial_quiesce(struct device *dev)
{
	struct serial *s = CONTAINER_OF(dev, struct serial, dev);

	pthread_mutex_lock(&s->lock);
	s->paused = true;
	timeout_cancel(s);
	pthread_mutex_unlock(&s->lock);
}

static void serial_resume(struct device *dev)
{
	struct serial *s = CONTAINER_OF(dev, struct serial, dev);

	pthread_mutex_lock(&s->lock);
	s->paused = false;
	if (rx_needs_timeout(s) && (s->r.ier & IER_RDI) && !s->r.cti)
		timeout_arm(s);
	rx_invite(s);
	pthread_mutex_unlock(&s->lock);
}

static void serial_destroy(struct device *dev)
{
	struct serial *s = CONTAINER_OF(dev, struct serial, dev);

	bus_remove(s->pio, &s->region);
	chardev_detach(s->chr);
	timeout_cancel(s);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static const struct device_ops serial_ops = {
	.reset = serial_reset,
	.quiesce = serial_quiesce,
	.resume = serial_resume,
	.destroy = serial_destroy,
};

struct device *serial_create(const struct device_env *env, const struct serial_config *cfg, struct err *err)
{
	struct serial *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "%s: not enough memory on the host", cfg->name);
		return NULL;
	}
	s->dev.ops = &serial_ops;
	s->dev.name = cfg->name;
	s->irq = cfg->irq;
	s->chr = cfg->chardev;
	s->loop = env->loop;
	s->pio = env->pio;
	s->log = (struct log_limit)LOG_LIMIT_INIT;
	s->timeout.fire = serial_timeout;
	s->timeout.opaque = s;
	s->region = (struct bus_region){
		.name = cfg->name, .base = cfg->iobase, .size = SERIAL_PORTS, .ops = &serial_bus_ops, .dev = s,
	};
	pthread_mutex_init(&s->lock, NULL);
	s->connected = chardev_connected(s->chr);
	regs_power_on(s);
	if (bus_add(s->pio, &s->region, err) < 0) {
		pthread_mutex_destroy(&s->lock);
		free(s);
		return NULL;
	}
	chardev_attach(s->chr, &serial_frontend, s);
	return &s->dev;
}
