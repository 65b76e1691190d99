/* SPDX-License-Identifier: MIT */
/*
 * Linux by its 64-bit boot protocol (Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"; zero-page.rst).
 *
 * A bzImage is a small kernel whose payload is the real one, packed: an ELF file. Kite unpacks it on the host, where that is much
 * faster than in a guest that has just begun, and enters it as vmlinux. How, with the fewest copies:
 *
 *  1. Only the payload is read, into a mapping of its own that is given back right after unpacking. The file is not mapped: one
 *     that shrinks would then kill the process.
 *  2. It is unpacked into guest memory, from 2 MiB below pref_address on. The first segment of a vmlinux lies 2 MiB into the
 *     file (the linker's page size) and belongs at pref_address, so text, read-only data and data come to lie where they belong,
 *     and elf_load moves only the rest. Nothing depends on this guess but speed.
 *  3. What is left over before and behind the segments is given back to the host.
 *
 * The payload ends with its unpacked size. Nothing is unpacked before that fits init_size and guest memory, and no byte beyond it
 * is written. vCPUs are paused, so what was unpacked into guest memory stays what it is while it is read as ELF.
 *
 * A payload in a format that is not known here is left to the kernel's own code: its protected-mode part is loaded at
 * pref_address and entered at offset 0x200.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "firmware/boot_priv.h"
#include "firmware/unpack.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define SECTOR 512
#define BOOT_FLAG 0xaa55
#define HEADER_MAGIC 0x53726448u /* "HdrS" */
#define LOADED_HIGH 0x01
#define XLF_KERNEL_64 0x0001
#define LOADER_UNDEFINED 0xff
#define VIDEO_NORMAL 0xffff
#define ENTRY64_OFFSET 0x200
#define CMDLINE_DEFAULT 255         /* kernels that state 0 */
#define VMLINUX_CMDLINE 2047        /* COMMAND_LINE_SIZE of x86, less its 0 */
#define VMLINUX_INITRD_MAX 0x7fffffff
#define VMLINUX_VERSION 0x020f
#define OLD_PREF_ADDRESS (16 * MIB) /* LOAD_PHYSICAL_ADDR in nearly every configuration */
#define VMLINUX_ALIGN (2 * MIB)

struct setup_header {
	uint8_t setup_sects;
	le16 root_flags;
	le32 syssize;
	le16 ram_size;
	le16 vid_mode;
	le16 root_dev;
	le16 boot_flag;
	uint8_t jump_opcode, jump_offset;
	le32 header;
	le16 version;
	le32 realmode_swtch;
	le16 start_sys_seg;
	le16 kernel_version;
	uint8_t type_of_loader;
	uint8_t loadflags;
	le16 setup_move_size;
	le32 code32_start;
	le32 ramdisk_image;
	le32 ramdisk_size;
	le32 bootsect_kludge;
	le16 heap_end_ptr;
	uint8_t ext_loader_ver, ext_loader_type;
	le32 cmd_line_ptr;
	le32 initrd_addr_max;
	le32 kernel_alignment;
	uint8_t relocatable_kernel;
	uint8_t min_alignment;
	le16 xloadflags;
	le32 cmdline_size;
	le32 hardware_subarch;
	le64 hardware_subarch_data;
	le32 payload_offset;
	le32 payload_length;
	le64 setup_data;
	le64 pref_address;
	le32 init_size;
	le32 handover_offset;
	le32 kernel_info_offset;
	uint8_t later[LINUX_HEADER_END - 0x26c];
};
#define HDR(field) (LINUX_HEADER + offsetof(struct setup_header, field))
static_assert(HDR(header) == 0x202 && HDR(type_of_loader) == 0x210 && HDR(cmd_line_ptr) == 0x228, "boot.rst");
static_assert(HDR(xloadflags) == 0x236 && HDR(payload_offset) == 0x248 && HDR(init_size) == 0x260, "boot.rst");
static_assert(LINUX_HEADER + sizeof(struct setup_header) == LINUX_HEADER_END, "boot.rst");

struct e820_entry {
	le64 base, size;
	le32 type;
};
#define E820_MAX 128

struct boot_params {
	/* All zero: no screen was set up, so Linux's VGA console leaves it alone (0 lines, 0 columns). */
	uint8_t screen_info[0x40];
	uint8_t pad1[0x30];
	le64 acpi_rsdp_addr;
	uint8_t pad2[0x48];
	le32 ext_ramdisk_image, ext_ramdisk_size, ext_cmd_line_ptr;
	uint8_t pad3[0x11c];
	uint8_t e820_entries;
	uint8_t pad4[8]; /* with `sentinel`, which must stay 0 */
	struct setup_header hdr;
	uint8_t pad5[0x40];
	struct e820_entry e820[E820_MAX];
	uint8_t pad6[0x330];
};
static_assert(offsetof(struct boot_params, acpi_rsdp_addr) == 0x070, "zero-page.rst");
static_assert(offsetof(struct boot_params, ext_ramdisk_image) == 0x0c0, "zero-page.rst");
static_assert(offsetof(struct boot_params, e820_entries) == 0x1e8, "zero-page.rst");
static_assert(offsetof(struct boot_params, hdr) == LINUX_HEADER, "zero-page.rst");
static_assert(offsetof(struct boot_params, e820) == 0x2d0, "zero-page.rst");
static_assert(sizeof(struct boot_params) == 4096, "zero-page.rst");

/* Where the kernel came to lie. */
struct placed {
	uint64_t lo, hi; /* all that it may use before it reads the memory map */
	uint64_t entry;
};

/* Copies the header: it ends where its first instruction jumps to. */
static void header_copy(const struct boot *boot, struct setup_header *h)
{
	size_t end;

	memset(h, 0, sizeof(*h));
	end = min_u64(HDR(header) + boot->head[HDR(jump_offset)], LINUX_HEADER_END);
	end = min_u64(end, boot->head_len);
	memcpy(h, boot->head + LINUX_HEADER, end - LINUX_HEADER);
}

static int parse_payload(const struct boot *boot, const struct setup_header *h, struct linux_info *li, struct err *err)
{
	uint32_t off = le32_get(h->payload_offset), len = le32_get(h->payload_length);

	if (li->version < 0x0208 || len == 0)
		return 0;
	if (!range_ok(off, len, li->kernel_size))
		return err_set(err, -EINVAL, "%s: corrupt: its payload at %#x+%#x lies outside the kernel's %ju bytes",
			       boot->kernel.path, off, len, (uintmax_t)li->kernel_size);
	li->payload_off = li->kernel_off + off;
	li->payload_size = len;
	return 0;
}

static int truncated(const struct boot *boot, uint64_t want, struct err *err)
{
	return err_set(err, -EINVAL, "%s: truncated: the setup header says %ju bytes, the file has %ju", boot->kernel.path,
		       (uintmax_t)want, (uintmax_t)boot->kernel.size);
}

static int parse_sizes(const struct boot *boot, const struct setup_header *h, struct linux_info *li, struct err *err)
{
	uint64_t kernel = (uint64_t)le32_get(h->syssize) * 16;

	/* syssize is rounded up to 16 bytes, the file need not be. */
	if (boot->kernel.size + 15 < li->kernel_off + kernel)
		return truncated(boot, li->kernel_off + kernel, err);
	li->kernel_size = min_u64(kernel, boot->kernel.size - li->kernel_off);
	return parse_payload(boot, h, li, err);
}

static int parse_header(const struct boot *boot, const struct setup_header *h, struct linux_info *li, struct err *err)
{
	const char *path = boot->kernel.path;
	uint16_t v = le16_get(h->version);
	int rc;

	li->kernel_off = ((h->setup_sects ? h->setup_sects : 4u) + 1) * SECTOR;
	if (boot->kernel.size < li->kernel_off)
		return truncated(boot, li->kernel_off, err);
	if (v < 0x0206)
		return err_set(err, -EINVAL, "%s: Linux boot protocol %u.%02u is too old; Kite needs 2.06 (Linux 2.6.22) or newer",
			       path, v >> 8, v & 0xff);
	if (!(h->loadflags & LOADED_HIGH))
		return err_set(err, -EINVAL, "%s: is a zImage, which loads below 1 MiB; build a bzImage", path);
	li->version = v;
	li->entry64 = v >= 0x020c && (le16_get(h->xloadflags) & XLF_KERNEL_64);
	if (v >= 0x020c && !li->entry64)
		return err_set(err, -EINVAL, "%s: is a 32-bit Linux kernel; Kite loads 64-bit ones (x86-64)", path);
	rc = parse_sizes(boot, h, li, err);
	if (rc)
		return rc;
	if (!li->payload_size && !li->entry64)
		return err_set(err, -EINVAL,
			       "%s: Linux boot protocol %u.%02u has no 64-bit entry and states no payload; Kite needs 2.08",
			       path, v >> 8, v & 0xff);
	li->pref_address = v >= 0x020a ? le64_get(h->pref_address) : OLD_PREF_ADDRESS;
	li->init_size = v >= 0x020a ? le32_get(h->init_size) : 0;
	li->initrd_max = le32_get(h->initrd_addr_max);
	return 0;
}

static int bzimage_open(struct boot *boot, struct err *err)
{
	struct linux_info *li = &boot->linux_info;
	struct setup_header h;
	uint32_t max;
	int rc;

	if (boot->head_len < HDR(version) || load_le16(boot->head + HDR(boot_flag)) != BOOT_FLAG ||
	    load_le32(boot->head + HDR(header)) != HEADER_MAGIC)
		return 0;
	header_copy(boot, &h);
	rc = parse_header(boot, &h, li, err);
	if (rc)
		return rc;
	memcpy(li->header, &h, sizeof(li->header));
	max = le32_get(h.cmdline_size);
	rc = boot_check_append(boot, max ? max : CMDLINE_DEFAULT, err);
	if (!rc)
		rc = boot_open_initrd(boot, err);
	return rc ? rc : 1;
}

/* boot_params: zero-page.rst says which fields there are, boot.rst which of the header the loader sets. */
static void fill_params(struct boot_params *bp, const struct linux_info *li, const struct boot_platform *platform,
			const struct placed *k, uint64_t cmdline, const struct boot_span *initrd)
{
	struct setup_header *h = &bp->hdr;

	memset(bp, 0, sizeof(*bp));
	memcpy(h, li->header, sizeof(*h));
	h->vid_mode = le16_of(VIDEO_NORMAL);
	h->type_of_loader = LOADER_UNDEFINED;
	h->ext_loader_ver = 0;
	h->ext_loader_type = 0;
	h->loadflags = LOADED_HIGH;
	h->code32_start = le32_of((uint32_t)k->lo);
	h->heap_end_ptr = le16_of(0);
	h->setup_data = le64_of(0);
	h->hardware_subarch = le32_of(0);
	h->hardware_subarch_data = le64_of(0);
	h->cmd_line_ptr = le32_of((uint32_t)cmdline);
	bp->ext_cmd_line_ptr = le32_of((uint32_t)(cmdline >> 32));
	h->ramdisk_image = le32_of((uint32_t)initrd->base);
	bp->ext_ramdisk_image = le32_of((uint32_t)(initrd->base >> 32));
	h->ramdisk_size = le32_of((uint32_t)initrd->size);
	bp->ext_ramdisk_size = le32_of((uint32_t)(initrd->size >> 32));
	/* Before 2.14 this was padding that must be 0; such kernels search for the RSDP. */
	if (li->version >= 0x020e)
		bp->acpi_rsdp_addr = le64_of(platform->rsdp);
	bp->e820_entries = (uint8_t)min_u64(platform->map_n, E820_MAX);
	for (size_t i = 0; i < bp->e820_entries; i++)
		bp->e820[i] = (struct e820_entry){ le64_of(platform->map[i].base), le64_of(platform->map[i].size),
						   le32_of(platform->map[i].type) };
}

/* All that goes around a kernel that is in its place. */
static int finish(const struct boot *boot, const struct boot_platform *platform, const struct linux_info *li,
		  const struct placed *k, struct boot_entry *entry, struct err *err)
{
	struct boot_params bp;
	struct boot_span initrd;
	struct boot_low low;
	uint64_t cmdline = 0;
	int rc;

	if (k->hi > 4 * GIB)
		return err_set(err, -EINVAL, "%s: wants to lie above 4 GiB (up to %#jx)", boot->kernel.path, (uintmax_t)k->hi);
	rc = boot_place_initrd(boot, platform, k->lo, k->hi, li->initrd_max, &initrd, err);
	if (!rc)
		rc = boot_low_init(&low, platform, err);
	if (!rc)
		rc = boot_low_cpu(&low, BOOT_LONG64, entry, err);
	if (!rc)
		rc = boot_low_put(&low, boot->append, strlen(boot->append) + 1, 16, &cmdline, err);
	if (rc)
		return rc;
	fill_params(&bp, li, platform, k, cmdline, &initrd);
	entry->rip = k->entry;
	return boot_low_put(&low, &bp, sizeof(bp), sizeof(bp), &entry->rsi, err);
}

/* What unpacking left in guest memory outside the segments goes back to the host. */
static void release_rest(struct guest_mem *mem, const struct boot_span *image, const struct elf_image *elf)
{
	uint64_t end = image->base + image->size;

	if (elf->lo > image->base)
		gm_fill(mem, image->base, 0, min_u64(elf->lo, end) - image->base);
	if (elf->hi < end)
		gm_fill(mem, max_u64(elf->hi, image->base), 0, end - max_u64(elf->hi, image->base));
}

/* Loads the vmlinux that stands unpacked in guest memory. 1, 0 when it is no ELF file, -errno. */
static int place_vmlinux(const struct boot *boot, const struct boot_platform *platform, const struct boot_span *image,
			 struct placed *out, struct err *err)
{
	const struct linux_info *li = &boot->linux_info;
	struct elf_source src = { .data = gm_map(platform->mem, image->base, image->size), .fd = -1, .size = image->size };
	struct elf_image elf;
	int rc;

	if (!elf_is_elf(src.data, image->size))
		return 0;
	rc = elf_parse(&src, &elf, err);
	if (rc)
		return err_prefix(err, "%s: its payload", boot->kernel.path);
	if (!elf.elf64)
		return err_set(err, -EINVAL, "%s: is a 32-bit Linux kernel; Kite loads 64-bit ones (x86-64)", boot->kernel.path);
	rc = boot_check_elf(boot, platform, &elf, err);
	if (rc)
		return rc;
	rc = elf_load(&elf, &src, platform->mem, err);
	if (rc)
		return err_prefix(err, "%s", boot->kernel.path);
	release_rest(platform->mem, image, &elf);
	*out = (struct placed){ .lo = elf.lo, .hi = elf.hi, .entry = elf.entry };
	if (li->init_size) {
		out->lo = min_u64(out->lo, li->pref_address);
		out->hi = max_u64(out->hi, li->pref_address + li->init_size);
	}
	return 1;
}

/* Where `size` unpacked bytes go: see the top. */
static int choose_image(const struct boot *boot, const struct boot_platform *platform, uint32_t size, struct boot_span *image,
			struct err *err)
{
	const struct linux_info *li = &boot->linux_info;

	if (size == 0 || (li->init_size && size > li->init_size))
		return err_set(err, -EINVAL, "%s: corrupt: its payload says that it unpacks to %u bytes, the header allows %u",
			       boot->kernel.path, size, li->init_size);
	image->base = li->pref_address >= MIB + VMLINUX_ALIGN ? li->pref_address - VMLINUX_ALIGN : MIB;
	image->size = size;
	return boot_check_place(boot, platform, "unpacked kernel", image->base, size, err);
}

/* Unpacks `packed`, the payload, and loads what comes out. As place_vmlinux; 0 also for an unknown format. */
static int unpack_payload(const struct boot *boot, const struct boot_platform *platform, uint8_t *packed, struct boot_span *image,
			  struct err *err)
{
	size_t len = boot->linux_info.payload_size, got;
	enum unpack_format format = unpack_detect(packed, len);
	int rc;

	if (format == UNPACK_UNKNOWN || len < 4)
		return 0;
	rc = choose_image(boot, platform, load_le32(packed + len - 4), image, err);
	if (rc)
		return rc;
	/* gzip data itself ends with the size; behind the others it was appended. */
	rc = unpack(format, packed, format == UNPACK_GZIP ? len : len - 4, gm_map(platform->mem, image->base, image->size),
		    image->size, &got, err);
	if (rc == -ELIBACC) {
		log_warn("%s: its %s; so it is left to unpack itself, which takes longer", boot->kernel.path, err->msg);
		*err = (struct err)ERR_INIT;
		return 0;
	}
	if (rc)
		return err_prefix(err, "%s: its payload", boot->kernel.path);
	if (got != image->size)
		return err_set(err, -EINVAL, "%s: corrupt: its payload says that it unpacks to %ju bytes, and gives %zu",
			       boot->kernel.path, (uintmax_t)image->size, got);
	return 1;
}

static int load_payload(const struct boot *boot, const struct boot_platform *platform, struct placed *out, struct err *err)
{
	const struct linux_info *li = &boot->linux_info;
	struct boot_span image = { 0 };
	uint8_t *packed;
	int rc;

	if (!li->payload_size)
		return 0;
	packed = mmap(NULL, li->payload_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (packed == MAP_FAILED)
		return err_set_errno(err, -errno, "%s: no memory to read it", boot->kernel.path);
	(void)madvise(packed, li->payload_size, MADV_HUGEPAGE);
	rc = boot_file_read(&boot->kernel, packed, li->payload_size, li->payload_off, err);
	if (!rc)
		rc = unpack_payload(boot, platform, packed, &image, err);
	munmap(packed, li->payload_size);
	return rc == 1 ? place_vmlinux(boot, platform, &image, out, err) : rc;
}

/* The kernel unpacks itself: 64-bit entry of the protected-mode part. */
static int load_kernel_part(const struct boot *boot, const struct boot_platform *platform, struct placed *out, struct err *err)
{
	const struct linux_info *li = &boot->linux_info;
	uint64_t need = max_u64(li->init_size, li->kernel_size);
	int rc;

	if (!li->entry64)
		return err_set(err, -EINVAL,
			       "%s: its payload is packed in a way Kite does not know, and boot protocol %u.%02u has no 64-bit entry",
			       boot->kernel.path, li->version >> 8, li->version & 0xff);
	if (li->kernel_size <= ENTRY64_OFFSET)
		return err_set(err, -EINVAL, "%s: corrupt: its protected-mode part has only %ju bytes", boot->kernel.path,
			       (uintmax_t)li->kernel_size);
	rc = boot_check_place(boot, platform, "kernel", li->pref_address, need, err);
	if (rc)
		return rc;
	*out = (struct placed){ .lo = li->pref_address, .hi = li->pref_address + need,
				.entry = li->pref_address + ENTRY64_OFFSET };
	return boot_file_read(&boot->kernel, gm_map(platform->mem, li->pref_address, li->kernel_size), li->kernel_size,
			      li->kernel_off, err);
}

static int bzimage_load(const struct boot *boot, const struct boot_platform *platform, struct boot_entry *entry, struct err *err)
{
	const struct linux_info *li = &boot->linux_info;
	struct placed k;
	int rc;

	if (li->init_size) {
		rc = boot_check_place(boot, platform, "kernel", li->pref_address, li->init_size, err);
		if (rc)
			return rc;
	}
	rc = load_payload(boot, platform, &k, err);
	if (rc == 0)
		rc = load_kernel_part(boot, platform, &k, err);
	return rc < 0 ? rc : finish(boot, platform, li, &k, entry, err);
}

/* An ELF file without any other header: a header as a bzImage of this vmlinux would have it. */
static void vmlinux_header(struct linux_info *li, const struct elf_image *elf)
{
	struct setup_header h = {
		.boot_flag = le16_of(BOOT_FLAG),
		.header = le32_of(HEADER_MAGIC),
		.version = le16_of(VMLINUX_VERSION),
		.initrd_addr_max = le32_of(VMLINUX_INITRD_MAX),
		.kernel_alignment = le32_of(VMLINUX_ALIGN),
		.xloadflags = le16_of(XLF_KERNEL_64),
		.cmdline_size = le32_of(VMLINUX_CMDLINE),
		.pref_address = le64_of(elf->lo),
		.init_size = le32_of((uint32_t)min_u64(elf->hi - elf->lo, UINT32_MAX)),
	};

	memcpy(li->header, &h, sizeof(h));
	li->version = VMLINUX_VERSION;
	li->initrd_max = VMLINUX_INITRD_MAX;
}

static int vmlinux_open(struct boot *boot, struct err *err)
{
	int rc;

	if (!elf_is_elf(boot->head, boot->head_len))
		return 0;
	rc = boot_parse_elf(boot, err);
	if (rc)
		return rc;
	if (!boot->elf.elf64)
		return err_set(err, -EINVAL, "%s: a 32-bit ELF file with neither a multiboot header nor a PVH note",
			       boot->kernel.path);
	vmlinux_header(&boot->linux_info, &boot->elf);
	rc = boot_check_append(boot, VMLINUX_CMDLINE, err);
	if (!rc)
		rc = boot_open_initrd(boot, err);
	return rc ? rc : 1;
}

static int vmlinux_load(const struct boot *boot, const struct boot_platform *platform, struct boot_entry *entry, struct err *err)
{
	struct elf_source src = { .fd = boot->kernel.fd, .size = boot->kernel.size };
	struct placed k = { .lo = boot->elf.lo, .hi = boot->elf.hi, .entry = boot->elf.entry };
	int rc = boot_check_elf(boot, platform, &boot->elf, err);

	if (rc)
		return rc;
	if (elf_load(&boot->elf, &src, platform->mem, err))
		return err_prefix(err, "%s", boot->kernel.path);
	return finish(boot, platform, &boot->linux_info, &k, entry, err);
}

const struct boot_format boot_format_bzimage = { .name = "Linux bzImage", .open = bzimage_open, .load = bzimage_load };
const struct boot_format boot_format_vmlinux = { .name = "ELF64", .open = vmlinux_open, .load = vmlinux_load };
