// SPDX-License-Identifier: GPL-2.0-only

// soft440 behind the KVM interface.

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/soft/kvm_front.h"
#include "vmm/kvm/backend.h"

namespace untrap::vmm {
namespace {

class SoftBackend final : public KvmBackend {
  public:
    std::string_view name() const override { return "soft"; }
    int open() override { return front_.open(); }
    void close(int fd) override { front_.close(fd); }
    int ioctl(int fd, unsigned long request, void* argument) override { return front_.ioctl(fd, request, argument); }
    int guest_memory_file(std::uint64_t bytes) override {
        // Any memory serves, but only pages of a file can be mapped a second time, where hot code finds them by itself.
        const int file = ::memfd_create("guest memory", MFD_CLOEXEC);
        if (file < 0) return -errno;
        if (::ftruncate(file, static_cast<off_t>(bytes)) == 0) return file;
        const int error = errno;
        ::close(file);
        return -error;
    }
    bool guest_memory_in_small_pages() const override { return true; }
    void* map_run(int vcpu_fd, std::size_t size) override { return front_.map_run(vcpu_fd, size); }
    void unmap_run(void*, std::size_t) override {} // the page goes with its vCPU

  private:
    runtime::soft::KvmFront front_;
};

} // namespace

std::unique_ptr<KvmBackend> make_soft_backend() { return std::make_unique<SoftBackend>(); }

} // namespace untrap::vmm
