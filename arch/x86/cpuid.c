/* SPDX-License-Identifier: MIT */
/*
 * CPUID in three steps: KVM_GET_SUPPORTED_CPUID is the start; per VM, template_* replaces what describes the host's topology by the
 * guest's and applies -cpu; per vCPU, cpuid_apply fills in the APIC id.
 */
#include "arch/x86/cpuid.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/cpuid_features.h"
#include "vmm/arch.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/kvm.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

#define LEAF_VENDOR 0x0
#define LEAF_FEATURES 0x1
#define LEAF_CACHE 0x4
#define LEAF_MORE_FEATURES 0x7
#define LEAF_PMU 0xa
#define LEAF_TOPOLOGY 0xb
#define LEAF_XSAVE 0xd
#define LEAF_TILE 0x1d
#define LEAF_TILE_MULTIPLY 0x1e
#define LEAF_TOPOLOGY_V2 0x1f
#define LEAF_KVM_SIGNATURE 0x40000000
#define LEAF_EXT_FEATURES 0x80000001
#define LEAF_EXT_SIZES 0x80000008
#define LEAF_AMD_CACHE 0x8000001d
#define LEAF_AMD_TOPOLOGY 0x8000001e
#define LEAF_AMD_PMU 0x80000022
#define LEAF_AMD_TOPOLOGY_V2 0x80000026

#define VENDOR_EBX_AMD 0x68747541   /* "Auth"enticAMD */
#define VENDOR_EBX_HYGON 0x6f677948 /* "Hygo"nGenuine */
#define FEATURES_ECX_PDCM BIT(15)
#define FEATURES_ECX_X2APIC BIT(21)
#define FEATURES_ECX_TSC_DEADLINE BIT(24)
#define FEATURES_ECX_HYPERVISOR BIT(31)
#define FEATURES_EDX_HTT BIT(28)
#define EXT_FEATURES_ECX_CMP_LEGACY BIT(1)
#define EXT_FEATURES_ECX_PERFCTR (BIT(23) | BIT(24) | BIT(28)) /* core, northbridge, last-level cache */
#define XCR0_TILE (BIT(17) | BIT(18))

#define TOPOLOGY_TYPE_SMT 1
#define TOPOLOGY_TYPE_CORE 2
#define CACHE_TYPE_MASK 0x1f
#define CACHE_LEVEL(eax) ((eax) >> 5 & 7)

static struct kvm_cpuid_entry2 *entry_find(struct cpuid_template *t, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < t->n; i++) {
		struct kvm_cpuid_entry2 *e = &t->entries[i];

		if (e->function == leaf && (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
			return e;
	}
	return NULL;
}

static uint32_t *entry_register(struct kvm_cpuid_entry2 *e, enum cpuid_reg reg)
{
	switch (reg) {
	case CPUID_EAX:
		return &e->eax;
	case CPUID_EBX:
		return &e->ebx;
	case CPUID_ECX:
		return &e->ecx;
	default:
		return &e->edx;
	}
}

static uint32_t *template_register(struct cpuid_template *t, uint32_t leaf, uint32_t subleaf, enum cpuid_reg reg)
{
	struct kvm_cpuid_entry2 *e = entry_find(t, leaf, subleaf);

	return e ? entry_register(e, reg) : NULL;
}

static void leaf_remove(struct cpuid_template *t, uint32_t leaf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < t->n; i++)
		if (t->entries[i].function != leaf)
			t->entries[kept++] = t->entries[i];
	t->n = kept;
}

/* Room is certain: template_load leaves some, and no more than three are added. */
static void subleaf_add(struct cpuid_template *t, uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx)
{
	t->entries[t->n++] = (struct kvm_cpuid_entry2){
		.function = leaf,
		.index = subleaf,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = eax,
		.ebx = ebx,
		.ecx = ecx,
	};
}

#define ENTRIES_TO_SPARE 8

static int template_load(struct cpuid_template *t, int kvm_fd, struct err *err)
{
	struct kvm_cpuid2 *list;
	int r;

	list = calloc(1, sizeof(*list) + CPUID_MAX_ENTRIES * sizeof(list->entries[0]));
	if (!list)
		return err_set(err, -ENOMEM, "no memory for CPUID");
	list->nent = CPUID_MAX_ENTRIES - ENTRIES_TO_SPARE;
	r = kvm_ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, list);
	if (r < 0) {
		err_set_errno(err, r, "KVM_GET_SUPPORTED_CPUID");
	} else {
		t->n = list->nent;
		memcpy(t->entries, list->entries, list->nent * sizeof(list->entries[0]));
	}
	free(list);
	return r < 0 ? r : 0;
}

/* The local APIC's modes are KVM's to give, and not all kernels list them as supported CPUID. */
static void template_apic_features(struct cpuid_template *t, int kvm_fd)
{
	struct kvm_cpuid_entry2 *features = entry_find(t, LEAF_FEATURES, 0);

	if (!features)
		return;
	features->ecx |= FEATURES_ECX_HYPERVISOR | FEATURES_ECX_X2APIC;
	if (kvm_capability(kvm_fd, KVM_CAP_TSC_DEADLINE_TIMER))
		features->ecx |= FEATURES_ECX_TSC_DEADLINE;
}

static bool template_is_amd(struct cpuid_template *t)
{
	const struct kvm_cpuid_entry2 *vendor = entry_find(t, LEAF_VENDOR, 0);

	return vendor && (vendor->ebx == VENDOR_EBX_AMD || vendor->ebx == VENDOR_EBX_HYGON);
}

/* Leaves 1, 0x80000001 and 0x80000008: how many logical processors share a package. */
static void template_package(struct cpuid_template *t)
{
	unsigned logical = t->topology.cores * t->topology.threads;
	unsigned id_bits = topology_package_shift(&t->topology);
	bool amd = template_is_amd(t);
	struct kvm_cpuid_entry2 *features = entry_find(t, LEAF_FEATURES, 0);
	struct kvm_cpuid_entry2 *ext = entry_find(t, LEAF_EXT_FEATURES, 0);
	struct kvm_cpuid_entry2 *sizes = entry_find(t, LEAF_EXT_SIZES, 0);

	if (features) {
		features->ebx = (features->ebx & 0x0000ff00) | (1u << id_bits) << 16;
		features->edx = logical > 1 ? features->edx | FEATURES_EDX_HTT : features->edx & ~FEATURES_EDX_HTT;
	}
	/* AMD's; reserved on Intel's processors. */
	if (ext && amd && logical > 1)
		ext->ecx |= EXT_FEATURES_ECX_CMP_LEGACY;
	else if (ext)
		ext->ecx &= ~EXT_FEATURES_ECX_CMP_LEGACY;
	if (sizes)
		sizes->ecx = amd && logical > 1 ? id_bits << 12 | (logical - 1) : 0;
}

/* Leaf 0xb by what the guest has; 0x1f and AMD's 0x80000026 only add levels (dies, modules) that it has not. */
static void template_topology_leaf(struct cpuid_template *t)
{
	const struct topology *topo = &t->topology;
	struct kvm_cpuid_entry2 *vendor;

	leaf_remove(t, LEAF_AMD_TOPOLOGY_V2);
	leaf_remove(t, LEAF_TOPOLOGY_V2);
	leaf_remove(t, LEAF_TOPOLOGY);
	vendor = entry_find(t, LEAF_VENDOR, 0);
	if (!vendor || vendor->eax < LEAF_TOPOLOGY)
		return;
	subleaf_add(t, LEAF_TOPOLOGY, 0, topology_core_shift(topo), topo->threads, 0 | TOPOLOGY_TYPE_SMT << 8);
	subleaf_add(t, LEAF_TOPOLOGY, 1, topology_package_shift(topo), topo->cores * topo->threads,
		    1 | TOPOLOGY_TYPE_CORE << 8);
	subleaf_add(t, LEAF_TOPOLOGY, 2, 0, 0, 2);
}

/* Leaf 4 and AMD's 0x8000001d have the same layout: a core's threads share its first two levels, a package the third. */
static void template_caches(struct cpuid_template *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		struct kvm_cpuid_entry2 *e = &t->entries[i];
		unsigned sharing;

		if ((e->function != LEAF_CACHE && e->function != LEAF_AMD_CACHE) || !(e->eax & CACHE_TYPE_MASK))
			continue;
		sharing = 1u << (CACHE_LEVEL(e->eax) >= 3 ? topology_package_shift(&t->topology) :
							    topology_core_shift(&t->topology));
		e->eax = (e->eax & 0x00003fff) | (sharing - 1) << 14;
		if (e->function == LEAF_CACHE)
			e->eax |= ((1u << topology_bits(t->topology.cores)) - 1) << 26;
	}
}

/*
 * KVM lists the tile instructions wherever the host has them, but gives a guest their registers only if the process has asked
 * for that (arch_prctl(2), ARCH_REQ_XCOMP_GUEST_PERM): without, they would be there and not work.
 */
static void template_tiles(struct cpuid_template *t)
{
	static const struct {
		uint32_t subleaf;
		enum cpuid_reg reg;
		uint32_t mask;
	} tile[] = {
		{ 0, CPUID_EDX, BIT(22) | BIT(24) | BIT(25) }, /* AMX-BF16, AMX-TILE, AMX-INT8 */
		{ 1, CPUID_EAX, BIT(21) },                     /* AMX-FP16 */
		{ 1, CPUID_EDX, BIT(8) },                      /* AMX-COMPLEX */
	};
	const struct kvm_cpuid_entry2 *xsave = entry_find(t, LEAF_XSAVE, 0);

	if (xsave && (xsave->eax & XCR0_TILE) == XCR0_TILE)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(tile); i++) {
		uint32_t *reg = template_register(t, LEAF_MORE_FEATURES, tile[i].subleaf, tile[i].reg);

		if (reg)
			*reg &= ~tile[i].mask;
	}
	leaf_remove(t, LEAF_TILE);
	leaf_remove(t, LEAF_TILE_MULTIPLY);
}

static void template_no_pmu(struct cpuid_template *t)
{
	uint32_t *features = template_register(t, LEAF_FEATURES, 0, CPUID_ECX);
	uint32_t *ext = template_register(t, LEAF_EXT_FEATURES, 0, CPUID_ECX);

	leaf_remove(t, LEAF_PMU);
	leaf_remove(t, LEAF_AMD_PMU);
	if (features)
		*features &= ~FEATURES_ECX_PDCM;
	if (ext)
		*ext &= ~EXT_FEATURES_ECX_PERFCTR;
}

/*
 * "-pmu" takes away all that tells of counters, "-kvm" the hypervisor leaves; "migratable" asks for nothing that this CPU model does
 * otherwise.
 */
static bool template_property(struct cpuid_template *t, const struct config_cpu_feature *f)
{
	if (strcmp(f->name, "migratable") == 0)
		return true;
	if (strcmp(f->name, "pmu") == 0) {
		if (!f->on)
			template_no_pmu(t);
		return true;
	}
	if (strcmp(f->name, "kvm") == 0) {
		for (uint32_t leaf = LEAF_KVM_SIGNATURE; !f->on && leaf < LEAF_KVM_SIGNATURE + 0x100; leaf++)
			leaf_remove(t, leaf);
		return true;
	}
	return false;
}

static int template_unknown_feature(const char *name, struct err *err)
{
	const char *near = cpuid_feature_nearest(name);

	return err_set(err, -EINVAL, "-cpu: unknown feature '%s'%s%s%s; -cpu help lists them", name, near ? "; did you mean '" : "",
		       near ? near : "", near ? "'?" : "");
}

static int template_feature(struct cpuid_template *t, const struct config_cpu_feature *f, struct err *err)
{
	const struct cpuid_feature *feature;
	uint32_t *reg, *copy;

	if (template_property(t, f))
		return 0;
	feature = cpuid_feature_find(f->name);
	if (!feature)
		return template_unknown_feature(f->name, err);
	reg = template_register(t, feature->leaf, feature->subleaf, feature->reg);
	/* What KVM supports is in the template already: there is nothing to turn on. */
	if (f->on && !(reg && *reg & feature->mask))
		return err_set(err, -ENOTSUP, "-cpu: KVM on this host cannot give the guest '%s'; leave it out", f->name);
	if (f->on || !reg)
		return 0;
	*reg &= ~feature->mask;
	copy = template_register(t, LEAF_EXT_FEATURES, 0, CPUID_EDX);
	if (feature->leaf == LEAF_FEATURES && feature->reg == CPUID_EDX && copy)
		*copy &= ~(feature->mask & CPUID_AMD_LEAF1_EDX_COPIES); /* reserved zeroes on other vendors' processors */
	return 0;
}

#define PHYS_BITS_DEFAULT 36 /* Intel SDM volume 3, 4.1.4: without leaf 0x80000008 */

static unsigned template_phys_bits(struct cpuid_template *t)
{
	struct kvm_cpuid_entry2 *sizes = entry_find(t, LEAF_EXT_SIZES, 0);
	unsigned bits = sizes ? sizes->eax & 0xff : 0;

	return bits >= PHYS_BITS_DEFAULT && bits <= 52 ? bits : PHYS_BITS_DEFAULT;
}

int cpuid_template_init(struct cpuid_template *template, int kvm_fd, const struct config_cpu *cpu,
			const struct topology *topology, struct err *err)
{
	int r;

	*template = (struct cpuid_template){ .topology = *topology };
	r = template_load(template, kvm_fd, err);
	if (r < 0)
		return r;
	template_apic_features(template, kvm_fd);
	template_package(template);
	template_topology_leaf(template);
	template_caches(template);
	template_tiles(template);
	template->phys_bits = template_phys_bits(template);
	for (size_t i = 0; i < cpu->n_features; i++) {
		r = template_feature(template, &cpu->features[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The fields that differ from vCPU to vCPU. */
static void entry_set_apic_id(struct kvm_cpuid_entry2 *e, const struct topology *topology, uint32_t apic_id)
{
	switch (e->function) {
	case LEAF_FEATURES:
		e->ebx = (e->ebx & 0x00ffffff) | apic_id << 24;
		break;
	case LEAF_TOPOLOGY:
		e->edx = apic_id;
		break;
	case LEAF_AMD_TOPOLOGY:
		e->eax = apic_id;
		e->ebx = (topology->threads - 1) << 8 | (apic_id >> topology_core_shift(topology) & 0xff);
		e->ecx = apic_id >> topology_package_shift(topology) & 0xff; /* one node a package */
		break;
	}
}

int cpuid_apply(struct vcpu *vcpu, const struct cpuid_template *template, uint32_t apic_id, struct err *err)
{
	struct kvm_cpuid2 *list;
	int r;

	list = calloc(1, sizeof(*list) + template->n * sizeof(list->entries[0]));
	if (!list)
		return err_set(err, -ENOMEM, "no memory for CPUID");
	list->nent = template->n;
	memcpy(list->entries, template->entries, template->n * sizeof(list->entries[0]));
	for (uint32_t i = 0; i < template->n; i++)
		entry_set_apic_id(&list->entries[i], &template->topology, apic_id);
	r = kvm_ioctl(vcpu->fd, KVM_SET_CPUID2, list);
	free(list);
	return r < 0 ? err_set_errno(err, r, "vCPU %u: KVM_SET_CPUID2", vcpu->index) : 0;
}

char *arch_cpu_help(void)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fputs("CPU models (-cpu MODEL[,+FEATURE][,-FEATURE][,FEATURE=on|off]):\n"
	      "  host   what KVM on this host supports\n"
	      "  max    the same\n\n"
	      "Properties: migratable, pmu, kvm\n\n"
	      "Features:\n",
	      f);
	for (size_t i = 0; i < cpuid_feature_count(); i++) {
		const struct cpuid_feature *feature = cpuid_feature_at(i);

		fprintf(f, "  %s%s%s%s\n", feature->name, feature->alias ? " (" : "", feature->alias ? feature->alias : "",
			feature->alias ? ")" : "");
	}
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}
