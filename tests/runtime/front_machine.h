// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/mman.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <initializer_list>

#include "guest.h"
#include "runtime/kvm/untrap_abi.h"
#include "runtime/soft/kvm_front.h"

namespace untrap::tests {

inline constexpr std::uint32_t origin = 0x1000;

inline void* number(std::uintptr_t value) { return reinterpret_cast<void*>(value); }

// A VM of 1 MB with a vCPU at 0x1000.
struct FrontMachine {
    static constexpr std::size_t bytes = 1 << 20;

    explicit FrontMachine(std::uint64_t engine = abi::untrap_engine_interpreter, bool guest_clock = true) {
        system = kvm.open();
        REQUIRE(kvm.ioctl(system, abi::ioctl_get_api_version, nullptr) == 12);
        vm = kvm.ioctl(system, abi::ioctl_create_vm, nullptr);
        REQUIRE(vm >= 0);
        REQUIRE(enable(abi::cap_untrap_engine, engine) == 0);
        REQUIRE(enable(abi::cap_untrap_clock, guest_clock ? 1 : 0) == 0);
        vcpu = kvm.ioctl(vm, abi::ioctl_create_vcpu, nullptr);
        REQUIRE(vcpu >= 0);
        const int size = kvm.ioctl(system, abi::ioctl_get_vcpu_mmap_size, nullptr);
        run = static_cast<abi::kvm_run*>(kvm.map_run(vcpu, static_cast<std::size_t>(size)));
        REQUIRE(run != nullptr);
        ram = static_cast<std::uint8_t*>(
            ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        REQUIRE(set_memory(0, 0, bytes, ram) == 0);
        abi::kvm_regs regs{};
        REQUIRE(kvm.ioctl(vcpu, abi::ioctl_get_regs, &regs) == 0);
        regs.pc = origin;
        REQUIRE(kvm.ioctl(vcpu, abi::ioctl_set_regs, &regs) == 0);
        abi::kvm_sregs sregs{};
        REQUIRE(kvm.ioctl(vcpu, abi::ioctl_get_sregs, &sregs) == 0);
        CHECK(sregs.pvr == isa::spr::pvr_440ep);
        sregs.u.e.ivpr = 0x10000;
        for (std::uint32_t i = 0; i < 16; ++i) sregs.u.e.ivor_low[i] = 0x100 * (i + 1);
        REQUIRE(kvm.ioctl(vcpu, abi::ioctl_set_sregs, &sregs) == 0);
    }
    ~FrontMachine() { ::munmap(ram, bytes); }

    int enable(std::uint32_t cap, std::uint64_t arg0, std::uint64_t arg1 = 0) {
        abi::kvm_enable_cap request{};
        request.cap = cap;
        request.args[0] = arg0;
        request.args[1] = arg1;
        return kvm.ioctl(vm, abi::ioctl_enable_cap, &request);
    }
    int set_memory(std::uint32_t slot, std::uint64_t gpa, std::uint64_t size, void* host, std::uint32_t flags = 0) {
        abi::kvm_userspace_memory_region region{slot, flags, gpa, size, reinterpret_cast<std::uintptr_t>(host)};
        return kvm.ioctl(vm, abi::ioctl_set_user_memory_region, &region);
    }
    int interrupt(std::uint32_t irq) {
        abi::kvm_interrupt request{irq};
        return kvm.ioctl(vcpu, abi::ioctl_interrupt, &request);
    }
    void put(std::uint32_t address, std::initializer_list<std::uint32_t> words) {
        for (const std::uint32_t word : words) {
            runtime::store_big_endian(ram + address, 4, word);
            address += 4;
        }
        abi::UntrapMemoryRange range{address - words.size() * 4, words.size() * 4};
        REQUIRE(kvm.ioctl(vm, abi::untrap_memory_written, &range) == 0);
    }
    int go() { return kvm.ioctl(vcpu, abi::ioctl_run, nullptr); }
    abi::kvm_regs regs() {
        abi::kvm_regs regs{};
        kvm.ioctl(vcpu, abi::ioctl_get_regs, &regs);
        return regs;
    }
    std::uint32_t vector(isa::Interrupt which) { return 0x10000 + 0x100 * (static_cast<std::uint32_t>(which) + 1); }

    runtime::soft::KvmFront kvm;
    int system = -1, vm = -1, vcpu = -1;
    abi::kvm_run* run = nullptr;
    std::uint8_t* ram = nullptr;
};

// ori r5, 0x2000 for EA 0x00200000: mapped by the boot entry, but no memory there.
inline constexpr std::uint32_t device_high = 0x0020;

} // namespace untrap::tests
