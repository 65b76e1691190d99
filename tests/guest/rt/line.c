/* SPDX-License-Identifier: MIT */
#include "line.h"

#define IRQ 4
#define LINE 80

static volatile uint32_t lines;
static uint32_t served;
static char line[LINE];
static unsigned line_length;

static void receive(struct trap_frame *frame)
{
	(void)frame;
	inb(COM1 + 2);
	while (inb(COM1 + 5) & 1) {
		char c = (char)inb(COM1);

		if (c == '\n') {
			line[line_length] = '\0';
			line_length = 0;
			lines++;
		} else if (line_length < LINE - 1) {
			line[line_length++] = c;
		}
	}
	pic_eoi(IRQ);
}

void line_open(void)
{
	trap_set(VEC_PIC + IRQ, receive);
	outb(COM1 + 2, 0x81); /* FIFOs on, trigger at 8 */
	outb(COM1 + 1, 0x01);
	pic_mask(IRQ, false);
}

const char *line_wait(void)
{
	while (lines == served)
		irq_wait();
	served++;
	return line;
}

uint64_t line_number(const char **p)
{
	uint64_t v = 0;

	while (**p == ' ' || **p == '.')
		++*p;
	while (**p >= '0' && **p <= '9')
		v = v * 10 + (uint64_t)(*(*p)++ - '0');
	return v;
}
