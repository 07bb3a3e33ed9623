// SPDX-License-Identifier: GPL-2.0-only

// The host's own /dev/kvm.

#include <cerrno>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/kvm/backend.h"

namespace untrap::vmm {
namespace {

class DeviceBackend final : public KvmBackend {
  public:
    std::string_view name() const override { return "kvm"; }

    int open() override {
        const int fd = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
    }

    void close(int fd) override { ::close(fd); }

    int ioctl(int fd, unsigned long request, void* argument) override {
        const int result = ::ioctl(fd, request, argument);
        return result < 0 ? -errno : result;
    }

    int guest_memory_file(std::uint64_t bytes) override {
        const int kvm = open();
        if (kvm < 0) return kvm;
        int file = -ENOSYS;
        // Mainline's files of this kind cannot be mapped.
        if (ioctl(kvm, abi::ioctl_check_extension, ioctl_number(abi::cap_untrap)) > 0) {
            abi::UntrapGuestMemory request{.size = bytes, .flags = 0, .reserved = {}};
            file = ioctl(kvm, abi::untrap_create_guest_memory, &request);
        }
        close(kvm);
        return file;
    }

    bool guest_memory_in_small_pages() const override { return false; }

    void* map_run(int vcpu_fd, std::size_t size) override {
        void* const run = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
        return run == MAP_FAILED ? nullptr : run;
    }

    void unmap_run(void* run, std::size_t size) override { ::munmap(run, size); }
};

} // namespace

std::unique_ptr<KvmBackend> make_device_backend() { return std::make_unique<DeviceBackend>(); }

} // namespace untrap::vmm
