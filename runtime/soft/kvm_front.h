// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <memory>

namespace untrap::runtime::soft {

// soft440 behind the KVM interface of runtime/kvm/abi.h and untrap_abi.h: open, ioctl, mmap and close of /dev/kvm and
// its VM and vCPU descriptors, in process. Descriptors are numbers of this object only.
//
// What is different from a kernel: one vCPU per VM, with id 0. Guest memory must not be given, changed or taken away
// while the vCPU runs (-EBUSY). KVM_RUN ends with KVM_EXIT_MMIO and KVM_EXIT_DCR for devices, KVM_EXIT_SHUTDOWN for a
// reset, and KVM_EXIT_INTERNAL_ERROR for a guest that cannot go on: internal.data then holds pc, MSR, and from data[2]
// on the reason as NUL-terminated text.
//
// Every call may come from any thread. KVM_INTERRUPT and untrap_memory_written do not wait for a KVM_RUN in progress,
// nor does KVM_GET_DIRTY_LOG, which takes the log between two slices of it, nor a write of 1 to
// kvm_run.immediate_exit, which ends it within a few milliseconds.
class KvmFront {
  public:
    KvmFront();
    ~KvmFront();
    KvmFront(const KvmFront&) = delete;
    KvmFront& operator=(const KvmFront&) = delete;

    // A descriptor of /dev/kvm.
    int open();
    // What the ioctl returns (0 or more), or -errno. arg is a pointer, or a number where KVM takes one.
    int ioctl(int fd, unsigned long request, void* arg);
    // The vCPU's kvm_run; nullptr for a wrong descriptor or size. It lives as long as the vCPU: until its descriptor
    // and that of a KVM_RUN in progress are closed.
    void* map_run(int vcpu_fd, std::size_t size);
    // 0 or -EBADF. A VM lives as long as one of its descriptors.
    int close(int fd);

  private:
    struct Descriptors;
    std::unique_ptr<Descriptors> descriptors_;
};

} // namespace untrap::runtime::soft
