/* SPDX-License-Identifier: MIT */
/*
 * An Intel 8042 keyboard controller as in an AT (IBM PC AT Technical Reference, 1984, "Keyboard controller"), with the A20 and
 * reset commands of later ones, no auxiliary port, and no keyboard plugged in.
 *
 * Guests probe for what is not there, and each answer that does not come costs them up to half a second of polling. So every
 * command that a guest may expect an answer to has one, at once, and it says "nothing here" the way the controller does: a byte
 * for the keyboard comes back as 0xfe with the time-out bit; the auxiliary port fails its interface test, and its loop command
 * answers as the keyboard.
 *
 * The controller is never busy: the input buffer is always empty. A20 reads back but gates nothing, as on every PC since
 * the 1990s.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define I8042_DATA_PORT 0x60
#define I8042_COMMAND_PORT 0x64

#define STATUS_OBF BIT(0)     /* output buffer full */
#define STATUS_SYS BIT(2)     /* system flag, a copy of the command byte's */
#define STATUS_COMMAND BIT(3) /* the last write was a command */
#define STATUS_UNLOCKED BIT(4)
#define STATUS_AUX BIT(5)     /* the output is of the auxiliary port */
#define STATUS_TIMEOUT BIT(6)

/* The command byte, byte 0 of the controller's memory. */
#define CTR_INT BIT(0)
#define CTR_SYS BIT(2)
#define CTR_DISABLED BIT(4)
#define CTR_AUX_DISABLED BIT(5)
#define CTR_TRANSLATE BIT(6)

#define OUT_NOT_RESET BIT(0) /* output port: 0 pulls the CPU's reset line */
#define OUT_A20 BIT(1)
#define OUT_OBF BIT(4)

#define CMD_READ_MEM 0x20  /* to 0x3f */
#define CMD_WRITE_MEM 0x60 /* to 0x7f */
#define CMD_PASSWORD_TEST 0xa4
#define CMD_AUX_DISABLE 0xa7
#define CMD_AUX_ENABLE 0xa8
#define CMD_AUX_TEST 0xa9
#define CMD_SELF_TEST 0xaa
#define CMD_INTERFACE_TEST 0xab
#define CMD_DISABLE 0xad
#define CMD_ENABLE 0xae
#define CMD_READ_INPUT 0xc0
#define CMD_READ_OUTPUT 0xd0
#define CMD_WRITE_OUTPUT 0xd1
#define CMD_WRITE_KBD_BUF 0xd2
#define CMD_WRITE_AUX_BUF 0xd3
#define CMD_WRITE_AUX 0xd4
#define CMD_A20_OFF 0xdd
#define CMD_A20_ON 0xdf
#define CMD_READ_TEST 0xe0
#define CMD_PULSE 0xf0 /* to 0xff: the low 4 bits of the output port, where the command has a 0 */

#define ANSWER_SELF_TEST 0x55
#define ANSWER_NO_ERROR 0x00
#define ANSWER_CLOCK_STUCK_LOW 0x01
#define ANSWER_NO_PASSWORD 0xf1
#define ANSWER_RESEND 0xfe
#define INPUT_NOT_LOCKED 0x80

#define I8042_MEM 32

/* What the guest can see. */
struct i8042_regs {
	uint8_t status;          /* without STATUS_SYS */
	uint8_t mem[I8042_MEM];  /* byte 0 is the command byte */
	uint8_t output;          /* what the data port reads */
	uint8_t output_port;     /* OUT_A20 */
	uint8_t pending_command; /* waits for its data byte; 0: none */
};

struct i8042 {
	struct device dev;
	pthread_mutex_t lock;
	struct i8042_regs r;
	struct irq_line irq;
	struct log_limit log;

	struct machine_link link;
	struct bus_region data, command;
	struct bus *pio;
};

static void irq_update(struct i8042 *s)
{
	bool kbd = (s->r.status & (STATUS_OBF | STATUS_AUX)) == STATUS_OBF;

	irq_set(&s->irq, kbd && (s->r.mem[0] & CTR_INT));
}

/* Puts a byte into the output buffer, over one that was not read. */
static void put_output(struct i8042 *s, uint8_t byte, uint8_t status)
{
	s->r.status &= ~(STATUS_OBF | STATUS_AUX | STATUS_TIMEOUT);
	irq_update(s); /* each byte is an edge of its own */
	s->r.output = byte;
	s->r.status |= STATUS_OBF | status;
	irq_update(s);
}

static uint8_t output_port(const struct i8042 *s)
{
	return OUT_NOT_RESET | s->r.output_port | (s->r.status & STATUS_OBF ? OUT_OBF : 0);
}

static void reset_cpu(struct i8042 *s)
{
	machine_request(&s->link, VM_REQUEST_RESET, 0);
}

static void command_write(struct i8042 *s, uint8_t cmd)
{
	s->r.status |= STATUS_COMMAND;
	s->r.pending_command = 0;
	switch (cmd) {
	case CMD_READ_MEM ... CMD_READ_MEM + I8042_MEM - 1:
		put_output(s, s->r.mem[cmd - CMD_READ_MEM], 0);
		break;
	case CMD_WRITE_MEM ... CMD_WRITE_MEM + I8042_MEM - 1:
	case CMD_WRITE_OUTPUT:
	case CMD_WRITE_KBD_BUF:
	case CMD_WRITE_AUX_BUF:
	case CMD_WRITE_AUX:
		s->r.pending_command = cmd;
		break;
	case CMD_PASSWORD_TEST:
		put_output(s, ANSWER_NO_PASSWORD, 0);
		break;
	case CMD_AUX_DISABLE:
		s->r.mem[0] |= CTR_AUX_DISABLED;
		break;
	case CMD_AUX_ENABLE:
		s->r.mem[0] &= ~CTR_AUX_DISABLED;
		break;
	case CMD_AUX_TEST:
		put_output(s, ANSWER_CLOCK_STUCK_LOW, 0);
		break;
	case CMD_SELF_TEST:
		s->r.mem[0] |= CTR_SYS;
		put_output(s, ANSWER_SELF_TEST, 0);
		break;
	case CMD_INTERFACE_TEST:
		put_output(s, ANSWER_NO_ERROR, 0);
		break;
	case CMD_DISABLE:
		s->r.mem[0] |= CTR_DISABLED;
		break;
	case CMD_ENABLE:
		s->r.mem[0] &= ~CTR_DISABLED;
		break;
	case CMD_READ_INPUT:
		put_output(s, INPUT_NOT_LOCKED, 0);
		break;
	case CMD_READ_OUTPUT:
		put_output(s, output_port(s), 0);
		break;
	case CMD_A20_OFF:
		s->r.output_port &= ~OUT_A20;
		break;
	case CMD_A20_ON:
		s->r.output_port |= OUT_A20;
		break;
	case CMD_READ_TEST:
		put_output(s, 0, 0);
		break;
	case CMD_PULSE ... 0xff:
		if (!(cmd & OUT_NOT_RESET))
			reset_cpu(s);
		break;
	default:
		log_guest(&s->log, s->dev.name, "command 0x%02x does not exist", cmd);
		break;
	}
}

static void data_write(struct i8042 *s, uint8_t v)
{
	uint8_t cmd = s->r.pending_command;

	s->r.status &= ~STATUS_COMMAND;
	s->r.pending_command = 0;
	switch (cmd) {
	case CMD_WRITE_MEM ... CMD_WRITE_MEM + I8042_MEM - 1:
		s->r.mem[cmd - CMD_WRITE_MEM] = v;
		irq_update(s); /* it may be the command byte */
		break;
	case CMD_WRITE_OUTPUT:
		s->r.output_port = v & OUT_A20;
		if (!(v & OUT_NOT_RESET))
			reset_cpu(s);
		break;
	case CMD_WRITE_KBD_BUF:
	case CMD_WRITE_AUX_BUF:
		put_output(s, v, 0);
		break;
	case CMD_WRITE_AUX:
		put_output(s, ANSWER_RESEND, STATUS_AUX | STATUS_TIMEOUT);
		break;
	default: /* a byte for the keyboard, which enables its interface */
		s->r.mem[0] &= ~CTR_DISABLED;
		put_output(s, ANSWER_RESEND, STATUS_TIMEOUT);
		break;
	}
}

static uint8_t data_read(struct i8042 *s)
{
	s->r.status &= ~(STATUS_OBF | STATUS_AUX | STATUS_TIMEOUT);
	irq_update(s);
	return s->r.output;
}

static uint8_t status_read(const struct i8042 *s)
{
	return s->r.status | (s->r.mem[0] & CTR_SYS ? STATUS_SYS : 0);
}

static void i8042_data_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct i8042 *s = dev;

	(void)offset, (void)len;
	pthread_mutex_lock(&s->lock);
	*buf = data_read(s);
	pthread_mutex_unlock(&s->lock);
}

static void i8042_data_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct i8042 *s = dev;

	(void)offset, (void)len;
	pthread_mutex_lock(&s->lock);
	data_write(s, *buf);
	pthread_mutex_unlock(&s->lock);
}

static void i8042_status_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct i8042 *s = dev;

	(void)offset, (void)len;
	pthread_mutex_lock(&s->lock);
	*buf = status_read(s);
	pthread_mutex_unlock(&s->lock);
}

static void i8042_command_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct i8042 *s = dev;

	(void)offset, (void)len;
	pthread_mutex_lock(&s->lock);
	command_write(s, *buf);
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops i8042_data_ops = {
	.read = i8042_data_read,
	.write = i8042_data_write,
	.width = 1,
};

static const struct bus_ops i8042_command_ops = {
	.read = i8042_status_read,
	.write = i8042_command_write,
	.width = 1,
};

/* As firmware leaves it: a kernel may be entered without one. */
static void regs_power_on(struct i8042 *s)
{
	s->r = (struct i8042_regs){
		.status = STATUS_UNLOCKED,
		.mem[0] = CTR_SYS | CTR_AUX_DISABLED | CTR_TRANSLATE,
		.output_port = OUT_A20,
	};
	irq_update(s);
}

static void i8042_reset(struct device *dev)
{
	struct i8042 *s = CONTAINER_OF(dev, struct i8042, dev);

	pthread_mutex_lock(&s->lock);
	regs_power_on(s);
	pthread_mutex_unlock(&s->lock);
}

static void i8042_destroy(struct device *dev)
{
	struct i8042 *s = CONTAINER_OF(dev, struct i8042, dev);

	bus_remove(s->pio, &s->command);
	bus_remove(s->pio, &s->data);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static const struct device_ops i8042_ops = {
	.reset = i8042_reset,
	.destroy = i8042_destroy,
};

struct device *i8042_create(const struct device_env *env, const struct i8042_config *cfg, struct err *err)
{
	struct i8042 *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "i8042: not enough memory on the host");
		return NULL;
	}
	s->dev.ops = &i8042_ops;
	s->dev.name = "i8042";
	s->irq = cfg->irq;
	s->link = env->link;
	s->pio = env->pio;
	s->log = (struct log_limit)LOG_LIMIT_INIT;
	s->data = (struct bus_region){
		.name = "i8042 data", .base = I8042_DATA_PORT, .size = 1, .ops = &i8042_data_ops, .dev = s,
	};
	s->command = (struct bus_region){
		.name = "i8042 command", .base = I8042_COMMAND_PORT, .size = 1, .ops = &i8042_command_ops, .dev = s,
	};
	pthread_mutex_init(&s->lock, NULL);
	regs_power_on(s);
	if (bus_add(s->pio, &s->data, err) < 0)
		goto fail;
	if (bus_add(s->pio, &s->command, err) < 0)
		goto fail_data;
	return &s->dev;

fail_data:
	bus_remove(s->pio, &s->data);
fail:
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}
