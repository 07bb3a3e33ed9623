// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstdint>

#include "mmu/guest_tlb.h"
#include "runtime/engine.h"
#include "runtime/physical_memory.h"
#include "runtime/timers.h"
#include "translator/interp/storage.h"
#include "translator/isa/state.h"

namespace untrap::runtime {

// An access to a guest real address without memory (or a store to a read-only slot).
struct MmioAccess {
    std::uint64_t real = 0;
    std::uint8_t size = 0; // 1, 2, 4, 8
    bool is_write = false;
    std::uint64_t value = 0; // as a big-endian access sees it, right-aligned
};

// Where an effective address leads in the current context.
struct Resolved {
    enum class Status : std::uint8_t {
        ok,        // host points at the byte
        no_memory, // real has no memory, or is read-only and this is a store: MMIO (a bus error for a fetch)
        miss,      // no guest TLB entry
        denied,    // permission
    };
    Status status = Status::miss;
    std::uint8_t tlb_index = 0;   // ok, no_memory, denied
    std::uint8_t page_shift = 0;  // of the guest page: likewise
    bool little_endian = false;   // E attribute: likewise
    std::uint8_t* host = nullptr; // ok
    std::uint64_t real = 0;       // ok, no_memory
};

// Guest storage through the guest TLB. Reference for the interpreter, slow path of the JIT.
//
// An access that has to be done by userspace fails with TrapKind::mmio. Once userspace did it, its result is put
// into a log and the instruction is executed again: accesses found in the log are not done a second time. So any
// load or store works on MMIO, those of several accesses (lmw, stswx) and of devices with side effects included.
class GuestStorage final : public interp::Storage {
  public:
    // Accesses of one instruction: lswx and stswx move up to 127 bytes.
    static constexpr unsigned log_capacity = 128;

    GuestStorage(isa::CpuState& state, const mmu::GuestTlb& tlb, const PhysicalMemory& memory, Timers& timers)
        : state_(state), tlb_(tlb), memory_(memory), timers_(timers) {}

    // Told of every store done here, and of icbi (memory_written).
    void set_engine(Engine* engine) { engine_ = engine; }

    bool load(std::uint32_t ea, unsigned size, std::uint64_t& value, isa::Trap& trap) override;
    bool store(std::uint32_t ea, unsigned size, std::uint64_t value, isa::Trap& trap) override;
    bool fetch(std::uint32_t pc, std::uint32_t& word, isa::Trap& trap) override;
    bool check(std::uint32_t ea, bool store, isa::Trap& trap) override;
    void code_invalidated(std::uint32_t ea) override;
    std::uint64_t timebase() override { return timers_.timebase(); }

    Resolved resolve(std::uint32_t ea, mmu::Access access) const;
    // Whether stores to real have to be done here, for a dirty log.
    bool logs_stores(std::uint64_t real) const { return memory_.logged(real); }

    // The MMIO log. begin_instruction() before each (re-)execution of the instruction, complete() when userspace has
    // done the access reported last, clear() when the instruction completed or gave way to an interrupt.
    void begin_instruction() { replayed_ = 0; }
    bool complete(const MmioAccess& access);
    void clear_log() { logged_ = replayed_ = 0; }
    bool log_empty() const { return logged_ == 0; }

  private:
    bool access_mmio(std::uint64_t real, unsigned size, bool is_write, std::uint64_t& value, std::uint32_t ea,
                     isa::Trap& trap);
    bool load_across(std::uint32_t ea, unsigned size, std::uint64_t& value, isa::Trap& trap);
    bool store_across(std::uint32_t ea, unsigned size, std::uint64_t value, isa::Trap& trap);
    // The host address of what begins at `at`, nullptr if that is not all memory in one piece.
    std::uint8_t* in_one_piece(const Resolved& at, unsigned size, bool write) const;
    void written(std::uint64_t real, std::uint64_t length) {
        memory_.mark_dirty(real, length);
        if (engine_ != nullptr) engine_->memory_written(real, length);
    }

    // Pages fetched from last, by their number and PID: emulation and the interpreter mostly go on in one of them.
    struct FetchedPage {
        std::uint32_t page = 1; // effective; no page is odd
        std::uint32_t context = 0, tlb_version = 0, memory_version = 0;
        const std::uint8_t* host = nullptr;
    };
    std::uint32_t fetch_context() const;

    isa::CpuState& state_;
    const mmu::GuestTlb& tlb_;
    const PhysicalMemory& memory_;
    Timers& timers_;
    Engine* engine_ = nullptr;
    std::array<FetchedPage, 8> fetched_{};
    unsigned logged_ = 0, replayed_ = 0;
    std::array<MmioAccess, log_capacity> log_{};
};

} // namespace untrap::runtime
