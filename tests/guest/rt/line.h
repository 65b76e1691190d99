/* SPDX-License-Identifier: MIT */
/* Lines that a payload is told on COM1, by interrupt: between them it sleeps. For benchmarks, which obey one after the other. */
#ifndef RT_LINE_H
#define RT_LINE_H

#include "rt.h"

/* From now on lines are taken. Once; the other end writes no next line before the last one was answered. */
void line_open(void);

/* Waits for the next line; what is beyond its 79th byte is lost. Without its end, valid until the next one begins. */
const char *line_wait(void);

/* The decimal number at *p, behind spaces and full stops, and past it. 0: none. */
uint64_t line_number(const char **p);

#endif
