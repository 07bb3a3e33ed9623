// SPDX-License-Identifier: GPL-2.0-only
#include "machine.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "random.h"

namespace untrap::tests {

Machine::Machine(Kind kind, std::size_t cache_bytes, x64::Optimisations optimisations, std::uint32_t runs)
    : data(Layout::data_bytes), rom(Layout::rom_bytes), code(Layout::code_bytes), high(Layout::high_bytes),
      patches_(std::make_unique<runtime::PatchRegistry>()) {
    const auto slot = [&](unsigned index, std::uint64_t base, SharedMemory& bytes, bool read_only) {
        runtime::Memslot region;
        region.base = base;
        region.size = bytes.size();
        region.host = bytes.data();
        region.read_only = read_only;
        REQUIRE(physical_.set_slot(index, region));
    };
    slot(0, Layout::data, data, false);
    slot(1, Layout::rom, rom, true);
    slot(2, Layout::code, code, false);
    slot(3, Layout::high, high, false);
    vcpu_ = std::make_unique<runtime::Vcpu>(physical_, *patches_, host_);
    if (kind == Kind::jit) {
        jit_ = std::make_unique<runtime::soft::JitEngine>(*vcpu_, cache_bytes, optimisations, runs);
        engine_ = jit_.get();
    } else {
        engine_ = &interpreter_;
    }
    vcpu_->set_engine(*engine_);
    vcpu_->set_clock(runtime::Clock::guest, false);
    vcpu_->set_tlb_entry(0, {});
}

void Machine::set_state(const isa::CpuState& state) {
    const auto slots = vcpu_->state.engine_slots;
    vcpu_->state = state;
    vcpu_->state.engine_slots = slots;
}

std::uint8_t* Machine::memory(std::uint64_t real) {
    std::uint8_t* host = physical_.find(real, 1, false);
    if (host == nullptr) FAIL("no memory at this real address");
    return host;
}

void Machine::write_memory(std::uint64_t real, const std::uint8_t* bytes, std::uint32_t length) {
    std::memcpy(memory(real), bytes, length);
    engine_->memory_written(real, length);
}

void Machine::write_word(std::uint64_t real, std::uint32_t word, bool little_endian) {
    std::uint8_t bytes[4];
    for (unsigned i = 0; i < 4; ++i) bytes[little_endian ? 3 - i : i] = static_cast<std::uint8_t>(word >> (24 - 8 * i));
    write_memory(real, bytes, 4);
}

isa::Trap Pair::run(std::uint64_t budget, const std::string& context) {
    last_start_ = reference.state();
    const isa::Trap expected = reference.engine().run(reference.vcpu(), budget);
    const isa::Trap got = jit.engine().run(jit.vcpu(), budget);
    executed_ += reference.state().retired - last_start_.retired;
    const std::string difference = trap_difference(expected, got) + state_difference(reference.state(), jit.state());
    if (!difference.empty()) fail(difference, context, budget, last_start_, expected);
    return expected;
}

void Pair::compare_memory(const std::string& context) {
    const std::string difference = memory_difference(reference, jit);
    if (!difference.empty()) fail(difference, context, 0, last_start_, {});
}

void Pair::fail(const std::string& difference, const std::string& context, std::uint64_t budget,
                const isa::CpuState& before, const isa::Trap& trap) {
    const std::uint32_t here = reference.state().pc;
    std::string text =
        "seed " + std::to_string(test_seed()) + ", " + context + ", after " + std::to_string(executed_) +
        " instructions; budget " + std::to_string(budget) + ", completed " +
        std::to_string(reference.state().retired - before.retired) + "\n" + "-- difference\n" + difference +
        memory_difference(reference, jit) + "-- trap\n" + describe(trap) + "\n-- state before\n" + describe(before) +
        "-- after, reference\n" + describe(reference.state()) + "-- after, JIT\n" + describe(jit.state()) + "-- TLB\n" +
        describe(reference.vcpu().tlb) + "-- code from the start\n" + listing(reference, before.pc, 80, before.pc);
    if (here - before.pc >= 320) text += "-- code at the end\n" + listing(reference, here - 64, 32, here);
    // Not through FAIL, which would wrap the lines.
    std::fputs(text.c_str(), stderr);
    FAIL("the engines differ");
    std::abort(); // not reached: FAIL throws
}

} // namespace untrap::tests
