// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "runtime/kvm/untrap_abi.h"

namespace untrap::vmm {

// A host that speaks the KVM interface of runtime/kvm/abi.h. Descriptors are the host's own; calls may come from any
// thread, KVM_INTERRUPT and untrap_memory_written also while another thread is in KVM_RUN.
class KvmBackend {
  public:
    virtual ~KvmBackend() = default;

    // "soft" or "kvm", as the statistics name it.
    virtual std::string_view name() const = 0;

    // The descriptor of /dev/kvm, or -errno.
    virtual int open() = 0;
    virtual void close(int fd) = 0;

    // What the ioctl returns (0 or more), or -errno. `argument` is a pointer, or a plain number cast to one where the
    // KVM interface has a number.
    virtual int ioctl(int fd, unsigned long request, void* argument) = 0;

    // A file of `bytes` of zeroed memory that the host prefers for guests (native440: in large contiguous pieces), or
    // -errno where there is no such thing; any memory serves then.
    virtual int guest_memory_file(std::uint64_t bytes) = 0;

    // Whether each of its pages costs the host a fault when it is touched first.
    virtual bool guest_memory_in_small_pages() const = 0;

    // The vCPU's kvm_run, or null. It stays until unmap_run() or the end of the backend.
    virtual void* map_run(int vcpu_fd, std::size_t size) = 0;
    virtual void unmap_run(void* run, std::size_t size) = 0;
};

// A number where the KVM interface takes one instead of a pointer.
inline void* ioctl_number(unsigned long value) { return reinterpret_cast<void*>(value); }

enum class HostChoice { automatic, soft, kvm };

// The host to run on. automatic: /dev/kvm if it is a Book E one (a 440's), else soft440. Throws Error when the choice
// cannot be had, with the reason.
std::unique_ptr<KvmBackend> open_host(HostChoice choice);

// The two hosts. make_soft_backend() returns null in a program built without soft440.
std::unique_ptr<KvmBackend> make_device_backend();
std::unique_ptr<KvmBackend> make_soft_backend();

} // namespace untrap::vmm
