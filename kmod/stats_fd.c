// SPDX-License-Identifier: GPL-2.0-only
// KVM_GET_STATS_FD: a descriptor whose file holds a header, a name, descriptions of statistics and their values.

#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "kmod/statistics.h"
#include "kmod/vm.h"

#define NAME_BYTES 48

// struct kvm_stats_desc, whose name is of different lengths in different kernels' headers.
struct description {
    u32 flags;
    s16 exponent;
    u16 size;
    u32 offset;
    u32 bucket_size;
    char name[NAME_BYTES];
};

// All but the values, the same for each VM, or for each vCPU; the identification is filled in when it is read.
struct layout {
    struct kvm_stats_header header;
    char id[NAME_BYTES];
    struct description descriptions[];
};

static_assert(offsetof(struct description, name) == offsetof(struct kvm_stats_desc, name));
static_assert(sizeof(struct layout) == sizeof(struct kvm_stats_header) + NAME_BYTES);

static struct layout* vm_layout;
static struct layout* vcpu_layout;

static const char* const vm_names[] = {"memory_slots", "memory_pages", "pinned_pages"};

static struct layout* new_layout(u32 count) {
    struct layout* layout = kzalloc(struct_size(layout, descriptions, count), GFP_KERNEL);

    if (!layout) return NULL;
    layout->header.name_size = NAME_BYTES;
    layout->header.num_desc = count;
    layout->header.id_offset = offsetof(struct layout, id);
    layout->header.desc_offset = offsetof(struct layout, descriptions);
    layout->header.data_offset = struct_size(layout, descriptions, count);
    return layout;
}

static void describe(struct layout* layout, u32 index, const char* name, bool instant) {
    struct description* description = &layout->descriptions[index];

    description->flags =
        (instant ? KVM_STATS_TYPE_INSTANT : KVM_STATS_TYPE_CUMULATIVE) | KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10;
    description->size = 1;
    description->offset = index * sizeof(u64);
    strscpy(description->name, name, sizeof(description->name));
}

int untrap_stats_init(void) {
    u32 i;

    vm_layout = new_layout(ARRAY_SIZE(vm_names));
    vcpu_layout = new_layout(untrap_statistic_count);
    if (!vm_layout || !vcpu_layout) {
        untrap_stats_exit();
        return -ENOMEM;
    }
    for (i = 0; i != ARRAY_SIZE(vm_names); ++i) describe(vm_layout, i, vm_names[i], true);
    for (i = 0; i != untrap_statistic_count; ++i)
        describe(vcpu_layout, i, untrap_statistics[i].long_name, untrap_statistics[i].instant);
    return 0;
}

void untrap_stats_exit(void) {
    kfree(vm_layout);
    kfree(vcpu_layout);
}

// ---- reading -------------------------------------------------------------------------------------------------------

// A whole file with room for the values, to which *values points.
static struct layout* new_contents(const struct layout* layout, u64** values, size_t* bytes) {
    struct layout* contents;

    *bytes = layout->header.data_offset + layout->header.num_desc * sizeof(u64);
    contents = kzalloc(*bytes, GFP_KERNEL_ACCOUNT);
    if (!contents) return NULL;
    memcpy(contents, layout, layout->header.data_offset);
    *values = (u64*)((u8*)contents + layout->header.data_offset);
    return contents;
}

static ssize_t vm_read(struct file* file, char __user* buffer, size_t size, loff_t* position) {
    const struct untrap_vm* vm = file->private_data;
    struct layout* contents;
    size_t bytes;
    u64* values;
    ssize_t result;

    contents = new_contents(vm_layout, &values, &bytes);
    if (!contents) return -ENOMEM;
    snprintf(contents->id, sizeof(contents->id), "kvm-%d", vm->pid);
    values[0] = vm->slot_count;
    values[1] = vm->slot_pages;
    values[2] = vm->pinned_pages;
    result = simple_read_from_buffer(buffer, size, position, contents, bytes);
    kfree(contents);
    return result;
}

static ssize_t vcpu_read(struct file* file, char __user* buffer, size_t size, loff_t* position) {
    const struct untrap_vcpu* vcpu = file->private_data;
    struct untrap_core_statistics* core = kmalloc(sizeof(*core), GFP_KERNEL_ACCOUNT);
    struct layout* contents;
    size_t bytes;
    u64* values;
    ssize_t result = -ENOMEM;
    u32 i;

    if (!core) return -ENOMEM;
    contents = new_contents(vcpu_layout, &values, &bytes);
    if (!contents) goto free_core;
    snprintf(contents->id, sizeof(contents->id), "kvm-%d/vcpu-0", vcpu->vm->pid);
    untrap_core_statistics(vcpu->core, core);
    for (i = 0; i != untrap_statistic_count; ++i) values[i] = untrap_statistic_value(&untrap_statistics[i], vcpu, core);
    result = simple_read_from_buffer(buffer, size, position, contents, bytes);
    kfree(contents);
free_core:
    kfree(core);
    return result;
}

// ---- descriptors ---------------------------------------------------------------------------------------------------

static int vm_release(struct inode* inode, struct file* file) {
    untrap_vm_put(file->private_data);
    return 0;
}

static int vcpu_release(struct inode* inode, struct file* file) {
    struct untrap_vcpu* vcpu = file->private_data;

    untrap_vm_put(vcpu->vm);
    return 0;
}

static const struct file_operations vm_stats_fops = {
    .owner = THIS_MODULE,
    .read = vm_read,
    .release = vm_release,
    .llseek = noop_llseek,
};

static const struct file_operations vcpu_stats_fops = {
    .owner = THIS_MODULE,
    .read = vcpu_read,
    .release = vcpu_release,
    .llseek = noop_llseek,
};

static int new_fd(const char* name, const struct file_operations* fops, struct untrap_vm* vm, void* object) {
    struct file* file;
    const int fd = get_unused_fd_flags(O_CLOEXEC);

    if (fd < 0) return fd;
    file = anon_inode_getfile(name, fops, object, O_RDONLY);
    if (IS_ERR(file)) {
        put_unused_fd(fd);
        return PTR_ERR(file);
    }
    untrap_vm_get(vm);
    file->f_mode |= FMODE_PREAD;
    fd_install(fd, file);
    return fd;
}

int untrap_vm_stats_fd(struct untrap_vm* vm) { return new_fd("kvm-vm-stats", &vm_stats_fops, vm, vm); }

int untrap_vcpu_stats_fd(struct untrap_vcpu* vcpu) {
    return new_fd("kvm-vcpu-stats:0", &vcpu_stats_fops, vcpu->vm, vcpu);
}
