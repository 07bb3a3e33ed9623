// SPDX-License-Identifier: GPL-2.0-only
// debugfs, below kvm/: a file for each statistic with the sum over all VMs, and the exit timing of each vCPU.

#include <linux/debugfs.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <asm/time.h>

#include "kmod/statistics.h"
#include "kmod/vm.h"

static struct dentry* directory;

// ---- sums ----------------------------------------------------------------------------------------------------------

struct sum {
    const struct untrap_statistic* statistic;
    struct untrap_core_statistics* core; // scratch
    u64 value;
};

static void add_vm(struct untrap_vm* vm, void* data) {
    struct untrap_vcpu* vcpu = smp_load_acquire(&vm->vcpu);
    struct sum* sum = data;

    if (!vcpu) return;
    untrap_core_statistics(vcpu->core, sum->core);
    sum->value += untrap_statistic_value(sum->statistic, vcpu, sum->core);
}

static int get_sum(void* data, u64* value) {
    struct sum sum = {.statistic = data};

    sum.core = kmalloc(sizeof(*sum.core), GFP_KERNEL);
    if (!sum.core) return -ENOMEM;
    untrap_vm_for_each(add_vm, &sum);
    kfree(sum.core);
    *value = sum.value;
    return 0;
}

DEFINE_DEBUGFS_ATTRIBUTE(sum_fops, get_sum, NULL, "%llu\n");

// ---- exit timing ---------------------------------------------------------------------------------------------------

static void count_exits(struct untrap_vcpu* vcpu, struct untrap_core_statistics* core, u64* exits, u64* total) {
    untrap_core_statistics(vcpu->core, core);
    memcpy(exits, core->exits, sizeof(core->exits));
    *total = core->exits_total;
}

// Under timing_lock. Switching on clears.
static void switch_timing(struct untrap_vcpu* vcpu, bool on, struct untrap_core_statistics* core) {
    struct untrap_timing* timing = &vcpu->timing;

    untrap_core_set_timing(vcpu->core, on);
    if (on) count_exits(vcpu, core, timing->first, &timing->first_total);
    if (timing->on || on) count_exits(vcpu, core, timing->last, &timing->last_total);
    timing->on = on;
}

static int control_timing(struct untrap_vcpu* vcpu, char command) {
    struct untrap_core_statistics* core = kmalloc(sizeof(*core), GFP_KERNEL);
    bool was_on;

    if (!core) return -ENOMEM;
    mutex_lock(&vcpu->timing_lock);
    was_on = vcpu->timing.on;
    if (command != '0') switch_timing(vcpu, true, core);
    if (command == '0' || (command == 'c' && !was_on)) switch_timing(vcpu, false, core);
    mutex_unlock(&vcpu->timing_lock);
    kfree(core);
    return 0;
}

static u64 microseconds(u64 ticks) { return div_u64(ticks, max_t(u32, tb_ticks_per_usec, 1)); }

static void show_row(struct seq_file* file, const char* name, u64 count, u64 min, u64 max, u64 sum, u64 squares) {
    seq_printf(file, "%12s\t%10llu\t%10llu\t%10llu\t%20llu\t%20llu\n", name, count, microseconds(min),
               microseconds(max), microseconds(sum), microseconds(microseconds(squares)));
}

static int show_timing(struct seq_file* file, void* unused) {
    struct untrap_vcpu* vcpu = file->private;
    const struct untrap_timing* timing = &vcpu->timing;
    const u32 reasons = min_t(u32, untrap_core_exit_reason_count(), UNTRAP_CORE_EXIT_SLOTS);
    struct untrap_core_statistics* core = kmalloc(sizeof(*core), GFP_KERNEL);
    u32 i;

    if (!core) return -ENOMEM;
    mutex_lock(&vcpu->timing_lock);
    untrap_core_statistics(vcpu->core, core);
    seq_puts(file, "type\tcount\tmin\tmax\tsum\tsum_squared\n");
    for (i = 0; i != reasons; ++i) {
        const u64 count = (timing->on ? core->exits[i] : timing->last[i]) - timing->first[i];

        show_row(file, untrap_core_exit_name(i), count, count != 0 ? core->time_min[i] : 0, core->time_max[i],
                 core->time_sum[i], core->time_squares[i]);
    }
    show_row(file, "TIMEINGUEST", (timing->on ? core->exits_total : timing->last_total) - timing->first_total, 0, 0,
             core->time_in_guest, 0);
    mutex_unlock(&vcpu->timing_lock);
    kfree(core);
    return 0;
}

static ssize_t write_timing(struct file* file, const char __user* buffer, size_t count, loff_t* position) {
    struct seq_file* sequence = file->private_data;
    char text[2] = {};
    int result;

    // One character, and a newline if it comes from echo.
    if (count == 0 || count > sizeof(text)) return -EINVAL;
    if (copy_from_user(text, buffer, count)) return -EFAULT;
    if (count == 2 && text[1] != '\n') return -EINVAL;
    if (text[0] != 'c' && text[0] != '0' && text[0] != '1') return -EINVAL;
    result = control_timing(sequence->private, text[0]);
    return result ? result : (ssize_t)count;
}

static int open_timing(struct inode* inode, struct file* file) {
    return single_open(file, show_timing, inode->i_private);
}

static const struct file_operations timing_fops = {
    .owner = THIS_MODULE,
    .open = open_timing,
    .read = seq_read,
    .write = write_timing,
    .llseek = seq_lseek,
    .release = single_release,
};

struct same_pid {
    const struct untrap_vm* vm;
    bool found;
};

static void find_same_pid(struct untrap_vm* vm, void* data) {
    struct same_pid* search = data;

    if (vm != search->vm && vm->pid == search->vm->pid && vm->vcpu) search->found = true;
}

void untrap_debugfs_add_vcpu(struct untrap_vcpu* vcpu) {
    struct same_pid search = {.vm = vcpu->vm};
    char name[48];

    if (untrap_exit_timing) control_timing(vcpu, '1');
    // The old names; a thread's second VM gets one of its own.
    untrap_vm_for_each(find_same_pid, &search);
    if (search.found)
        snprintf(name, sizeof(name), "vm%d-%u_vcpu0_timing", vcpu->vm->pid, vcpu->vm->serial);
    else
        snprintf(name, sizeof(name), "vm%d_vcpu0_timing", vcpu->vm->pid);
    vcpu->timing_file = debugfs_create_file(name, 0600, directory, vcpu, &timing_fops);
}

// Waits for those who are reading it.
void untrap_debugfs_remove_vcpu(struct untrap_vcpu* vcpu) { debugfs_remove(vcpu->timing_file); }

void untrap_debugfs_init(void) {
    u32 i;

    directory = debugfs_create_dir("kvm", NULL);
    for (i = 0; i != untrap_statistic_count; ++i)
        debugfs_create_file_unsafe(untrap_statistics[i].name, 0444, directory, (void*)&untrap_statistics[i], &sum_fops);
}

void untrap_debugfs_exit(void) { debugfs_remove(directory); }
