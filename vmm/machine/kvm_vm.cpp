// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/kvm_vm.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <utility>

#include "vmm/devices/diagnostics.h"

namespace untrap::vmm {
namespace {

// Enough for a day of shell scripts; 6 MB.
constexpr std::uint64_t exit_sites_kept = std::uint64_t{1} << 17;

// A PowerPC kernel tells the frequency that guests see too: "timebase : 400000000".
std::uint32_t host_timebase_hz() {
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
        if (!line.starts_with("timebase")) continue;
        const std::size_t colon = line.find(':');
        if (colon == std::string::npos) continue;
        const unsigned long long hz = std::strtoull(line.c_str() + colon + 1, nullptr, 10);
        if (hz > 0 && hz <= UINT32_MAX) return static_cast<std::uint32_t>(hz);
    }
    throw Error("/proc/cpuinfo does not tell the host's timebase frequency");
}

// The answer for cap_untrap_clock of a host that can count the guest's instructions.
constexpr int with_guest_clock = 2;

} // namespace

std::string level_list(std::uint64_t levels) {
    std::string list;
    for (unsigned level = abi::untrap_lowest_level; level <= abi::untrap_highest_level; ++level) {
        if ((levels >> level & 1) != 0) list += fmt::format("{}{}", list.empty() ? "" : " ", level);
    }
    return list;
}

ClockKind settled_clock(const MachineOptions& options) {
    if (options.clock != ClockKind::repeatable) return options.clock;
    const std::unique_ptr<KvmBackend> backend = open_host(options.host);
    const int fd = backend->open();
    if (fd < 0) throw Error(fmt::format("host {}: {}", backend->name(), std::strerror(-fd)));
    const int answer = backend->ioctl(fd, abi::ioctl_check_extension, ioctl_number(abi::cap_untrap_clock));
    backend->close(fd);
    return answer >= with_guest_clock ? ClockKind::guest : ClockKind::host;
}

KvmVm::KvmVm(std::unique_ptr<KvmBackend> backend, const MachineOptions& options, bool real_time_idle,
             bool want_statistics, bool want_exit_sites)
    : backend_(std::move(backend)) {
    try {
        kvm_fd_ = backend_->open();
        if (kvm_fd_ < 0) throw Error(fmt::format("host {}: {}", host_name(), std::strerror(-kvm_fd_)));
        vm_fd_ = call(kvm_fd_, abi::ioctl_create_vm, ioctl_number(0), "KVM_CREATE_VM");
        configure(options, real_time_idle, want_statistics);
        if (want_exit_sites) keep_exit_sites();
        vcpu_fd_ = call(vm_fd_, abi::ioctl_create_vcpu, ioctl_number(0), "KVM_CREATE_VCPU");
        const int bytes = call(kvm_fd_, abi::ioctl_get_vcpu_mmap_size, nullptr, "KVM_GET_VCPU_MMAP_SIZE");
        run_bytes_ = static_cast<std::size_t>(bytes);
        if (run_bytes_ < sizeof(abi::kvm_run)) {
            throw Error(fmt::format("host {}: a kvm_run of {} bytes is too small", host_name(), bytes));
        }
        run_ = static_cast<abi::kvm_run*>(backend_->map_run(vcpu_fd_, run_bytes_));
        if (run_ == nullptr) throw Error(fmt::format("host {}: kvm_run cannot be mapped", host_name()));
    } catch (...) {
        release();
        throw;
    }
}

KvmVm::~KvmVm() { release(); }

void KvmVm::release() {
    if (run_ != nullptr) backend_->unmap_run(run_, run_bytes_);
    for (const int fd : {vcpu_fd_, vm_fd_, kvm_fd_}) {
        if (fd >= 0) backend_->close(fd);
    }
}

int KvmVm::call(int fd, std::uint32_t request, void* argument, std::string_view what) {
    const int result = backend_->ioctl(fd, request, argument);
    if (result < 0) throw Error(fmt::format("host {}: {}: {}", host_name(), what, std::strerror(-result)));
    return result;
}

int KvmVm::check_extension(std::uint32_t capability) {
    const int answer = backend_->ioctl(kvm_fd_, abi::ioctl_check_extension, ioctl_number(capability));
    return answer < 0 ? 0 : answer;
}

void KvmVm::enable(std::uint32_t capability, std::uint64_t arg0, std::uint64_t arg1, const std::string& what) {
    abi::kvm_enable_cap request{};
    request.cap = capability;
    request.args[0] = arg0;
    request.args[1] = arg1;
    call(vm_fd_, abi::ioctl_enable_cap, &request, what);
}

void KvmVm::choose_levels(const MachineOptions& options) {
    const auto offered = static_cast<std::uint64_t>(check_extension(abi::cap_untrap_levels)) &
                         abi::untrap_levels_up_to(abi::untrap_highest_level);
    if (options.patch) {
        if (offered == 0) {
            throw Error(fmt::format("host {} does not patch; --mode trap runs without", host_name()));
        }
        levels_ = options.levels.value_or(offered);
        if ((levels_ & ~offered) != 0) {
            throw Error(fmt::format("patch level {} is not available on host {}, which has {}",
                                    level_list(levels_ & ~offered), host_name(), level_list(offered)));
        }
    }
    if (offered != 0) enable(abi::cap_untrap_levels, levels_, 0, "setting the patch levels");
}

void KvmVm::configure(const MachineOptions& options, bool real_time_idle, bool want_statistics) {
    has_additions_ = check_extension(abi::cap_untrap) > 0;
    if (want_statistics && !has_additions_) {
        throw Error(fmt::format("host {} keeps no statistics that untrap can read", host_name()));
    }
    choose_levels(options);
    const int clocks = check_extension(abi::cap_untrap_clock);
    if (options.clock == ClockKind::guest && clocks < with_guest_clock) {
        throw Error(fmt::format("--clock guest is not available on host {}", host_name()));
    }
    if (clocks > 0) {
        enable(abi::cap_untrap_clock,
               options.clock == ClockKind::guest ? abi::untrap_clock_guest : abi::untrap_clock_host,
               real_time_idle ? 1 : 0, "setting the clock");
    }
    const bool has_engine = check_extension(abi::cap_untrap_engine) > 0;
    if (has_engine) {
        enable(abi::cap_untrap_engine,
               options.engine == EngineKind::interpreter ? abi::untrap_engine_interpreter : abi::untrap_engine_jit, 0,
               "choosing the engine");
    } else if (options.engine == EngineKind::interpreter) {
        throw Error(fmt::format("--engine interpreter is not available on host {}", host_name()));
    }
    if (options.disabled != 0) {
        const auto offered = static_cast<std::uint32_t>(check_extension(abi::cap_untrap_disable));
        if ((options.disabled & ~offered) != 0) {
            throw Error(fmt::format("--disable is not available on host {}", host_name()));
        }
        enable(abi::cap_untrap_disable, options.disabled, 0, "setting --disable");
    }
    if (options.hot_threshold) {
        enable(abi::cap_untrap_threshold, *options.hot_threshold, 0, "setting --hot-threshold");
    }
    if (options.patch_memory) {
        const auto most = static_cast<std::uint64_t>(check_extension(abi::cap_untrap_patch_memory));
        if (most == 0) throw Error(fmt::format("--patch-memory is not available on host {}", host_name()));
        if (*options.patch_memory > most)
            throw Error(fmt::format("--patch-memory: host {} has {} MiB at most", host_name(), most >> 20));
        enable(abi::cap_untrap_patch_memory, *options.patch_memory, 0, "setting --patch-memory");
    }
    // soft440 has the one frequency of the interface; a real 440 lets the guest read its own timebase.
    if (host_name() == "kvm") timebase_hz_ = host_timebase_hz();
}

void KvmVm::keep_exit_sites() {
    if (check_extension(abi::cap_untrap_exit_sites) <= 0) {
        throw Error(fmt::format("host {} does not tell exits apart by site", host_name()));
    }
    enable(abi::cap_untrap_exit_sites, exit_sites_kept, 0, "asking for exits by site");
}

void KvmVm::add_memory(std::span<const GuestMemory::Region> regions) {
    std::uint32_t slot = 0;
    for (const GuestMemory::Region& region : regions) {
        abi::kvm_userspace_memory_region request{};
        request.slot = slot++;
        request.flags = region.read_only ? abi::mem_readonly : 0;
        request.guest_phys_addr = region.base;
        request.memory_size = region.size;
        request.userspace_addr = reinterpret_cast<std::uintptr_t>(region.host);
        call(vm_fd_, abi::ioctl_set_user_memory_region, &request, "KVM_SET_USER_MEMORY_REGION");
    }
}

void KvmVm::set_boot_registers(const BootRegisters& boot) {
    abi::kvm_regs registers{};
    call(vcpu_fd_, abi::ioctl_get_regs, &registers, "KVM_GET_REGS");
    for (std::uint64_t& gpr : registers.gpr) gpr = 0;
    registers.pc = boot.pc;
    registers.gpr[1] = boot.r1;
    registers.gpr[3] = boot.r3;
    registers.gpr[6] = boot.r6;
    registers.gpr[7] = boot.r7;
    call(vcpu_fd_, abi::ioctl_set_regs, &registers, "KVM_SET_REGS");
}

int KvmVm::run() { return backend_->ioctl(vcpu_fd_, abi::ioctl_run, nullptr); }

// The page of the vCPU's mapping that a capability tells, or null.
void* KvmVm::device_page(std::uint32_t capability, std::size_t bytes) {
    constexpr std::size_t page = 4096;
    const auto number = static_cast<std::size_t>(check_extension(capability));
    if (number == 0 || number * page + bytes > run_bytes_) return nullptr;
    return reinterpret_cast<std::uint8_t*>(run_) + number * page;
}

abi::UntrapRegisters* KvmVm::device_registers() {
    ring_ = static_cast<abi::kvm_coalesced_mmio_ring*>(device_page(abi::cap_coalesced_mmio, sizeof *ring_));
    if (ring_ == nullptr) return nullptr;
    return static_cast<abi::UntrapRegisters*>(device_page(abi::cap_untrap_registers, sizeof(abi::UntrapRegisters)));
}

void KvmVm::coalesce(std::uint64_t base, std::uint32_t bytes) {
    abi::kvm_coalesced_mmio_zone zone{.addr = base, .size = bytes, .pio = 0};
    call(vm_fd_, abi::ioctl_register_coalesced_mmio, &zone, "KVM_REGISTER_COALESCED_MMIO");
}

void KvmVm::set_external_interrupt(bool asserted) {
    abi::kvm_interrupt request{.irq = asserted ? abi::interrupt_set_level : abi::interrupt_unset};
    call(vcpu_fd_, abi::ioctl_interrupt, &request, "KVM_INTERRUPT");
}

void KvmVm::memory_written(std::uint64_t gpa, std::uint64_t bytes) {
    if (!has_additions_) return;
    abi::UntrapMemoryRange range{.gpa = gpa, .len = bytes};
    call(vm_fd_, abi::untrap_memory_written, &range, "telling of written memory");
}

std::optional<abi::UntrapStats> KvmVm::statistics() {
    abi::UntrapStats stats{};
    if (!has_additions_ || backend_->ioctl(vcpu_fd_, abi::untrap_get_stats, &stats) < 0) return std::nullopt;
    return stats;
}

std::vector<abi::UntrapExitSite> KvmVm::exit_sites() {
    std::vector<abi::UntrapExitSite> all;
    std::vector<abi::UntrapExitSite> part(4096);
    abi::UntrapExitSites request{};
    do {
        request.sites = reinterpret_cast<std::uintptr_t>(part.data());
        request.count = static_cast<std::uint32_t>(part.size());
        call(vcpu_fd_, abi::untrap_get_exit_sites, &request, "reading the exits by site");
        all.insert(all.end(), part.begin(), part.begin() + std::min<std::ptrdiff_t>(request.count, std::ssize(part)));
    } while (request.next != 0);
    return all;
}

void KvmVm::set_known_sites(std::span<const abi::UntrapHotSite> sites) {
    if (check_extension(abi::cap_untrap_hot_sites) <= 0) {
        throw Error(fmt::format("--site-cache is not available on host {}", host_name()));
    }
    abi::UntrapHotSites request{.sites = reinterpret_cast<std::uintptr_t>(sites.data()),
                                .count = static_cast<std::uint32_t>(sites.size()),
                                .next = 0};
    call(vm_fd_, abi::untrap_set_known_sites, &request, "giving the known hot sites");
}

std::vector<abi::UntrapHotSite> KvmVm::hot_sites() {
    std::vector<abi::UntrapHotSite> all;
    std::vector<abi::UntrapHotSite> part(4 * std::size_t{abi::untrap_hot_sites_in_page});
    abi::UntrapHotSites request{};
    do {
        request.sites = reinterpret_cast<std::uintptr_t>(part.data());
        request.count = static_cast<std::uint32_t>(part.size());
        call(vcpu_fd_, abi::untrap_get_hot_sites, &request, "reading the hot sites");
        all.insert(all.end(), part.begin(), part.begin() + std::min<std::ptrdiff_t>(request.count, std::ssize(part)));
    } while (request.next != 0);
    return all;
}

std::string KvmVm::set_translations(std::span<const std::uint8_t> image) {
    if (check_extension(abi::cap_untrap_translations) <= 0) {
        throw Error(fmt::format("--code-cache is not available on host {}", host_name()));
    }
    if (image.empty()) return {};
    abi::UntrapTranslations request{.image = reinterpret_cast<std::uintptr_t>(image.data()), .bytes = image.size()};
    switch (const int result = backend_->ioctl(vm_fd_, abi::untrap_set_translations, &request); result) {
    case 0: return {};
    case -EINVAL: return "damaged";
    case -ESTALE: return "of another program, host or configuration";
    default: return std::strerror(-result);
    }
}

FileBuffer KvmVm::translations() {
    abi::UntrapTranslations request{};
    FileBuffer image;
    while (backend_->ioctl(vcpu_fd_, abi::untrap_get_translations, &request) == -E2BIG) {
        image = FileBuffer(static_cast<std::size_t>(request.bytes));
        request.image = reinterpret_cast<std::uintptr_t>(image.bytes().data());
    }
    return image;
}

std::optional<abi::kvm_regs> KvmVm::registers() {
    abi::kvm_regs registers{};
    if (backend_->ioctl(vcpu_fd_, abi::ioctl_get_regs, &registers) < 0) return std::nullopt;
    return registers;
}

std::optional<abi::kvm_sregs> KvmVm::special_registers() {
    abi::kvm_sregs registers{};
    if (backend_->ioctl(vcpu_fd_, abi::ioctl_get_sregs, &registers) < 0) return std::nullopt;
    return registers;
}

std::optional<std::uint64_t> KvmVm::translate(std::uint32_t effective_address) {
    abi::kvm_translation translation{};
    translation.linear_address = effective_address;
    if (backend_->ioctl(vcpu_fd_, abi::ioctl_translate, &translation) < 0 || translation.valid == 0) {
        return std::nullopt;
    }
    return translation.physical_address;
}

} // namespace untrap::vmm
