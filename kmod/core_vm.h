// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "kmod/core_api.h"
#include "runtime/exit_sites.h"
#include "runtime/kvm/untrap_abi.h"
#include "runtime/native/native_engine.h"
#include "runtime/native/world.h"
#include "runtime/patch_registry.h"
#include "runtime/physical_memory.h"
#include "runtime/vcpu.h"

namespace untrap::runtime::native {

struct NativeVm;

// Linux, as the core sees it.
class LinuxHost final : public NativeHost {
  public:
    explicit LinuxHost(void* host) : host_(host) {}
    // Whom between_slices() tells that KVM_RUN shall end.
    void set_vcpu(NativeVm& vm, Vcpu& vcpu, World& world) {
        vm_ = &vm;
        vcpu_ = &vcpu;
        world_ = &world;
    }
    void* cookie() const { return host_; }

    std::uint64_t now() override;
    void warn(const char* message, std::uint32_t pc, std::uint32_t word) override {
        untrap_host_warn(host_, message, pc, word);
    }
    void wait(std::uint64_t until) override { untrap_host_wait(host_, until); }
    void between_slices() override {
        take_written_memory();
        if (!poll()) return;
        vcpu_->request_stop();
        world_->attention = 1; // the engine gives way at once
    }
    bool poll() override { return untrap_host_poll(host_) != 0; }
    void arm_timer(std::uint64_t until) override { untrap_host_arm_timer(host_, until); }
    void take_fpu() override { untrap_host_fpu_take(host_); }
    void give_fpu() override { untrap_host_fpu_give(host_); }
    std::uint32_t traces() override { return untrap_core_trace; }
    void trace_entry(std::uint32_t pc, std::uint32_t msr, std::uint32_t pid) override {
        untrap_host_trace_entry(host_, pc, msr, pid);
    }
    void trace_exit(unsigned reason, std::uint32_t pc, std::uint32_t word) override {
        untrap_host_trace_exit(host_, reason, pc, word);
    }
    void* allocate(unsigned shift) override { return untrap_host_allocate(host_, shift); }
    void release(void* block, unsigned shift) override { untrap_host_release(host_, block, shift); }
    std::uint32_t linear(const void* memory, std::uint32_t bytes) override;
    std::uint64_t real_of(const void* linear) override { return untrap_host_real(linear); }
    void trace_patch(std::uint64_t real, std::uint32_t word, unsigned level, bool patched) override {
        untrap_host_trace_patch(host_, real, word, level, patched ? 1 : 0);
    }
    void trace_tlb(unsigned index, const std::uint32_t (&words)[3], unsigned pid, bool written) override {
        untrap_host_trace_tlb(host_, index, words[0], words[1], words[2], pid, written ? 1 : 0);
    }
    static_assert(traces_entry == UNTRAP_TRACE_ENTRY && traces_exit == UNTRAP_TRACE_EXIT &&
                  traces_tlb == UNTRAP_TRACE_TLB && traces_patch == UNTRAP_TRACE_PATCH);

  private:
    void* host_;
    void take_written_memory();

    Vcpu* vcpu_ = nullptr;
    World* world_ = nullptr;
    NativeVm* vm_ = nullptr;
};

struct NativeVcpu;

// Guest memory that userspace wrote since the vCPU looked last. Interrupts are off while it is touched.
struct WrittenMemory {
    static constexpr unsigned capacity = 32;
    struct Range {
        std::uint64_t base, bytes;
    };
    std::array<Range, capacity> ranges{};
    unsigned count = 0; // above capacity: more than is noted
};

struct NativeVm {
    PhysicalMemory memory;
    PatchRegistry patches;
    Patching patching;
    DevicePages device_pages;
    NativeVcpu* vcpu = nullptr;
    ExitSites exit_sites{nullptr, 0};
    bool keeps_exit_sites = false;
    WrittenMemory written;
    unsigned levels = static_cast<unsigned>(abi::untrap_levels_up_to(4)), threshold = 4;
    bool started = false; // the vCPU has run: what cannot change any more is fixed
};

// World first, the vCPU's CpuState directly behind it: the world switch finds both by one pointer.
struct NativeVcpu {
    NativeVcpu(NativeVm& owner, void* linux_host);

    World world;
    Vcpu core;
    LinuxHost host;
    NativeEngine engine;
    NativeVm& vm;
    bool clock_started = false;
};

} // namespace untrap::runtime::native

struct untrap_core_vm : untrap::runtime::native::NativeVm {};
struct untrap_core_vcpu : untrap::runtime::native::NativeVcpu {
    using NativeVcpu::NativeVcpu;
};
