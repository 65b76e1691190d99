/* SPDX-License-Identifier: MIT */
/* Registers of the PC16550D UART, data sheet of National Semiconductor, 1995, table II. */
#ifndef HW_SERIAL_REGS_H
#define HW_SERIAL_REGS_H

#include "vmm/util.h"

#define SERIAL_PORTS 8
#define SERIAL_FIFO 16
#define SERIAL_CLOCK_HZ 1843200 /* divided by 16 and by the divisor latch: the bit rate */

/* Offsets. Some have two meanings: read or write, or DLAB. */
#define SERIAL_RBR 0 /* read */
#define SERIAL_THR 0 /* write */
#define SERIAL_IER 1
#define SERIAL_IIR 2 /* read */
#define SERIAL_FCR 2 /* write */
#define SERIAL_LCR 3
#define SERIAL_MCR 4
#define SERIAL_LSR 5
#define SERIAL_MSR 6
#define SERIAL_SCR 7
#define SERIAL_DLL 0 /* DLAB = 1 */
#define SERIAL_DLM 1 /* DLAB = 1 */

#define IER_RDI BIT(0) /* received data available, and time-out */
#define IER_THRI BIT(1)
#define IER_RLSI BIT(2)
#define IER_MSI BIT(3)
#define IER_MASK 0x0f

#define IIR_MSI 0x00 /* in the order of table III, lowest priority first */
#define IIR_NONE 0x01
#define IIR_THRI 0x02
#define IIR_RDI 0x04
#define IIR_RLSI 0x06
#define IIR_CTI 0x0c
#define IIR_FIFOS 0xc0 /* FIFOs are enabled */

#define FCR_ENABLE BIT(0)
#define FCR_CLEAR_RX BIT(1)
#define FCR_CLEAR_TX BIT(2)
#define FCR_KEPT 0xc9 /* the clear bits clear themselves */
#define FCR_TRIGGER_SHIFT 6

#define LCR_WLS 0x03 /* 5 bits and more */
#define LCR_STB BIT(2)
#define LCR_PEN BIT(3)
#define LCR_BREAK BIT(6)
#define LCR_DLAB BIT(7)

#define MCR_DTR BIT(0)
#define MCR_RTS BIT(1)
#define MCR_OUT1 BIT(2)
#define MCR_OUT2 BIT(3)
#define MCR_LOOP BIT(4)
#define MCR_MASK 0x1f

#define LSR_DR BIT(0)
#define LSR_OE BIT(1)
#define LSR_PE BIT(2)
#define LSR_FE BIT(3)
#define LSR_BI BIT(4)
#define LSR_THRE BIT(5)
#define LSR_TEMT BIT(6)
#define LSR_FIFO_ERR BIT(7)
#define LSR_ERRORS (LSR_OE | LSR_PE | LSR_FE | LSR_BI)

#define MSR_DCTS BIT(0)
#define MSR_DDSR BIT(1)
#define MSR_TERI BIT(2)
#define MSR_DDCD BIT(3)
#define MSR_CTS BIT(4)
#define MSR_DSR BIT(5)
#define MSR_RI BIT(6)
#define MSR_DCD BIT(7)
#define MSR_DELTAS 0x0f

#endif
