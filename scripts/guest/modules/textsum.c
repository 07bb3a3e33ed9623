// SPDX-License-Identifier: GPL-2.0-only
// A module of the guest: reads the whole text of its kernel, word by word, and gives a sum of it in its parameter
// `sum`. Whatever a hypervisor makes of that text, the guest must find its own words. Left out are words that the
// kernel itself rewrites as it goes along: the nops and branches of its jump labels.
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>

static uint rounds = 1;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "how often the text is read; the sums must agree");
static uint words;
module_param(words, uint, 0444);
static uint sum;
module_param(sum, uint, 0444);

// Not exported. A probe that is never armed knows where it is.
static unsigned long address_of(const char* name) {
    struct kprobe probe = {.symbol_name = "kallsyms_lookup_name", .flags = KPROBE_FLAG_DISABLED};
    unsigned long (*lookup)(const char* name);

    if (register_kprobe(&probe) != 0) return 0;
    lookup = (void*)probe.addr;
    unregister_kprobe(&probe);
    return lookup(name);
}

static bool rewritten(u32 word) { return word == 0x60000000 || (word & 0xfc000003) == 0x48000000; }

static u32 sum_of(const u32* from, const u32* to) {
    u32 value = 0x811c9dc5;

    words = 0;
    for (; from != to; ++from) {
        const u32 word = READ_ONCE(*from);

        if ((unsigned long)from % 4096 == 0) cond_resched();
        if (rewritten(word)) continue;
        value = (value ^ word) * 0x01000193;
        ++words;
    }
    return value;
}

static int __init textsum_start(void) {
    const u32* const from = (const u32*)address_of("_stext");
    const u32* const to = (const u32*)address_of("_etext");
    uint round;

    if (!from || to <= from) return -ENOENT;
    sum = sum_of(from, to);
    for (round = 1; round < rounds; ++round)
        if (sum_of(from, to) != sum) return -EIO;
    return 0;
}

static void __exit textsum_end(void) {}

module_init(textsum_start);
module_exit(textsum_end);
MODULE_DESCRIPTION("sum of the kernel's text");
MODULE_LICENSE("GPL");
