// SPDX-License-Identifier: GPL-2.0-only
#include <cstring>
#include <fmt/format.h>
#include <string>

#include "vmm/devices/diagnostics.h"
#include "vmm/kvm/backend.h"

namespace untrap::vmm {
namespace {

// Empty when the backend is a Book E KVM, else why it is not.
std::string refusal(KvmBackend& backend) {
    const int fd = backend.open();
    if (fd < 0) return std::strerror(-fd);
    std::string reason;
    const int version = backend.ioctl(fd, abi::ioctl_get_api_version, nullptr);
    // A KVM of another architecture encodes the request differently and does not know this one.
    if (version != abi::api_version) {
        reason =
            version < 0 ? "not a PowerPC KVM" : fmt::format("KVM API version {}, not {}", version, abi::api_version);
    } else if (backend.ioctl(fd, abi::ioctl_check_extension, ioctl_number(abi::cap_ppc_booke_sregs)) <= 0) {
        reason = "not the KVM of a Book E processor";
    }
    backend.close(fd);
    return reason;
}

} // namespace

std::unique_ptr<KvmBackend> open_host(HostChoice choice) {
    std::string device_refusal;
    if (choice != HostChoice::soft) {
        std::unique_ptr<KvmBackend> device = make_device_backend();
        device_refusal = refusal(*device);
        if (device_refusal.empty()) return device;
        if (choice == HostChoice::kvm) throw Error(fmt::format("--host kvm: /dev/kvm: {}", device_refusal));
    }
    std::unique_ptr<KvmBackend> soft = make_soft_backend();
    if (soft) return soft;
    if (choice == HostChoice::soft) throw Error("--host soft: this program was built without soft440");
    throw Error(
        fmt::format("no host to run on: /dev/kvm: {}; and this program was built without soft440", device_refusal));
}

} // namespace untrap::vmm
